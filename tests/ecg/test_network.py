"""A network names beats behind the same interface as trees; its file is read with care and says the same elsewhere."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")

from dreem_case.core.nets import Learned  # noqa: E402
from dreem_case.ecg import endpoint, network_training  # noqa: E402
from dreem_case.ecg.ask import ask_beats, with_labels  # noqa: E402
from dreem_case.ecg.augment import make_example  # noqa: E402
from dreem_case.ecg.cli import ecg  # noqa: E402
from dreem_case.ecg.features import BEFORE, beat_features  # noqa: E402
from dreem_case.ecg.filtering import filtered  # noqa: E402
from dreem_case.ecg.findings import measure_on_folds  # noqa: E402
from dreem_case.ecg.network import N_SAMPLES, load_beat_network, network_inputs, save_beat_network  # noqa: E402
from dreem_case.ecg.network_training import (  # noqa: E402
    CHANGES,
    BeatNetSettings,
    changed,
    fit_beat_network,
    fit_network_classifier,
    make_pool,
    search,
)
from dreem_case.ecg.recording import EcgError, make_recording  # noqa: E402
from dreem_case.ecg.score import load_model, score_recording  # noqa: E402
from dreem_case.ecg.simulate import simulate_record, write_records  # noqa: E402

torch.set_num_threads(1)
SHORT = BeatNetSettings(epochs=2, beats_per_epoch=768)


@pytest.fixture(scope="module")
def examples():
    """Six simulated patients, of two rhythms."""
    made = (simulate_record(f"sim0{i}", ("ventricular beats", "atrial beats")[i % 2], 1, seed=i) for i in range(6))
    return [make_example(one.record, filtered(one), beats.time_s, beats.classes) for one, beats in made]


@pytest.fixture(scope="module")
def model(examples):
    """A blend that has learned a little."""
    return fit_network_classifier(examples, [e.record for e in examples], SHORT, n_folds=2, share=0.5, n_rounds=2)[0]


@pytest.fixture
def folder(model, tmp_path):
    """The blend, as a folder."""
    save_beat_network(model, tmp_path / "model")
    return tmp_path / "model"


def test_recordings_are_scored_asked_for_and_labelled_as_with_trees(model):
    recording, _ = simulate_record("sim09", "ventricular beats", 2, seed=9)
    answers = score_recording(recording, model)
    assert answers.version == model.version
    assert np.nansum(answers.probabilities, axis=1) == pytest.approx((answers.classes >= 0).astype(float))
    asked = ask_beats(answers, model, 4)
    after = with_labels(answers, model, 4, dict.fromkeys(asked, "V"))
    assert set(after.classes[after.classes >= 0]) == {2}


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_leads_have_no_order_and_one_that_is_off_says_nothing(model, share):
    recording, beats = simulate_record("sim09", "ventricular beats", 1, seed=9)
    model = replace(model, share=share, trees=model.trees if share < 1 else None)
    first, second = recording.leads.values()
    said = []
    for leads in ({"MLII": first, "V1": second}, {"V1": second, "MLII": first}):
        signals = filtered(make_recording("sim09", recording.fs_hz, leads))
        said.append(model.weighted(beat_features(signals, beats.time_s, with_waves=True)))
    np.testing.assert_allclose(said[0], said[1], atol=1e-5)
    both = beat_features(filtered(recording), beats.time_s, with_waves=True)
    off = both.waves.copy()
    off[:, 1] = np.nan
    network = replace(model, trees=None)
    alone = network.weighted(replace(both, waves=both.waves[:, :1]))
    np.testing.assert_allclose(network.weighted(replace(both, waves=off)), alone, atol=1e-5)


def test_a_day_in_pieces_and_beats_alone_are_named_alike(model, examples):
    table = examples[0].tables[0]
    whole = model.weighted(table)
    one = np.arange(len(table.rows)) == 7
    np.testing.assert_allclose(model.weighted(table.only(one)), whole[one], atol=1e-5)
    assert model.weighted(table.only(one & ~one)).shape == (0, 4)


def test_a_table_without_whole_beats_or_with_other_features_is_refused(model, examples):
    table = examples[0].tables[0]
    with pytest.raises(EcgError, match="whole beats"):
        model.weighted(replace(table, waves=None))
    with pytest.raises(EcgError, match=f"features of this model.* differ in {table.names[-1]}; train it again"):
        model.weighted(replace(table, names=table.names[:-1], rows=table.rows[:, :-1]))


def test_a_folder_gives_the_model_back(model, folder, examples):
    again = load_model(folder)
    assert again.version == model.version
    np.testing.assert_array_equal(again.weighted(examples[0].tables[0]), model.weighted(examples[0].tables[0]))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "something"}, {"n_filters": 10**9}, {"n_filters": 2.5}, {"hidden": "48"}, {"used": ["none of ours"]},
        {"used": []}, {"softness": 0}, {"softness": float("nan")}, {"shift": [0, 0]}, {"share": 2}, {"classes": ["N"]},
        {"trees": {"kind": "none"}}, {"card": None}, {"names": None}, {"model_sha256": "0" * 64},
        {"model_file": "../../elsewhere.safetensors"},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_changed_folder_is_refused(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(EcgError, match="expected a network of this project"):
        load_beat_network(folder)


def test_damaged_weights_are_refused(folder):
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(EcgError, match="a network of this project"):
        load_beat_network(folder)


def test_changes_keep_the_peak_in_place_and_do_not_clip(examples):
    pool = make_pool(examples, np.arange(4))
    waves = pool.waves[:200].astype(np.float32)
    quiet = replace(SHORT, noise=0.0, wander=0.0, bump=0.0, stretch=0.0)
    after = changed(waves, quiet, np.random.default_rng(0))
    seen = pool.seen[:200] > 0
    assert (np.abs(after[seen][:, 0]).argmax(axis=1) == np.abs(waves[seen][:, 0]).argmax(axis=1)).all()
    there = np.abs(waves[0, 0]) > 0.01
    assert np.ptp(after[0, 0][there] / waves[0, 0][there]) < 1e-4  # a beat and its distance


def test_a_beat_is_drawn_out_around_its_peak_and_keeps_its_height():
    beat = np.exp(-(((np.arange(N_SAMPLES) - BEFORE) / 4) ** 2))
    settings = replace(SHORT, **dict.fromkeys(CHANGES.values(), 0.0) | {"stretch": 0.3})
    after = changed(np.tile(beat, (50, 2, 2, 1)), settings, np.random.default_rng(0))
    assert after[..., BEFORE] == pytest.approx(1)
    assert np.array_equal(after[:, 0], after[:, 1])  # all leads alike
    width = (after[:, 0, 0] > 0.5).sum(axis=1)
    assert width.min() < (beat > 0.5).sum() < width.max()


def test_what_a_change_gives_is_measured_and_kept(tmp_path):
    write_records(tmp_path, n_records=4, minutes=0.5)
    found = measure_on_folds(tmp_path, tmp_path / "folds.json", 2, (0,), epochs=1, beats_per_epoch=128)
    assert json.loads((tmp_path / "folds.json").read_text()) == found
    assert list(found["network"]) == ["nothing", *CHANGES, "any"]
    assert list(found["trees"]) == ["nothing", "reordered", "fibrillating", "any"]
    assert found["network"]["nothing"]["f3_gain"] == 0 and "confidence" in found["flags"]


def test_beats_are_drawn_from_those_learned_from_with_all_of_them_a_chance(examples):
    pool = make_pool(examples, np.arange(4))
    n_known = sum(((e.classes < 4) & ~t.unscored).sum() for e in examples for t in e.tables)
    assert len(pool.classes) == n_known
    assert (pool.chance > 0).all()
    rare = np.bincount(pool.classes, pool.chance) / np.bincount(pool.classes)
    assert rare[0] < min(rare[1:3])


def test_training_repeats_itself_and_stops_where_others_are_named_best(examples):
    settings = replace(SHORT, epochs=6, patience=1, learning_rate=0.05)
    model, went = fit_beat_network(examples[:4], settings, examples[4:])
    again, _ = fit_beat_network(examples[:4], settings, examples[4:])
    assert model.version == again.version
    assert went.best_epoch == int(np.argmax(went.judgements))
    assert len(went.judgements) <= went.best_epoch + 2


def test_training_takes_one_thread_and_leaves_the_number_as_it_was(examples, monkeypatch):
    seen = []
    monkeypatch.setattr(
        network_training, "fit_network", lambda *_: seen.append(torch.get_num_threads()) or Learned((), (), 0)
    )
    torch.set_num_threads(2)
    try:
        fit_beat_network(examples[:2], SHORT)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(1)


def test_training_goes_on_where_it_was_stopped(examples, tmp_path):
    whole, _ = fit_beat_network(examples, SHORT, folder=tmp_path)
    again, went = fit_beat_network(examples, SHORT, resume=tmp_path / "last.ckpt")
    assert len(went.losses) == SHORT.epochs
    assert again.version == whole.version


def test_every_trial_of_a_search_is_kept(examples, tmp_path):
    lines = []
    patients = [example.record for example in examples]
    short = replace(SHORT, epochs=1, beats_per_epoch=128)
    best = search(examples, patients, tmp_path / "search.json", 6, base=short, told=lines.append)
    kept = json.loads((tmp_path / "search.json").read_text())
    assert [trial["number"] for trial in kept["trials"]] == list(range(6))
    assert {trial["state"] for trial in kept["trials"]} <= {"complete", "pruned"}
    first = min((t for t in kept["trials"] if t["state"] == "complete"), key=lambda trial: trial["surprise"])
    assert best.dropout == first["settings"]["dropout"]
    assert len(lines) == 6
    with pytest.raises(EcgError, match=r"search.json: expected a new file for the history"):
        search(examples, patients, tmp_path / "search.json", 1, base=short)
    assert json.loads((tmp_path / "search.json").read_text()) == kept


def test_the_command_writes_an_onnx_file_that_names_beats_alike(folder, model, tmp_path):
    pytest.importorskip("onnxruntime", reason="devices are an extra: pip install dreem_case[edge]")
    from dreem_case.core.edge import EdgeModel

    (record, *_) = write_records(tmp_path / "records", 1, 1)
    store = ["--store", str(tmp_path / "records"), record]
    told = CliRunner().invoke(ecg, ["export", "--model", str(folder), "--onnx", str(tmp_path / "a.onnx"), *store])
    assert told.exit_code == 0, told.output
    assert "named alike" in told.output
    recording, beats = simulate_record("sim09", "atrial beats", 1, seed=3)
    for leads in (dict(recording.leads), {"V5": next(iter(recording.leads.values()))}):
        signals = filtered(make_recording("sim09", recording.fs_hz, leads))
        table = beat_features(signals, beats.time_s, with_waves=True)
        said = EdgeModel(tmp_path / "a.onnx")(*network_inputs(table, model.columns))
        assert (said.argmax(axis=1) == model.logits(table).argmax(axis=1)).all()


def test_commands_and_endpoint_take_a_network(folder, tmp_path, monkeypatch):
    write_records(tmp_path / "records", 1, 1)
    args = ["score", "--store", str(tmp_path / "records"), "--out", str(tmp_path / "out"), "--model", str(folder)]
    assert CliRunner().invoke(ecg, args).exit_code == 0
    (answer,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json"))
    monkeypatch.setenv("DREEM_CASE_ECG_MODEL", str(folder))
    assert endpoint._model().version == answer["model"]
