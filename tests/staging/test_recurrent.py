"""A recurrent network on features is a stager: gain and length do not matter to it, and its file is read with care."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.nights.stages import UNSCORED  # noqa: E402
from dreem_case.staging.design_matrix import FeaturesDiffer, table_from_matrix  # noqa: E402
from dreem_case.staging.recurrent import RecurrentStager  # noqa: E402
from dreem_case.staging.stagers import load_stager  # noqa: E402

NAMES = ("log_delta", "sigma_share")


def table(record, seed, n_epochs=360, moves=True):
    """A night whose features and movement follow its stages."""
    random = np.random.default_rng(seed)
    stages = np.resize(np.repeat(random.permutation([0, 1, 2, 3, 2, 4]), 30), n_epochs)
    values = np.column_stack([[1.0, 0.0, 0.5, 2.0, -0.5], [0.1, 0.3, 0.5, 0.7, 0.2]])[stages]
    made = table_from_matrix(record, values + random.normal(size=(n_epochs, 2)) * [0.3, 0.06], NAMES)
    movement = (stages == 0)[:, None] + 0.2 * random.normal(size=(n_epochs, 1))
    movement = movement if moves else np.full_like(movement, np.nan)
    return replace(made, accelerometer=movement.astype(np.float32), accelerometer_feature_names=("moves",)), stages


@pytest.fixture(scope="module")
def fitted():
    nights, labels = zip(*(table(f"n{i}", i) for i in range(4)), strict=True)
    return RecurrentStager(1, 16).fit(nights, labels)


def test_networks_that_learn_side_by_side_are_those_that_learn_in_turn(monkeypatch):
    nights, labels = zip(*(table(f"n{i}", i) for i in range(3)), strict=True)
    in_turn, side_by_side = RecurrentStager(2, 2, n_jobs=1), RecurrentStager(2, 2, n_jobs=2)
    monkeypatch.setattr("dreem_case.staging.recurrent.granted_threads", lambda: 2)
    assert side_by_side.fit(nights, labels).version == in_turn.fit(nights, labels).version
    needed = [stager.needed_memory(1000, nights[0]) for stager in (in_turn, side_by_side)]
    assert needed[0] < needed[1] < 2.5 * needed[0]


def right(stager, night, stages):
    return (stager.predict(night) == stages).mean()


def test_it_stages_a_night_that_it_has_not_seen_with_and_without_accelerometer(fitted):
    assert right(fitted, *table("new", 9)) > 0.9
    assert right(fitted, *table("new", 9, moves=False)) > 0.85


def test_another_gain_changes_nothing(fitted):
    night, _ = table("new", 9)
    louder = replace(night, eeg=night.eeg + np.array([np.log10(4), 0], np.float32))
    assert fitted.predict_proba(louder) == pytest.approx(fitted.predict_proba(night), abs=1e-3)


def test_what_lies_in_a_gap_is_not_looked_at(fitted):
    night, _ = table("new", 9)
    eeg, weights = night.eeg.copy(), night.weights.copy()
    weights[:, 100:160] = 0
    first = replace(night, eeg=eeg, weights=weights)
    eeg = eeg.copy()
    eeg[:, 100:160] = np.nan
    assert np.array_equal(fitted.predict_proba(replace(first, eeg=eeg)), fitted.predict_proba(first))


def test_probabilities_are_those_of_whole_nights_of_any_length(fitted):
    for n_epochs in (1, 7, 3000):
        said = fitted.predict_proba(table("new", 3, n_epochs)[0])
        assert said.shape == (n_epochs, 5)
        assert said.sum(axis=1) == pytest.approx(1)


def test_what_cannot_be_learned_from_is_refused():
    night, stages = table("n0", 0)
    with pytest.raises(ModelError, match="two people, one to hold out, found 1"):
        RecurrentStager(2).fit([night], [stages])
    with pytest.raises(ModelError, match="expected scored epochs"):
        RecurrentStager(1).fit([night, night], [np.full_like(stages, UNSCORED)] * 2)


def test_other_features_are_refused_by_name(fitted):
    night, _ = table("new", 9)
    with pytest.raises(FeaturesDiffer, match="log_theta"):
        fitted.predict(replace(night, eeg_feature_names=("log_theta", "sigma_share")))


def test_a_changed_manifest_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "model", {"kappa": 0.5})
    file = tmp_path / "model" / "manifest.json"
    manifest = json.loads(file.read_text())
    for name, value in {
        "temperature": 3.0, "n_networks": 200, "movement": [[0.0], [0.0]], "feature_names": ["a"] * 5000,
        "features_version": 0, "matching": {}, "accelerometer_names": 3,
    }.items():  # fmt: skip
        file.write_text(json.dumps(manifest | {name: value}))
        with pytest.raises(ModelError):
            load_stager(tmp_path / "model")
