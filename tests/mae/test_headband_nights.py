"""Nights of a headband as sequences: reading, pretraining without labels, folds."""

import numpy as np
import pytest

from dreem_case.core.agreement import EvaluationError
from dreem_case.core.array_files import ArrayError
from dreem_case.core.label_efficiency import draw_places
from dreem_case.mae import night_sequences
from dreem_case.mae.night_sequences import (
    SequenceConfig,
    cluster_nights,
    embed_night,
    headband_curves,
    headband_gains,
    hide_runs,
    night_features,
    night_of,
    pretrain_sequences,
    random_sequences,
    read_headband,
)

SMALL = SequenceConfig(width=8, dilations=(1, 2), clusters=4, steps=10, pieces=2, length=40)


def arrays(n_nights: int = 3, n: int = 50) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    stage = np.repeat(random.integers(0, 5, n_nights * n // 10), 10)
    spectra = random.normal(0, 4, (5, 18))[stage] + random.normal(0, 3, (len(stage), 18))
    return {"log_psd_db": spectra.astype(np.float32), "night": np.repeat(np.arange(n_nights), n).astype(np.int16),
            "epoch": np.tile(np.arange(n), n_nights).astype(np.int16), "stage": stage.astype(np.int8)}  # fmt: skip


def written(folder, **changed):
    path = folder / "nights.npz"
    np.savez(path, **{key: value for key, value in (arrays() | changed).items() if value is not None})
    return path


def night(seed: int, n: int = 80):
    random = np.random.default_rng(seed)
    stage = np.repeat(random.integers(0, 5, n // 10), 10)
    level = np.random.default_rng(0).normal(0, 4, (5, 18))[stage]
    return night_of(f"night {seed}", level + random.normal(0, 3, level.shape), np.arange(n), stage)


def test_a_night_without_spectra_is_refused_by_name(tmp_path):
    with pytest.raises(ArrayError, match="night 0: expected an epoch with spectra"):
        read_headband(written(tmp_path, log_psd_db=np.full((150, 18), np.nan, np.float32)))


def test_a_gap_stays_a_gap_and_what_is_no_number_is_not_recorded(tmp_path):
    spectra, epoch = arrays()["log_psd_db"], arrays()["epoch"]
    epoch[10:50] += 5
    spectra[20, 3] = np.inf
    first = read_headband(written(tmp_path, epoch=epoch, log_psd_db=spectra))[0]
    assert len(first) == 55
    assert np.flatnonzero(~first.recorded).tolist() == [10, 11, 12, 13, 14, 25]
    assert not first.spectra[~first.recorded].any() and (first.stage[~first.recorded] == -1).all()


def test_gain_of_the_device_changes_nothing():
    random = np.random.default_rng(0)
    spectra, stage = random.normal(0, 4, (60, 18)), np.zeros(60, int)
    one, louder = (night_of("n", spectra + gain, np.arange(60), stage) for gain in (0, 12))
    np.testing.assert_allclose(one.spectra, louder.spectra, atol=1e-5)


def test_features_of_an_epoch_do_not_see_beyond_its_surroundings():
    own = night(1)
    changed = night_of("n", np.zeros((80, 18)), np.arange(80), own.stage)
    changed.spectra[:] = own.spectra
    changed.spectra[60:] = 5
    a, b = night_features(own), night_features(changed)
    np.testing.assert_array_equal(a[:45], b[:45])
    assert (a[55:60] != b[55:60]).any()


def test_half_of_a_piece_is_hidden_in_runs():
    hidden = hide_runs((20, 200), 0.5, 11, np.random.default_rng(0))
    assert (hidden.mean(axis=1) >= 0.5).all() and (hidden.mean(axis=1) < 0.6).all()
    assert np.diff(hidden.astype(int), axis=1).clip(0).sum(axis=1).mean() < 40  # not epoch by epoch


def test_kinds_of_epochs_need_no_label_and_are_none_where_nothing_was_recorded():
    nights = [night(seed) for seed in range(3)]
    nights[0].recorded[5] = False
    kinds = cluster_nights(nights, SMALL)
    for one in nights:
        one.stage[:] = -1
    assert all((a == b).all() for a, b in zip(kinds, cluster_nights(nights, SMALL), strict=True))
    assert kinds[0][5] == -1 and {int(kind) for own in kinds for kind in own} == {-1, 0, 1, 2, 3}


def test_pretraining_repeats_and_does_not_look_at_stages():
    nights = [night(seed) for seed in range(3)]
    first = embed_night(pretrain_sequences(nights, SMALL, 1)[0], night(7))
    for one in nights:
        one.stage[:] = 0
    np.testing.assert_array_equal(first, embed_night(pretrain_sequences(nights, SMALL, 1)[0], night(7)))
    assert (first != embed_night(random_sequences(SMALL, 1), night(7))).any()


@pytest.mark.parametrize("n", [80, 20])
def test_what_was_not_recorded_is_not_asked_for_and_short_nights_are_learned_from_too(n):
    nights = [night(seed, n) for seed in range(3)]
    for one in nights:
        one.recorded[40:] = False
    _, learned = pretrain_sequences(nights, SMALL)
    assert np.isfinite(learned.losses).all()


def test_no_night_of_a_fold_is_pretrained_on_or_learned_from(monkeypatch):
    nights = [night(seed) for seed in range(6)]
    seen, learned = [], []

    def spy(own, config, seed):
        seen.append({one.name for one in own})
        return random_sequences(config, seed), None

    fit = night_sequences._night_kappas

    def spy_kappas(rows, own, inside, outside, kind="linear"):
        learned.append(({own[i].name for i in inside}, {own[i].name for i in outside}))
        return fit(rows, own, inside, outside, kind)

    monkeypatch.setattr(night_sequences, "pretrain_sequences", spy)
    monkeypatch.setattr(night_sequences, "_night_kappas", spy_kappas)
    for fold in range(3):
        night_sequences._one(nights, SMALL, (1, 2), 2, f"{fold}-0")
    folds = [{f"night {i}" for i in range(6) if i % 3 == fold} for fold in range(3)]
    assert all(not own & fold for own, fold in zip(seen, folds, strict=True))
    assert all(not inside & judged and judged in folds for inside, judged in learned)


def test_curves_judge_every_night_once_a_draw_and_seed():
    curves = headband_curves([night(seed) for seed in range(6)], SMALL, (0, 1), (1, 2), 2, n_jobs=1)
    assert {way: len(curve.kappas[1]) for way, curve in curves.items()} == {
        "hand": 2, "boosted": 2, "embedding": 4, "random": 4, "hand + embedding": 4,
    }  # fmt: skip
    assert all(len(draw) == 6 for curve in curves.values() for draws in curve.kappas.values() for draw in draws)
    gains = headband_gains(curves)
    mean = curves["hand + embedding"].mean(2).value - curves["hand"].mean(2).value
    assert gains["gain_over_logistic"][2].value == pytest.approx(mean)


def test_too_few_nights_are_refused():
    with pytest.raises(EvaluationError, match="at least 4"):
        headband_curves([night(seed) for seed in range(3)], SMALL, (0,), (1, 2), 1)


def test_hand_made_features_of_real_nights_are_as_good_as_they_were(real_data):
    nights = read_headband(real_data / "headband_spectra" / "nights.npz")
    rows, found = [night_features(one) for one in nights], {1: [], 4: []}
    for fold in range(3):
        outside, inside = night_sequences._sides(len(nights), fold)
        for size, kappas in found.items():
            for places in draw_places([nights[i].name for i in outside], size, 3, fold):
                own = night_sequences._night_kappas(rows, nights, [outside[i] for i in places], inside)
                kappas.append(np.mean(list(own.values())))
    assert np.mean(found[1]) > 0.42 and np.mean(found[4]) > 0.57
