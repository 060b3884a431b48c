"""The forest: seeds reproduce it, and its file comes back or is refused."""

from dataclasses import replace

import numpy as np
import pytest

from dreem_case.core.agreement import kappa
from dreem_case.core.model_file import ModelError, write_model
from dreem_case.nights.stages import STAGES
from dreem_case.staging import forest
from dreem_case.staging.design_matrix import FeaturesDiffer, table_from_bins
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.forest_file import dump_estimators
from dreem_case.staging.stager import fit_folds, predict_out_of_fold
from tests.staging.test_design_matrix import make_night, with_channels
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


def test_the_number_of_threads_does_not_change_the_forest(nights, fitted):
    prepared, labels = zip(*nights[:3], strict=True)
    assert ForestStager(n_trees=8, n_jobs=1).fit(prepared, labels, seed=3).version == fitted.version


def test_probabilities_sum_to_one_in_the_order_of_the_stages(nights, fitted):
    night, labels = nights[3]
    proba = fitted.predict_proba(night)
    assert proba.shape == (night.n_epochs, len(STAGES))
    assert np.allclose(proba.sum(axis=1), 1)
    assert kappa(labels, proba.argmax(axis=1)) > 0.9


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


@pytest.mark.parametrize("kept", [(0,), (2, 1)])
def test_any_channels_are_staged_without_accelerometer(nights, fitted, kept):
    night, labels = nights[3]
    night = with_channels(night, kept)
    night = replace(night, accelerometer=np.full_like(night.accelerometer, np.nan))
    assert kappa(labels, fitted.predict(night)) > 0.8


def test_other_features_are_refused(fitted):
    with pytest.raises(FeaturesDiffer, match="bins"):
        fitted.predict(table_from_bins("bins", np.ones((5, 18))))


def test_labels_of_another_length_are_refused(nights):
    with pytest.raises(ModelError, match=r"night 0: expected 400 labels, found shape \(399,\)"):
        small().fit([nights[0][0]], [nights[0][1][:-1]])
    with pytest.raises(ModelError, match="found 1 nights and 2 labels"):
        small().fit([nights[0][0]], [nights[0][1]] * 2)


# Its file


def test_a_saved_forest_gives_the_same_probabilities(nights, fitted, tmp_path):
    fitted.save(tmp_path, {"kappa": 0.5})
    loaded = ForestStager.load(tmp_path)
    assert np.array_equal(loaded.predict_proba(nights[3][0]), fitted.predict_proba(nights[3][0]))
    assert loaded.version == fitted.version
    assert loaded.trained_on == ("night 0", "night 1", "night 2")
    assert loaded.metrics == {"kappa": 0.5}
    assert loaded.rows.columns == fitted.rows.columns


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


@pytest.mark.parametrize("what", ["children_left", "feature"])
def test_a_tree_with_a_node_or_a_column_that_does_not_exist_is_refused(nights, tmp_path, what):
    prepared, labels = zip(*nights[:2], strict=True)
    stager = small().fit(prepared, labels)
    getattr(stager.forest.estimators_[0].tree_, what)[0] = 10**6
    write(tmp_path, *saved_state(stager))
    with pytest.raises(ModelError, match="nodes or columns that do not exist"):
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


# Out of fold


def test_nothing_of_a_held_out_night_reaches_its_model(nights):
    prepared, labels = map(list, zip(*nights, strict=True))
    for held_out in range(len(nights)):
        other = list(prepared), list(labels)
        changed = make_night(99, 400, record="another")
        other[0][held_out] = replace(changed, eeg=changed.eeg * 50)
        other[1][held_out] = np.roll(labels[held_out], 77)
        before = list(fit_folds(small, prepared, labels))[held_out]
        after = list(fit_folds(small, *other))[held_out]
        assert before[1] == after[1] == [held_out]
        assert before[0].version == after[0].version
        assert prepared[held_out].record not in before[0].trained_on


def test_the_labels_of_a_night_do_not_change_its_own_predictions(nights):
    prepared, labels = map(list, zip(*nights[:3], strict=True))
    first = predict_out_of_fold(small, prepared, labels)
    second = predict_out_of_fold(small, prepared, [labels[0][::-1], *labels[1:]])
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_nights_of_one_fold_are_held_out_together(nights):
    prepared, labels = zip(*nights, strict=True)
    folds = list(fit_folds(small, prepared, labels, folds=[0, 1, 0, 1]))
    assert [test for _, test in folds] == [[0, 2], [1, 3]]
    assert folds[0][0].trained_on == ("night 1", "night 3")
