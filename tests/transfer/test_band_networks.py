"""Networks of bands: what a device cannot know, what tuning leaves alone, what ships, and the commands."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

import torch

from dreem_case.core.model_file import ModelError
from dreem_case.transfer import commands, device_study
from dreem_case.transfer.band_models import (
    FOLDER,
    band_figures,
    fit_band_trees,
    held_out,
    load_edge,
)
from dreem_case.transfer.band_recurrent import RecurrentStager, fit_recurrent_bands
from dreem_case.transfer.bands import BandError, BandNight, read_sleep_edf_bands
from dreem_case.transfer.cascade import (
    AHEAD,
    CLOUD,
    CLOUD_AWAY,
    DEVICE,
    EdgeModel,
    Point,
    Usual,
    curve_of,
    device_inputs,
    edge_share_at,
    stage_cascade,
)
from dreem_case.transfer.commands import transfer
from dreem_case.transfer.fine_tuning import TUNINGS, fine_tune, learn_curves
from dreem_case.transfer.sequence import Draw, draw_batch, example_of, fit_model, load_sequence, save_sequence

SHORT = Draw(steps=10, length=60)


def made_up(i: int, n: int = 120, person: str = "") -> BandNight:
    """Make a night whose stages show in its bands."""
    random = np.random.default_rng(i)
    stage = np.repeat(random.integers(0, 5, n // 10), 10)
    bands = random.normal(0, 1, (n, 4)) + 3 * np.eye(5)[stage][:, :4]
    return BandNight(f"n{i}", person or f"p{i}", bands, stage, np.arange(n), random.normal(30, 4, (n, 2)))


@pytest.mark.parametrize("fold", range(5))
def test_a_shipped_network_of_the_device_waits_for_seven_epochs_at_most(fold):
    edge, night, place = load_edge(FOLDER / f"edge_{fold}"), made_up(1), 80
    later = replace(night, bands=np.where(np.arange(120)[:, None] < place, night.bands, 50.0))
    before, after = edge.probabilities(night), edge.probabilities(later)
    assert np.allclose(before[: place - AHEAD], after[: place - AHEAD], atol=1e-6)
    assert not np.allclose(before[place], after[place], atol=1e-3)


def test_the_scaling_of_the_device_starts_anew_each_night_and_knows_no_future():
    edge, night = load_edge(FOLDER / "edge_0"), made_up(2)
    part = replace(night, bands=night.bands[:50], size=night.size[:50], stage=night.stage[:50], epoch=night.epoch[:50])
    assert np.array_equal(device_inputs(night, edge.usual)[:, :50], device_inputs(part, edge.usual))


def columns_of(night):
    """Say again what the device measures: bands, differences of bands, variance and swing."""
    a, b, c, d = night.bands.T
    return np.column_stack([night.bands, a - d, c - b, a - b, c - d, b - d, night.size])


def test_the_device_scales_each_epoch_by_what_it_heard_until_then_and_by_what_is_usual_before():
    learned = [made_up(6), made_up(7, n=50)]
    usual = Usual.of(learned)
    raw = np.concatenate([columns_of(night) for night in learned])
    assert usual.mean == pytest.approx(raw.mean(axis=0))
    assert usual.spread == pytest.approx(raw.std(axis=0))
    night = replace(made_up(8, n=60), epoch=np.concatenate([np.arange(5, 25), np.arange(30, 70)]))
    night.bands[3], night.bands[40, 0], night.size[7] = 1e4, np.nan, 90
    values = np.clip((columns_of(night) - raw.mean(axis=0)) / raw.std(axis=0), -5, 5)
    expected, total, square, count = np.zeros((65, 17)), np.zeros(11), np.full(11, 90.0), 90
    for row, epoch in zip(values, night.epoch, strict=True):
        if np.isfinite(row).all():
            total, square, count = total + row, square + row**2, count + 1
            width = np.sqrt(np.maximum(square / count - (total / count) ** 2, 0.05))
            expected[epoch - 5] = [*np.clip((row - total / count) / width, -5, 5), *row[:4], *row[9:]]
    np.testing.assert_allclose(device_inputs(night, usual).T, expected, atol=1e-5)


def test_a_threshold_is_the_quantile_of_the_budget_and_a_budget_is_a_share():
    edge = EdgeModel(None, None, (0.3, 0.5, 0.9))
    assert [edge.threshold(budget) for budget in (0.25, 0.5, 0.75)] == pytest.approx([0.4, 0.5, 0.7])
    assert edge.threshold(0) == 0 and edge.threshold(1) > 1  # none and all, of whomever
    for budget in (-0.1, 1.1, float("nan")):
        with pytest.raises(BandError, match="expected a share from 0 to 1"):
            edge.threshold(budget)


def test_a_curve_sends_what_each_fold_is_unsure_of_and_counts_what_is_lost():
    edges = [SimpleNamespace(threshold=lambda budget, high=high: budget * high) for high in (1.0, 0.5)]
    small = np.full((2, 4, 5), 0.05)
    small[:, [0, 1, 2, 3], [0, 0, 0, 0]] = [0.8, 0.6, 0.4, 0.3]
    large = np.eye(5)[[[0, 1, 1, 1], [0, 1, 1, 0]]]
    stages = [np.array([0, 1, 1, -1]), np.array([0, 1, 1, 1])]
    found = SimpleNamespace(edges=edges, edge=[*small], cloud=[*large], fold=[0, 1])
    all_kept, half, all_sent = curve_of(stages, found, [0, 0.7, 2])
    assert (all_kept.sent, all_kept.accuracy, all_kept.points_lost) == pytest.approx((0, 2 / 7, 400 / 7))
    assert (half.sent, half.accuracy) == pytest.approx((4 / 8, 4 / 7))  # the first: 3 of 4; the second, below 0.35: 1
    assert (half.budget, half.threshold) == pytest.approx((0.7, 0.525))
    assert (all_sent.sent, all_sent.accuracy, all_sent.points_lost) == pytest.approx((1, 6 / 7, 0))


@pytest.mark.parametrize(("lost", "share"), [(-0.1, np.nan), (0, 0), (0.1, 0.25), (0.6, 0.625), (2, 0.875), (9, 1)])
def test_what_stays_on_the_device_is_read_between_the_points_of_the_curve(lost, share):
    points = [Point(0, 0, sent, 0, points) for sent, points in ((0.25, 1.0), (1, 0.0), (0, 3.0), (0.5, 0.2))]
    assert edge_share_at(points, lost) == pytest.approx(share, nan_ok=True)


def test_every_person_is_held_out_of_one_shipped_fold_and_the_small_network_of_it():
    cards = [RecurrentStager.load(FOLDER / f"cloud_{fold}").metrics for fold in range(5)]
    people = [person for card in cards for person in card["held_out"]]
    assert len(people) == len(set(people)) == 58
    assert all(not set(card["people"]) & set(card["held_out"]) for card in cards)
    assert all(load_sequence(FOLDER / f"edge_{i}")[1]["held_out"] == card["held_out"] for i, card in enumerate(cards))
    assert load_sequence(FOLDER / "sequence_0")[1]["held_out"] == cards[0]["held_out"]


def test_no_shipped_network_of_bands_has_seen_the_headband():
    cards = [
        RecurrentStager.load(path).metrics if path.name.startswith(("cloud", "recurrent")) else load_sequence(path)[1]
        for path in FOLDER.iterdir()
    ]
    assert len(cards) == 13 and all(card["data"].startswith("Sleep-EDF Expanded") for card in cards)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 4_000_000


def test_a_night_as_bands_says_of_a_gap_what_is_around_it_and_nothing_past_its_end():
    nights = [replace(made_up(i), size=np.tile([25.0, 40.0], (len(made_up(i)), 1))) for i in range(3)]
    model = fit_recurrent_bands(nights, 1)
    cut = replace(nights[0], bands=np.where(np.arange(len(nights[0]))[:, None] < 150, nights[0].bands, np.nan))
    said = model.probabilities(cut)
    assert said.shape == (len(cut), 5) and np.isfinite(said).all()
    assert (said[150:] == 0.2).all() and not (said[:150] == 0.2).any()
    with pytest.raises(BandError, match="a scored epoch at least"):
        fit_recurrent_bands([replace(nights[0], stage=np.full(len(nights[0]), -1))])


def test_a_network_of_other_people_goes_on_from_what_it_knew_if_it_sees_the_same_numbers():
    source, others = fit_recurrent_bands([made_up(i, 240) for i in range(3)], 6), [made_up(i, 240) for i in (8, 9)]
    tuned, new = (fit_recurrent_bands(others[:1], 1, begun) for begun in (source, None))
    right = [float(np.mean(one.probabilities(others[1]).argmax(axis=1) == others[1].stage)) for one in (tuned, new)]
    assert right[0] > right[1] + 0.2
    with pytest.raises(BandError, match=r"source: expected a network of level_delta_db.*, found .*level_swing_db"):
        fit_recurrent_bands([replace(others[0], size=None)], 1, source)


def test_a_blend_hears_a_recurrent_network_of_the_same_nights_from_four_on(monkeypatch):
    for name in ("fine_tune", "from_scratch", "fit_band_trees", "fit_recurrent_bands"):
        monkeypatch.setattr(device_study, name, lambda *_, name=name, **__: name)
    ways = device_study.device_ways(SimpleNamespace(kind="bands"), [], reader="reader")
    nights = [SimpleNamespace(name=str(i)) for i in range(4)]
    one, three, four = (ways["blend"](nights[:n], 0) for n in (1, 3, 4))
    assert one.models == three.models == ("fine_tune", "from_scratch", "fit_band_trees", "reader")
    assert one.shares == pytest.approx((0.24, 0.24, 0.12, 0.4))
    assert four.models == (*one.models, "fit_recurrent_bands")
    assert four.shares == pytest.approx((0.224, 0.224, 0.112, 0.14, 0.3))


def test_a_card_without_what_is_usual_is_refused(tmp_path):
    model, card = load_sequence(FOLDER / "edge_0")
    for changed in ({"usual": None}, {"confidences": [1, 0]}, {"usual": {"mean": [0] * 11, "spread": [0] * 11}}):
        save_sequence(tmp_path / "edge", model, card | changed)
        with pytest.raises(ModelError, match="usual"):
            load_edge(tmp_path / "edge")


def test_weights_that_do_not_fit_the_manifest_are_refused(tmp_path):
    shutil.copytree(FOLDER / "source", tmp_path / "source")
    manifest = json.loads((tmp_path / "source" / "manifest.json").read_text())
    for changed in ({"n_networks": 99}, {"inputs": "bins"}, {"shape": {"n_inputs": 9, "width": 10**6}}, {"shape": [1]}):
        (tmp_path / "source" / "manifest.json").write_text(json.dumps(manifest | changed))
        with pytest.raises(ModelError):
            load_sequence(tmp_path / "source")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model, card = load_sequence(FOLDER / "edge_0")
    next(model.networks[0].parameters()).data.view(-1)[3] = float("nan")
    save_sequence(tmp_path / "edge", model, card)
    with pytest.raises(ModelError, match="expected weights that are numbers"):
        load_sequence(tmp_path / "edge")


@pytest.mark.parametrize("name", TUNINGS)
def test_tuning_moves_what_it_says_and_nothing_else(name):
    source = fit_model([made_up(3)], draw=SHORT)
    before = {key: value.clone() for key, value in source.networks[0].state_dict().items()}
    tuned = fine_tune(source, [made_up(4)], TUNINGS[name], SHORT).networks[0]
    assert all(torch.equal(value, before[key]) for key, value in source.networks[0].state_dict().items())
    then = source.networks[0].parts()
    moved = {
        part
        for part, weights in tuned.parts().items()
        if not all(torch.equal(*pair) for pair in zip(weights, then[part], strict=True))
    }
    assert moved == {"first": {"first"}, "head": {"head"}}.get(TUNINGS[name].learns, {"first", "later", "head"})
    assert torch.equal(tuned.norm.running_mean, before["norm.running_mean"]) == TUNINGS[name].frozen_norms


def test_unscored_epochs_and_gaps_teach_nothing():
    night = replace(made_up(5), epoch=np.concatenate([np.arange(60), np.arange(100, 160)]))
    example = example_of(replace(night, stage=np.where(np.arange(120) < 10, -1, night.stage)))
    assert example.inputs.shape[1] == 160 and (example.target[60:100] == -1).all() and (example.target[:10] == -1).all()
    inputs, target = draw_batch([example], replace(SHORT, length=400, lost=0), 0)
    assert (inputs[target[:, :1].expand_as(inputs) == -1].abs() > 0).sum() <= 10 * inputs.shape[0] * inputs.shape[1]
    with pytest.raises(BandError, match="scored"):
        fit_model([replace(night, stage=np.full(120, -1))], draw=SHORT)


@pytest.mark.parametrize("n", [2, 9, 40])
def test_a_night_shorter_than_a_piece_is_learned_from(n):
    night = made_up(3)
    night = BandNight("short", "a", night.bands[:n], night.stage[:n], night.epoch[:n], night.size[:n])
    for step in range(20):
        inputs, target = draw_batch([example_of(night)], replace(SHORT, length=400), step)
        assert inputs.shape[2] == 400 and (target >= 0).sum() <= n * len(target)
    fit_model([night], draw=replace(SHORT, length=400))


def test_one_scored_epoch_is_too_little_for_trees():
    with pytest.raises(BandError, match="two scored epochs at least, found 1"):
        fit_band_trees([replace(made_up(1, n=60), stage=np.r_[2, np.full(59, -1)])])


def test_ways_of_learning_get_the_same_draws_and_no_judged_person():
    nights, seen = [made_up(i, person=f"p{i // 2}") for i in range(8)], {"a": [], "b": []}
    source = load_sequence(FOLDER / "source")[0]

    def way(name):
        def fit(own, draw):
            seen[name].append([night.name for night in own])
            return source

        return fit

    ways = {name: way(name) for name in seen}
    curves = learn_curves(lambda: ways, {"a": (1, 2), "b": (2, 1)}, nights[:6], nights[6:], 3)
    assert seen["a"] == seen["b"] and len(seen["a"]) == 6
    assert curves["a"].kappas == curves["b"].kappas
    more = learn_curves(lambda: ways, {"a": (1, 2), "b": (2, 1)}, nights[:6], nights[6:], {"a": 3, "b": 5})
    assert len(more["b"].kappas[2]) == 5 and more["b"].first(3).kappas == more["a"].kappas == curves["a"].kappas


def test_curves_and_folds_do_not_depend_on_the_number_of_processes():
    nights = [made_up(i, n=60) for i in range(6)]

    def ways():
        return {"scratch": lambda own, j: fit_model(own, draw=replace(SHORT, seed=j))}

    one, two = (learn_curves(ways, {"scratch": (1, 2)}, nights[:4], nights[4:], 2, n) for n in (1, 2))
    assert one["scratch"].kappas == two["scratch"].kappas


def test_the_answer_of_the_device_stands_when_the_cloud_is_away():
    edge = np.random.default_rng(0).dirichlet(np.ones(5), 50)

    def ask():
        raise TimeoutError("no answer")

    answer = stage_cascade(edge, 0.5, ask)
    assert np.array_equal(answer.probabilities, edge) and answer.why_away == "no answer"
    assert ((answer.by == CLOUD_AWAY) == (edge.max(axis=1) < 0.5)).all()
    odd = stage_cascade(edge, 0.5, lambda: edge[:3])
    assert np.array_equal(odd.probabilities, edge) and "found shape (3, 5)" in odd.why_away


def test_the_cloud_answers_for_what_the_device_is_unsure_of_and_is_not_asked_for_nothing():
    edge = np.random.default_rng(0).dirichlet(np.ones(5), 50)
    said, unsure = np.roll(edge, 1, axis=1), edge.max(axis=1) < 0.5
    answer = stage_cascade(edge, 0.5, lambda: said)
    assert np.array_equal(answer.probabilities[unsure], said[unsure])
    assert np.array_equal(answer.probabilities[~unsure], edge[~unsure])
    assert np.array_equal(answer.by, np.where(unsure, CLOUD, DEVICE)) and answer.why_away == ""
    sure = stage_cascade(edge, edge.max(axis=1).min(), lambda: pytest.fail("asked"))
    assert np.array_equal(sure.probabilities, edge) and (sure.by == DEVICE).all()


def test_commands_say_in_one_line_what_they_cannot_use(tmp_path, monkeypatch):
    (tmp_path / "bad.npz").write_bytes(b"no file")
    bad = str(tmp_path / "bad.npz")
    fit, tune, ask = ["fit-bands", "--train", bad, "--test"], ["fine-tune", "--nights"], ["cascade", "--bands"]
    for command in (fit, tune, ask):
        shown = CliRunner().invoke(transfer, [*command, bad])
        assert shown.exit_code == 1 and shown.output.count("\n") == 1
        assert shown.output.startswith("Error: bad.npz: expected")
    monkeypatch.setattr(commands, "_read", lambda path: [made_up(i, person=f"p{i // 2}") for i in range(4)])
    shown = CliRunner().invoke(transfer, ["fine-tune", "--nights", bad, "--train", "99"])
    assert (shown.exit_code, shown.output.count("\n")) == (1, 1)
    assert "--train: expected fewer than the 2 people with stages, or --out" in shown.output
    shown = CliRunner().invoke(transfer, ["fine-tune", "--nights", bad, "--seed", "-1"])
    assert shown.exit_code == 2 and "--seed" in shown.output

def test_stages_that_nothing_shows_and_people_whom_the_source_knows_are_told(monkeypatch, tmp_path):
    nights = [replace(night, stage=np.minimum(night.stage, 2)) for night in (made_up(i, person=str(i)) for i in (1, 2))]
    monkeypatch.setattr(commands, "_read", lambda path: nights)
    (tmp_path / "nights.npz").touch()
    tuned = ["--out", str(tmp_path / "tuned"), "--json"]
    run = CliRunner().invoke(transfer, ["fine-tune", "--nights", str(tmp_path / "nights.npz"), *tuned])
    assert run.exit_code == 0, run.output
    assert "no DEEP, REM in the nights learned from" in run.stderr
    assert "learned from people of these names: 2;" in run.stderr  # of Sleep-EDF, as the source did
    source = ["--source", str(tmp_path / "tuned")]
    run = CliRunner().invoke(transfer, ["fine-tune", "--nights", str(tmp_path / "nights.npz"), *source])
    assert "of these names" not in run.stderr  # it says that it learned from person 1


def test_shipped_networks_on_real_people_whom_they_have_not_seen(real_data):
    nights = read_sleep_edf_bands(real_data / "sleep_edf" / "bands_58_people.npz")
    found = held_out(nights)
    figures = band_figures(nights, found.cloud)
    assert figures["accuracy"] >= 0.77 and figures["macro_f1"] >= 0.70 and figures["kappa"] >= 0.67
    points = curve_of([night.stage for night in nights], found, np.linspace(0, 1, 21))
    assert edge_share_at(points, 0.5) >= 0.7 and edge_share_at(points, 1.0) >= 0.8
    assert max(abs(point.sent - point.budget) for point in points) <= 0.03
