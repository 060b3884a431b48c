"""The baseline that knows only the time, and stagers by name."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from dreem_case.core.model_file import MANIFEST, ModelError, to_json, write_model
from dreem_case.nights.stages import STAGE_NAMES
from dreem_case.staging import stagers
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.stager import TimeOfNightStager
from dreem_case.staging.stagers import load_stager, new_stager, stager_module, stager_names
from tests.staging.test_design_matrix import make_night

OF_THE_CASE = [name for name in stager_names() if stager_module(name).startswith("dreem_case.staging.")]


def staged_night(seed, n_epochs=400):
    """A night whose features follow its stages, with an unscored tail."""
    random = np.random.default_rng(seed)
    stages = np.resize(np.repeat([0, 1, 2, 3, 2, 4], 20), n_epochs).astype(np.int8)
    night = make_night(seed, n_epochs, record=f"night {seed}")
    signal = np.column_stack([[2.0, 0.0, 1.0, 3.0, -1.0], [0.1, 0.3, 0.6, 0.4, 0.2]])[stages]
    eeg = signal[None] + random.normal(0, 0.2, night.eeg.shape) + np.arange(3)[:, None, None]
    labels = stages.copy()
    labels[-20:] = -1
    return replace(night, eeg=eeg.astype(np.float32)), labels


@pytest.fixture(scope="module")
def nights():
    return [staged_night(seed) for seed in range(4)]


# The baseline


def test_the_baseline_knows_nothing_but_the_time(nights):
    prepared, labels = zip(*nights[:3], strict=True)
    stager = TimeOfNightStager().fit(prepared, labels)
    night = nights[3][0]
    assert np.array_equal(stager.predict_proba(night), stager.predict_proba(replace(night, eeg=night.eeg * 7)))
    assert np.allclose(stager.predict_proba(night).sum(axis=1), 1)


def test_the_baseline_stages_a_night_longer_than_any_it_was_fitted_to(nights):
    prepared, labels = zip(*nights[:3], strict=True)
    assert len(TimeOfNightStager().fit(prepared, labels).predict(make_night(5, 2000))) == 2000


def test_the_baseline_comes_back_from_its_file(nights, tmp_path):
    prepared, labels = zip(*nights[:3], strict=True)
    stager = TimeOfNightStager().fit(prepared, labels)
    stager.save(tmp_path)
    loaded = TimeOfNightStager.load(tmp_path)
    assert loaded.version == stager.version != TimeOfNightStager().fit(prepared[:2], labels[:2]).version
    assert np.array_equal(loaded.predict_proba(nights[3][0]), stager.predict_proba(nights[3][0]))
    with pytest.raises(ModelError, match="expected kind forest, found time-of-night"):
        ForestStager.load(tmp_path)


@pytest.mark.parametrize("manifest", [{}, {"epochs_per_bin": "60"}, {"epochs_per_bin": 0}])
@pytest.mark.parametrize("shares", [None, [1, 2], [[1, 1], [1, 1]], [], [["a"] * 5], [[1] * 5, [1]]])
def test_a_time_of_night_model_of_another_shape_is_refused(tmp_path, manifest, shares):
    said = {"kind": "time-of-night", "stages": list(STAGE_NAMES), **manifest}
    write_model(tmp_path, said, to_json({"shares": shares}), [])
    with pytest.raises(ModelError, match="expected shares of five stages"):
        TimeOfNightStager.load(tmp_path)


def test_a_baseline_that_was_never_fitted_says_so(nights, tmp_path):
    for asked in (lambda: TimeOfNightStager().predict(nights[0][0]), lambda: TimeOfNightStager().save(tmp_path)):
        with pytest.raises(ModelError, match="expected a fitted model, found one that was never fitted"):
            asked()


@pytest.mark.parametrize("name", OF_THE_CASE)
def test_a_label_that_is_no_stage_is_refused(nights, name):
    prepared, labels = zip(*nights[:2], strict=True)
    with pytest.raises(ModelError, match="night 1: expected labels of at most 4, found 9"):
        new_stager(name).fit(prepared, [labels[0], np.full_like(labels[1], 9)])


def test_a_stager_without_doubt_of_its_own_marks_nothing_and_is_far_from_nothing(nights):
    prepared, labels = zip(*nights[:2], strict=True)
    stager = TimeOfNightStager().fit(prepared, labels)
    assert not stager.review(stager.predict_proba(prepared[0])).any()
    assert stager.references == {}


# By name


@pytest.mark.parametrize("name", OF_THE_CASE)
def test_a_saved_stager_says_itself_what_it_is(nights, tmp_path, name):
    prepared, labels = zip(*nights[:2], strict=True)
    small = {"boosted": {"n_rounds": 4, "n_folds": 2, "n_copies": 0}, "forest": {"n_trees": 3}}
    stager = new_stager(name, **small.get(name, {})).fit(prepared, labels)
    stager.save(tmp_path)
    loaded = load_stager(tmp_path)
    assert type(loaded) is type(stager)
    assert np.array_equal(loaded.predict_proba(nights[3][0]), stager.predict_proba(nights[3][0]))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"stages": manifest["stages"][::-1]}))
    with pytest.raises(ModelError, match="expected stages"):
        load_stager(tmp_path)


@pytest.mark.parametrize("kind", [None, "oracle", "os.system", ["forest"], {"forest": 1}, 1e308])
def test_a_kind_that_is_on_no_list_is_refused(tmp_path, kind):
    (tmp_path / MANIFEST).write_text(json.dumps({"kind": kind}))
    with pytest.raises(ModelError, match=f"{tmp_path}: expected one of boosted, .*forest, .*time-of-night"):
        load_stager(tmp_path)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("dreem_case.staging.stager:TimeOfNightStagr", "AttributeError: module .* has no attribute"),
        ("dreem_case.staging.stagerr:TimeOfNightStager", "ModuleNotFoundError: No module named"),
        ("dreem_case.staging.features:NightFeatures", "no fit, load, needed_memory, predict, predict_proba, prepare"),
        ("dreem_case.staging.stager:Stager", "no fit, load, needed_memory, predict_proba, reads, .*, dataclass"),
    ],
)
def test_an_entry_point_without_a_stager_behind_it_says_what_is_missing(place, found, monkeypatch):
    monkeypatch.setattr(stagers, "_kinds", lambda: {"lda": EntryPoint("lda", place, "dreem_case.stagers")})
    with pytest.raises(ModelError, match=f"lda: expected a stager at {place}.*, found {found}"):
        new_stager("lda")


def test_a_saved_model_without_its_version_is_refused(nights, tmp_path):
    TimeOfNightStager().fit([nights[0][0]], [nights[0][1]]).save(tmp_path)
    said = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**said, "version": None}))
    with pytest.raises(ModelError, match=r"expected a manifest of version time-of-night-.*, found None"):
        load_stager(tmp_path)


def test_scoring_loads_no_library_of_a_model_that_is_not_asked_for():
    code = "import sys, dreem_case.staging.score, dreem_case.staging.stagers; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sklearn", "skops", "pandas", "lightgbm"} & set(run.stdout.split())
