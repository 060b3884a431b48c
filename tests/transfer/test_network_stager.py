"""A network is a stager like the others: by name, calibrated, repeatable, and read from no file that could hurt."""

import hashlib
import json
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")

from safetensors.torch import load, save  # noqa: E402

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.nights.night import Night, Signal  # noqa: E402
from dreem_case.staging.score import score_night  # noqa: E402
from dreem_case.staging.stagers import load_stager, stager_class, stager_names  # noqa: E402
from dreem_case.transfer.network_stager import (  # noqa: E402
    KINDS,
    SmallSequenceStager,
    bridged,
    hold_out,
    load_network_stager,
    network_stager,
    shipped_network_folder,
)

torch.set_num_threads(1)


def toy_night(record, n_epochs=60, seed=0):
    """Stages that are tones: nothing could be easier."""
    random = np.random.default_rng(seed)
    stages = np.repeat(random.integers(0, 5, n_epochs // 4), 4).astype(np.int8)
    hertz = np.array([10.0, 6.0, 13.0, 1.5, 20.0])[stages]
    time = np.arange(n_epochs * 3000) / 100
    values = 20 * np.sin(2 * np.pi * np.repeat(hertz, 3000) * time) + random.normal(0, 5, len(time))
    return Night(record, {"C3": Signal(values.astype(np.float32), 100, "µV", "eeg")}, n_epochs, stages)


@pytest.fixture(scope="module")
def nights():
    return [toy_night(f"n{i}", seed=i) for i in range(5)]


@pytest.fixture(scope="module")
def fitted(nights):
    stager = SmallSequenceStager(epochs=12, n_jobs=1)
    return stager.fit(
        [stager.prepare(night) for night in nights[:4]], [night.hypnogram for night in nights[:4]], seed=3
    )


def test_networks_are_stagers_by_name():
    assert set(KINDS) <= set(stager_names())
    assert all(stager_class(name) is network_stager(name) and network_stager(name).kind == name for name in KINDS)


def test_an_easy_night_is_staged_right_and_said_with_confidence(fitted, nights):
    score = score_night(nights[4], fitted)
    assert (score.stages == nights[4].hypnogram).mean() > 0.9
    assert fitted.trained_on == ("n0", "n1", "n2", "n3") and fitted.preferred == "C3"
    np.testing.assert_allclose(score.probabilities.sum(axis=1), 1)
    assert score.model_version == fitted.version and score.usable.all()


def test_the_loss_falls(fitted):
    assert fitted.learned.losses[-1] < 0.6 * fitted.learned.losses[0]


def test_one_seed_makes_one_network(nights):
    def fit(seed):
        stager = SmallSequenceStager(epochs=1, n_jobs=1)
        return stager.fit([stager.prepare(night) for night in nights[:2]], [n.hypnogram for n in nights[:2]], seed)

    assert fit(1).version == fit(1).version != fit(2).version


def test_both_nights_of_a_person_are_on_one_side():
    records = [f"SC4{person:02}{night}E0" for person in range(9) for night in (1, 2)]
    for seed in range(5):
        held = hold_out(records, seed).reshape(9, 2)
        assert (held[:, 0] == held[:, 1]).all() and held.any() and not held.all()


def test_a_gap_has_what_its_neighbours_have(fitted, nights):
    values = nights[4].signals["C3"].values.copy()
    values[10 * 3000 : 12 * 3000] = np.nan
    holed = Night("holed", {"C3": Signal(values, 100, "µV", "eeg")}, 60)
    prepared = fitted.prepare(holed)
    assert not prepared.seen[10:12].any()
    assert np.isfinite(fitted.predict_proba(prepared)).all()
    logits = np.arange(5.0)[:, None]
    assert bridged(logits, np.array([False, True, False, True, False])).ravel().tolist() == [1, 1, 2, 3, 3]
    assert not bridged(logits, np.zeros(5, bool)).any()


def test_another_derivation_is_said(fitted, nights):
    other = Night("other", {"Pz-Oz": nights[4].signals["C3"]}, 60)
    assert any("from Pz-Oz by a network that knows C3" in note for note in score_night(other, fitted).notes)


def test_what_nothing_can_be_learned_from_is_refused(nights):
    stager = SmallSequenceStager(epochs=1)
    one = [stager.prepare(nights[0])]
    with pytest.raises(ModelError, match="at least two people, one to hold out, found 1"):
        stager.fit(one, [nights[0].hypnogram])
    with pytest.raises(ModelError, match="at least two people, one to hold out, found 0"):
        stager.fit(one, [np.full(60, -1)])
    with pytest.raises(ModelError, match="n0: expected 60 labels"):
        stager.fit(one, [np.zeros(3, int)])
    with pytest.raises(ModelError, match="never fitted"):
        stager.predict_proba(one[0])


def test_a_saved_network_says_the_same(fitted, nights, tmp_path):
    fitted.save(tmp_path)
    again = load_stager(tmp_path)
    assert again.version == fitted.version and again.trained_on == fitted.trained_on
    prepared = fitted.prepare(nights[4])
    np.testing.assert_array_equal(again.predict_proba(prepared), fitted.predict_proba(prepared))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def rewritten(folder, content=None, **changes):
    """A model folder whose manifest agrees with its file, whatever that holds."""
    manifest = json.loads((folder / "manifest.json").read_text())
    file = folder / manifest["model_file"]
    if content is not None:
        file.write_bytes(content)
        changes["model_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0}, {"temperature": None}, {"temperature": "nan"}, {"temperature": [1]},
        {"review_threshold": 2},
        {"stages": ["WAKE"]}, {"low_pass_hz": 0}, {"low_pass_hz": "x"}, {"trained_on": 3}, {"metrics": 1},
        {"version": "small-sequence-0"}, {"kind": "os.system"}, {"kind": "deepsleepnet"}, {"windows_version": 99},
        {"kind": None}, {"model_file": "../manifest.json"},
    ],
)  # fmt: skip
def test_a_manifest_that_no_training_writes_is_refused(fitted, tmp_path, changes):
    fitted.save(tmp_path)
    rewritten(tmp_path, **changes)
    with pytest.raises(ModelError):
        load_network_stager(tmp_path)


def weights_of(folder):
    return load(next(folder.glob("*.safetensors")).read_bytes())


@pytest.mark.parametrize("how", ["pickle", "torch", "empty", "cut", "huge", "shape", "name", "missing", "nan"])
def test_weights_that_no_training_writes_are_refused(fitted, tmp_path, how):
    fitted.save(tmp_path)
    good, weights = next(tmp_path.glob("*.safetensors")).read_bytes(), weights_of(tmp_path)
    first = next(name for name, value in weights.items() if value.is_floating_point())  # others count batches
    bad = {
        "pickle": lambda: pickle.dumps(weights), "empty": lambda: b"", "cut": lambda: good[: len(good) // 2],
        "torch": lambda: b"PK\x03\x04" + good, "huge": lambda: (2**40).to_bytes(8, "little") + good[8:],
        "shape": lambda: save(weights | {first: torch.zeros(3)}),
        "name": lambda: save(weights | {"other": torch.zeros(3)}),
        "missing": lambda: save({name: value for name, value in weights.items() if name != first}),
        "nan": lambda: save(weights | {first: torch.full_like(weights[first], float("nan"))}),
    }  # fmt: skip
    rewritten(tmp_path, bad[how]())
    with pytest.raises(ModelError):
        load_network_stager(tmp_path)


def test_the_shipped_network_loads_and_names_its_data():
    stager = load_network_stager(shipped_network_folder())
    assert "simulated" in stager.metrics["data"]
    assert sum(path.stat().st_size for path in shipped_network_folder().iterdir()) < 500_000
