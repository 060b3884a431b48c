"""What a token is, what is hidden, what the loss looks at, and which files are refused."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.core.nets import count_parameters  # noqa: E402
from dreem_case.mae.embed import embed, embedding_width, impute, random_encoder  # noqa: E402
from dreem_case.mae.model import (  # noqa: E402  # noqa: E402
    CONFIGS,
    MaeConfig,
    MaskedAutoencoder,
    config_of,
    load_model,
    log_power,
    patches_of,
    save_model,
)
from dreem_case.mae.montage import N_MODALITIES, WIDTH  # noqa: E402
from dreem_case.mae.pretraining import draw_mask, draw_masks, flop_per_example, step_cost  # noqa: E402
from tests.mae.made_up import made_up_examples  # noqa: E402

torch.set_num_threads(1)
TINY = {"patch": 640, "width": 32, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_heads": 2}
NARROW = MaeConfig("time", 8, "waveform", "waveform", 128, 1, 4, 128, 1, 4)


def built(**changes) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(MaeConfig(**(TINY | changes))).eval()


def tensors(n: int = 4, seed: int = 0) -> tuple:
    found = made_up_examples(n, seed)
    return torch.from_numpy(found.signals), torch.from_numpy(found.present)


def some_hidden(model: MaskedAutoencoder, n: int, seed: int = 1):
    shape = (n, model.config.n_rows, model.config.n_patches)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def test_the_original_has_the_published_number_of_parameters_and_the_small_one_half_a_million():
    with torch.device("meta"):
        counts = {name: count_parameters(MaskedAutoencoder(config)) for name, config in CONFIGS.items()}
    assert counts["original-76m"] == 76_547_272
    assert 300_000 <= counts["laptop"] <= 1_000_000


def test_a_step_of_the_original_fits_in_a_test():
    cost = step_cost(CONFIGS["original-76m"], 1)
    assert np.isfinite(cost["loss"])
    assert 160e9 < flop_per_example(CONFIGS["original-76m"]) < 180e9


@pytest.mark.parametrize("channel", [0, 7, 15])
@pytest.mark.parametrize("patch", [0, 100, 479])
def test_a_token_of_the_original_holds_one_stretch_of_time_and_channels_in_order(channel, patch):
    model = MaskedAutoencoder(NARROW)
    signals, present = torch.randn(2, N_MODALITIES, WIDTH), torch.ones(2, N_MODALITIES, dtype=torch.bool)
    moved = signals.clone()
    moved[1, channel, 8 * patch : 8 * patch + 8] += 1
    before, after = (model.tokens.embed(model.described(x, "waveform"), present) for x in (signals, moved))
    changed = (before != after).nonzero()
    assert set(changed[:, 0].tolist()) == {1} and set(changed[:, 1].tolist()) == {patch}
    assert set((changed[:, 2] // 8).tolist()) == {channel}  # 8 numbers a channel in the narrow copy
    said = torch.randn(2, 480, 128)
    other = said.clone()
    other[1, patch, 8 * channel] += 1
    where = (model.tokens.predict(said) != model.tokens.predict(other)).nonzero()
    assert {tuple(row[:3]) for row in where.tolist()} == {(1, channel, patch)}


@pytest.mark.parametrize("target", ["waveform", "log_power", "summary", "cluster"])
def test_the_loss_looks_at_hidden_patches_alone(target):
    model = built(target=target, clusters=4)
    signals, present = tensors()
    model.fit_scale(signals, present)
    hidden = some_hidden(model, 4)
    with torch.no_grad():
        said = model(signals, present, hidden)
        loss = model.loss(signals, present, hidden)
        nudged = said + 100 * (~hidden | ~present[:, :, None])[..., None]
        model.predict = lambda *_: nudged
        assert torch.equal(model.loss(signals, present, hidden), loss)
        model.predict = lambda *_: said + 1.0 * torch.arange(said.shape[-1])
        assert not torch.equal(model.loss(signals, present, hidden), loss)


@pytest.mark.parametrize("config", [MaeConfig(**TINY), NARROW])
def test_what_is_hidden_is_not_seen(config):
    torch.manual_seed(0)
    model = MaskedAutoencoder(config).eval()
    signals, present = tensors()
    hidden = some_hidden(model, 4)
    spread = hidden.expand(-1, N_MODALITIES, -1).repeat_interleave(config.patch, dim=2)
    with torch.no_grad():
        first = model(signals, present, hidden)
        assert torch.equal(model(torch.where(spread, 7.0, signals), present, hidden), first)
        assert not torch.equal(model(torch.where(spread, signals, signals + 1), present, hidden), first)


def test_a_missing_modality_has_no_token_and_changes_nothing():
    model = built()
    signals, present = tensors()
    present[0, [3, 9]] = False
    hidden = some_hidden(model, 4)
    other = signals.clone()
    other[0, [3, 9]] = 5
    with torch.no_grad():
        assert torch.equal(model(other, present, hidden)[1:], model(signals, present, hidden)[1:])
        assert torch.equal(model.loss(other, present, hidden), model.loss(signals, present, hidden))
    assert model.tokens_present(present)[0].sum() == present[0].sum() * model.config.n_patches


def test_an_example_with_nothing_in_it_spoils_no_training():
    model = built()
    signals, present = tensors()
    hidden = some_hidden(model, 4)
    present[1] = False
    loss = model.loss(signals, present, hidden)
    loss.backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())
    others = [0, 2, 3]
    with torch.no_grad():
        alone = model.loss(signals[others], present[others], hidden[others])
    assert float(loss.detach()) == pytest.approx(0.75 * float(alone), abs=1e-6)


def test_an_examples_prediction_does_not_depend_on_its_neighbours_in_a_batch():
    model = built()
    signals, present = tensors(6)
    hidden = some_hidden(model, 6)
    with torch.no_grad():
        together = model(signals, present, hidden)
        for i in range(6):
            alone = model(signals[i : i + 1], present[i : i + 1], hidden[i : i + 1])[0]
            there = present[i]
            torch.testing.assert_close(alone[there], together[i][there], atol=1e-5, rtol=1e-4)


@given(
    present=st.lists(st.booleans(), min_size=16, max_size=16).filter(any),
    kind=st.sampled_from(["random", "span", "modality"]),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_only_what_is_there_is_hidden_and_about_the_share_that_was_asked_for(present, kind, share, seed):
    there = np.array(present)
    hidden = draw_mask(there, 10, {kind: 1}, share, np.random.default_rng(seed))
    assert not hidden[~there].any()
    found = hidden[there].mean()
    unit = 1 / there.sum() if kind == "modality" else 0.1 if kind == "span" else 0.1 / there.sum()
    alone = kind == "modality" and there.sum() == 1
    assert alone or abs(found - share) <= unit + 1e-9
    if kind == "span":
        assert (hidden[there] == hidden[there][0]).all()
    if kind == "modality" and not alone:
        assert np.isin(hidden.sum(axis=1), [0, 10]).all()


def test_a_mask_is_an_examples_own():
    present = np.ones((3, N_MODALITIES), bool)
    kinds = {"random": 1, "span": 1, "modality": 1}
    whole = draw_masks(present, 10, kinds, 0.5, [[0, 1, i] for i in range(3)])
    assert np.array_equal(draw_masks(present[2:], 10, kinds, 0.5, [[0, 1, 2]])[0], whole[2])


def test_log_power_is_that_of_welch():
    from scipy.signal import welch

    signal = np.random.default_rng(0).standard_normal((1, N_MODALITIES, WIDTH)).astype(np.float32)
    found = log_power(patches_of(torch.from_numpy(signal), 384)).numpy()
    hertz, power = welch(signal[0, 3, 384:768], 128, nperseg=384, scaling="density", return_onesided=True)
    inside = (hertz >= 25) & (hertz < 32)
    assert found[0, 3, 1, 10] == pytest.approx(np.log10(64 * power[inside].mean()), abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 97}, "widths that heads divide"),
        ({"patch": 300}, "a patch that divides 3840"),
        ({"patch": 8}, "a patch of a second or more"),
        ({"geometry": "space"}, "geometry modality or time"),
        ({"geometry": "time"}, "one width that 16 divides"),
        ({"target": "sound"}, "a target of waveform"),
        ({"width": 4096, "depth": 48, "heads": 1}, "at most 100000000 parameters"),
        ({"depth": 0}, "sizes from 1"),
        ({"heads": 0}, "sizes from 1"),
        ({"width": True}, "width of type int"),
        ({"extra": 1}, "11 settings"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused_by_name(changes, named):
    with pytest.raises(ModelError, match=named):
        config_of(asdict(MaeConfig()) | changes)


def test_a_model_is_read_again_and_one_of_another_montage_version_or_kind_refused_by_name(tmp_path):
    save_model(tmp_path, built())
    path, good = tmp_path / "manifest.json", json.loads((tmp_path / "manifest.json").read_text())
    changes = (
        ({"version": 2}, "expected version 1, found 2"),
        ({"montage": good["montage"] | {"rate": 100}}, "expected montage"),
        ({"montage": good["montage"] | {"modalities": good["montage"]["modalities"][::-1]}}, "1: 'EMG CHIN1-CHIN2'"),
        ({"montage": None}, "expected montage"),
        ({"config": good["config"] | {"width": 64}}, "expected weights of the network"),
        ({"config": None}, "11 settings"),
        ({"kind": "boosted"}, "expected kind masked autoencoder"),
    )
    assert load_model(tmp_path).config == MaeConfig(**TINY)
    for change, named in changes:
        path.write_text(json.dumps(good | change))
        with pytest.raises(ModelError, match=named):
            load_model(tmp_path)
    save_model(tmp_path, MaskedAutoencoder(NARROW))
    assert load_model(tmp_path).config == NARROW


def test_the_shipped_model_is_small_and_reads():
    model = load_model()
    assert model.config == CONFIGS["laptop"]
    found = made_up_examples(3, missing=0)
    rows = embed(model, found.signals, found.present)
    assert rows.shape == (3, embedding_width(model.config)) and rows.dtype == np.float32 and np.isfinite(rows).all()


def test_an_epoch_with_nothing_in_it_is_a_row_of_nothing():
    found = made_up_examples(3, missing=0)
    present = found.present.copy()
    present[1] = False
    model = built()
    rows = embed(model, found.signals, present)
    assert np.isnan(rows[1]).all() and np.isfinite(rows[[0, 2]]).all()
    assert embed(model, found.signals[:0], present[:0]).shape == (0, embedding_width(model.config))


def test_a_random_encoder_has_the_scales_of_the_one_it_is_held_against():
    model = built()
    model.fit_scale(*tensors())
    other = random_encoder(model, 3)
    assert torch.equal(other.centre, model.centre) and not torch.equal(other.positions, model.positions)


def test_waves_cannot_be_asked_of_a_model_that_predicts_powers():
    found = made_up_examples(2)
    with pytest.raises(ModelError, match="predicts waveform or summary"):
        impute(built(target="log_power"), found.signals, found.present, 3)
    assert impute(built(target="waveform"), found.signals, found.present, 8).shape == (2, WIDTH)
