"""Networks are judged on people who decide nothing, and a training that was stopped goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("onnxruntime", reason="devices are an extra: pip install dreem_case[edge]")

from dreem_case.core.agreement import kappa  # noqa: E402
from dreem_case.nights.casefile import write_night  # noqa: E402
from dreem_case.nights.night import Night, Signal  # noqa: E402
from dreem_case.nights.stages import Stage  # noqa: E402
from dreem_case.staging.stagers import load_stager  # noqa: E402
from dreem_case.transfer import band_models, commands, network_training  # noqa: E402
from dreem_case.transfer.commands import train_networks, transfer  # noqa: E402
from dreem_case.transfer.edge_network import EdgeNetwork, calibration_pieces  # noqa: E402
from dreem_case.transfer.network_stager import SmallSequenceStager, load_network_stager, shipped_network_folder  # noqa: E402
from dreem_case.transfer.network_training import (  # noqa: E402
    People,
    judged_on_device,
    judgement,
    read_networks,
    train_all,
)
from tests.transfer.test_network_stager import toy_night  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def people():
    nights = tuple(toy_night(f"SC4{i // 2:02}{1 + i % 2}E0", seed=i) for i in range(6))
    return People(nights, tuple(night.record[:5] for night in nights), "toys")


def test_both_nights_of_a_person_learn_or_judge(people):
    assert [side.tolist() for side in people.sides] == [[0, 1, 2, 3], [4, 5]]


def test_a_judgement_counts_by_hand():
    truth = [np.array([0, 0, 1, 2, -1]), np.array([2, 2])]
    said = [np.eye(5)[[0, 1, 1, 2, 3]], np.eye(5)[[2, 0]]]
    found = judgement(truth, said)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["accuracy_by_night"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["accuracy_worst_night"] == 0.5
    assert found["precision"][:3] == [0.5, 0.5, 1.0]
    assert found["recall"][:3] == pytest.approx([0.5, 1, 2 / 3], abs=1e-4)
    assert found["support"] == [2, 1, 3, 0, 0] and found["f1"][3] is None
    json.dumps(found, allow_nan=False)


def test_pieces_to_calibrate_by_are_of_one_length_and_from_all_of_the_night(people):
    windows = [SmallSequenceStager().prepare(night) for night in people.nights[:3]]
    pieces = calibration_pieces(windows)
    assert {piece[0].shape for piece in pieces} == {(1, 60, 3000)}
    np.testing.assert_array_equal(pieces[1][0][0], windows[1].windows)


def test_a_training_that_was_stopped_goes_on_with_what_is_missing(people, tmp_path, monkeypatch):
    monkeypatch.setattr(network_training, "simulated_people", lambda *_, **__: people)
    settings = {"names": ("small-sequence",), "path": tmp_path / "n.json", "ship": tmp_path / "ship", "passes": 1}
    settings["device"] = {"steps": 1, "sizes": (0,), "n_draws": 1, "n_jobs": 1}
    said = []
    table = train_all(tmp_path, **settings, say=said.append)
    others = "random epochs", "no low-pass", "device b"
    assert len(said) == 4 and set(table) == {"small-sequence", *(f"small-sequence, {other}" for other in others)}
    assert read_networks(tmp_path / "n.json") == json.loads(json.dumps(table))
    assert table["small-sequence"]["judged_nights"] == 2 and table["small-sequence"]["edge"]["parity"] < 1e-4
    shipped = load_network_stager(tmp_path / "ship")
    assert set(shipped.trained_on) == {night.record for night in people.nights[:4]}
    device = EdgeNetwork.load(tmp_path / "edge")
    assert device.temperature == 1 and device.preferred == shipped.preferred
    assert json.loads((tmp_path / "edge" / "training.json").read_text())["taught_by"] == shipped.version
    del table["small-sequence, random epochs"]
    (tmp_path / "n.json").write_text(json.dumps(table))
    train_all(tmp_path, **settings, say=said.append)
    assert len(said) == 5 and said[-1].startswith("small-sequence, random epochs")


def test_only_what_is_named_is_trained(people, tmp_path, monkeypatch):
    monkeypatch.setattr(network_training, "simulated_people", lambda *_, **__: people)
    monkeypatch.setattr(network_training, "judged_by_night", lambda *_: {})
    assert list(train_all(tmp_path, names=("boosted",), path=tmp_path / "n.json", say=str)) == ["boosted"]
    run = CliRunner().invoke(train_networks, ["--only", "nothing", "--folder", str(tmp_path / "pairs")])
    assert (run.exit_code, "found 'nothing'" in run.output) == (1, True)
    assert not (tmp_path / "pairs").exists()


def test_on_another_device_all_learn_from_the_same_nights_and_are_judged_on_the_same_others(people):
    source = SmallSequenceStager(epochs=1)
    source.fit([source.prepare(night) for night in people.nights[:4]], people.labels[:4])
    weights = [value.clone() for value in source.network.parameters()]
    found = judged_on_device(people, source, people, steps=2, sizes=(0, 1, 2), n_draws=2, n_jobs=1)
    assert {way: set(of) for way, of in found["kappas"].items()} == {
        "tuned": {"0", "1", "2"}, "pooled trees": {"0", "1", "2"}, "scratch": {"1", "2"}, "trees": {"2"},
    }  # fmt: skip
    untouched = [kappa(people.labels[i], source.predict(source.prepare(people.nights[i]))) for i in people.sides[1]]
    assert list(found["kappas"]["tuned"]["0"][0].values()) == untouched
    judged = {people.nights[i].record for i in people.sides[1]}
    assert all(set(draw) == judged for of in found["kappas"].values() for draws in of.values() for draw in draws)
    assert set(found["person"]) == judged and len(found["kappas"]["tuned"]["1"]) == 2
    assert all((a == b).all() for a, b in zip(weights, source.network.parameters(), strict=True))
    json.dumps(found)


def stored(night, stages, folder):
    """Write a night as a store keeps it."""
    eeg = {"eeg1": Signal(np.repeat(night.signals["C3"].values, 5)[::2], 250, "µV", "eeg")}
    write_night(Night(night.record, eeg, night.n_epochs, stages), folder)


def test_a_network_tuned_on_a_store_is_a_model_that_learned_from_the_first_people(people, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "TUNING_STEPS", 2)
    for night in people.nights:
        stored(night, night.hypnogram, tmp_path / "nights")
    places = ["--store", str(tmp_path / "nights"), "--out", str(tmp_path / "tuned")]
    run = CliRunner().invoke(transfer, ["fine-tune", *places, "--train", "2", "--json"])
    assert run.exit_code == 0, run.output
    figures, tuned = json.loads(run.stdout), load_stager(tmp_path / "tuned")
    assert tuned.version == figures["version"] != load_network_stager(shipped_network_folder()).version
    assert list(tuned.trained_on) == [night.record for night in people.nights[:4]]
    assert "from scratch: pass 2 of 2, loss" in run.stderr and run.stderr.count(": pass ") == 4
    assert figures["nights_judged"] == 2 and {"kappa_source", "kappa_tuned", "kappa_scratch"} <= set(figures)
    run = CliRunner().invoke(transfer, ["fine-tune", *places, "--train", "3", "--json"])
    assert json.loads(run.stdout).keys() == {"people_learned_from", "nights_judged", "version"}  # nobody is left
    for asked in ([*places, "--train", "4"], [*places[:2], "--train", "3"]):
        run = CliRunner().invoke(transfer, ["fine-tune", *asked])
        assert run.exit_code == 1 and "--train: expected fewer than the 3 people with stages" in run.output


def test_stages_that_no_night_to_learn_from_has_are_told_and_a_tuning_without_use_does_not_begin(
    people, tmp_path, monkeypatch
):
    monkeypatch.setattr(commands, "TUNING_STEPS", 1)
    night = people.nights[0]
    stored(night, np.where(night.hypnogram == Stage.WAKE, Stage.WAKE, Stage.N2), tmp_path / "nights")
    asked = ["fine-tune", "--store", str(tmp_path / "nights")]
    useless = CliRunner().invoke(transfer, asked)
    assert useless.exit_code == 1 and "or --out where nobody is left to judge, found 1" in useless.output
    run = CliRunner().invoke(transfer, [*asked, "--out", str(tmp_path / "tuned")])
    assert run.exit_code == 0 and "no N1, DEEP, REM in the nights learned from" in run.stderr


def test_a_folder_of_another_kind_of_network_is_named(people, tmp_path):
    stored(people.nights[0], people.nights[0].hypnogram, tmp_path / "nights")
    source = band_models.FOLDER / "source"
    run = CliRunner().invoke(transfer, ["fine-tune", "--source", str(source), "--store", str(tmp_path / "nights")])
    assert run.exit_code == 1 and "source: expected one of cnn-10," in run.output


@pytest.mark.parametrize("asked", [[], ["--store", "a", "--nights", __file__]])
def test_nights_to_tune_on_are_a_store_or_spectra(asked):
    run = CliRunner().invoke(transfer, ["fine-tune", *asked])
    assert run.exit_code == 1 and "expected --store or --nights" in run.output


def test_both_nights_of_a_person_whom_names_tell_are_learned_from(people, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "TUNING_STEPS", 1)
    for name, night in zip(("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"), people.nights[:3], strict=True):
        stored(replace(night, record=name), night.hypnogram, tmp_path / "nights")
    run = CliRunner().invoke(transfer, ["fine-tune", "--store", str(tmp_path / "nights"), "--json"])
    assert run.exit_code == 0 and json.loads(run.stdout)["nights_judged"] == 1
