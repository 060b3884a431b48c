"""The forest: seeds reproduce it, and its file comes back or is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from dreem_case.core.model_file import ModelError, write_model
from dreem_case.staging import forest
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.forest_file import dump_estimators
from tests.staging.test_stager import staged_night


@pytest.fixture(scope="module")
def nights():
    return [staged_night(seed) for seed in range(4)]


def small():
    return ForestStager(n_trees=8)


@pytest.fixture(scope="module")
def fitted(nights):
    return small().fit([night for night, _ in nights[:3]], [labels for _, labels in nights[:3]], seed=3)


def test_a_seed_reproduces_the_forest_and_another_does_not(nights, fitted):
    prepared, labels = zip(*nights[:3], strict=True)
    assert small().fit(prepared, labels, seed=3).version == fitted.version
    assert small().fit(prepared, labels, seed=4).version != fitted.version


def test_threads_that_fit_leave_the_filters_of_warnings_as_they_were(nights):
    """Each of them sets these for the whole process and puts back what it met, which is often another's."""
    prepared, labels = zip(*nights[:2], strict=True)
    before = warnings.filters
    for _ in range(10):
        small().fit(prepared, labels)
        assert warnings.filters is before


def test_a_stage_that_no_training_night_has_gets_probability_zero(nights):
    prepared, labels = zip(*nights[:2], strict=True)
    without = [np.where(given == 1, 2, given) for given in labels]
    proba = small().fit(prepared, without).predict_proba(nights[3][0])
    assert np.all(proba[:, 1] == 0) and np.allclose(proba.sum(axis=1), 1)


def test_unscored_epochs_teach_nothing(nights, fitted):
    prepared, labels = zip(*nights[:3], strict=True)
    odd = [replace(night, record=f"other {i}") for i, night in enumerate(prepared)]
    minus_two = [np.where(given < 0, -2, given) for given in labels]
    assert small().fit(odd, minus_two, seed=3).version == fitted.version


# Its file


def saved_state(stager):
    """What `save` stores, taken apart."""
    rows = stager.rows
    manifest = {
        "kind": "forest", "version": stager.version, "trained_on": [], "metrics": {}, **forest._fits(),
        "feature_names": list(rows.feature_names), "accelerometer_names": list(rows.accelerometer_names),
    }
    references = {name: [scale.centre, scale.spread, scale.hours] for name, scale in rows.references.items()}
    return manifest, {
        "forest": stager.forest, "references": references, "accelerometer_typical": rows.accelerometer_typical
    }


def write(folder, manifest, state):
    write_model(folder, manifest, dump_estimators(state), ["numpy"], "skops")


@pytest.mark.parametrize(
    ("what", "value"),
    [("children_left", 10**6), ("children_right", 0), ("feature", 10**6), ("feature", -2), ("value", np.nan)],
)
def test_a_tree_with_a_node_a_column_or_a_leaf_that_cannot_be_is_refused(nights, tmp_path, what, value):
    prepared, labels = zip(*nights[:2], strict=True)
    stager = small().fit(prepared, labels)
    getattr(stager.forest.estimators_[0].tree_, what)[0] = value
    write(tmp_path, *saved_state(stager))
    with pytest.raises(ModelError, match=r"nodes or columns that do not exist|expected a forest and its references"):
        ForestStager.load(tmp_path)


def test_a_model_with_other_columns_than_its_forest_is_refused(fitted, tmp_path):
    manifest, state = saved_state(fitted)
    write(tmp_path, {**manifest, "feature_names": ["log_delta"]}, state)
    with pytest.raises(ModelError, match="columns that do not exist"):
        ForestStager.load(tmp_path)


def test_other_references_than_the_manifest_s_version_are_refused(fitted, tmp_path):
    manifest, state = saved_state(fitted)
    state["accelerometer_typical"] = state["accelerometer_typical"] + 1
    write(tmp_path, manifest, state)
    with pytest.raises(ModelError, match="expected model forest-"):
        ForestStager.load(tmp_path)


def test_something_else_than_a_forest_is_refused(fitted, tmp_path):
    manifest, state = saved_state(fitted)
    for broken in ({**state, "forest": np.arange(3)}, {"forest": state["forest"]}, {}):
        write(tmp_path, manifest, broken)
        with pytest.raises(ModelError, match="expected a forest and its references"):
            ForestStager.load(tmp_path)


def test_a_model_for_other_features_is_refused(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path)
    monkeypatch.setattr(forest, "FEATURES_VERSION", "newer")
    with pytest.raises(ModelError, match="expected features_version newer"):
        ForestStager.load(tmp_path)


def test_a_model_for_other_rows_is_refused(fitted, tmp_path):
    manifest, state = saved_state(fitted)
    write(tmp_path, {**manifest, "rows_version": "older"}, state)
    with pytest.raises(ModelError, match=r"expected rows_version .* found older; train the model again"):
        ForestStager.load(tmp_path)
