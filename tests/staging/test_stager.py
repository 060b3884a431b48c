"""The baseline that knows only the time, and stagers by name."""

import json
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from dreem_case.core.agreement import kappa
from dreem_case.core.model_file import MANIFEST, ModelError, from_json, read_model, to_json, write_model
from dreem_case.nights.stages import STAGE_NAMES
from dreem_case.staging import stagers
from dreem_case.staging.design_matrix import FeaturesDiffer, table_from_bins
from dreem_case.staging.stager import TimeOfNightStager
from dreem_case.staging.stagers import load_stager, new_stager, stager_module, stager_names
from tests.conftest import SMALL
from tests.staging.test_design_matrix import make_night, with_channels

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


@pytest.mark.parametrize("manifest", [{}, {"epochs_per_bin": "60"}, {"epochs_per_bin": 0}])
@pytest.mark.parametrize("shares", [None, [1, 2], [[1, 1], [1, 1]], [], [["a"] * 5], [[1] * 5, [1]]])
def test_a_time_of_night_model_of_another_shape_is_refused(tmp_path, manifest, shares):
    said = {"kind": "time-of-night", "stages": list(STAGE_NAMES), **manifest}
    write_model(tmp_path, said, to_json({"shares": shares}), [])
    with pytest.raises(ModelError, match="expected shares of five stages"):
        TimeOfNightStager.load(tmp_path)


def test_a_stager_without_doubt_of_its_own_marks_nothing_and_is_far_from_nothing(nights):
    prepared, labels = zip(*nights[:2], strict=True)
    stager = TimeOfNightStager().fit(prepared, labels)
    assert not stager.review(stager.predict_proba(prepared[0])).any()
    assert stager.references == {}


# Every kind


def small(kind):
    return new_stager(kind, **SMALL.get(kind, {}))


@pytest.fixture(scope="module", params=OF_THE_CASE)
def fitted(request, nights):
    """The kind of a stager, and one that is fitted to three nights."""
    return request.param, small(request.param).fit(*zip(*nights[:3], strict=True))


def test_any_channels_are_staged_without_accelerometer(nights, fitted):
    night, labels = nights[3]
    for kept in ((0,), (2, 1)):
        part = with_channels(night, kept)
        said = fitted[1].predict_proba(replace(part, accelerometer=np.full_like(part.accelerometer, np.nan)))
        assert said.shape == (400, 5) and np.allclose(said.sum(axis=1), 1)
        assert fitted[0] not in ("boosted", "forest") or kappa(labels, said.argmax(axis=1)) > 0.8


def test_a_saved_stager_comes_back_by_name_and_one_of_other_stages_or_versions_is_refused(nights, fitted, tmp_path):
    kind, stager = fitted
    stager.save(tmp_path, {"kappa": 0.5})
    loaded = load_stager(tmp_path)
    assert type(loaded) is type(stager)
    assert np.array_equal(loaded.predict_proba(nights[3][0]), stager.predict_proba(nights[3][0]))
    assert loaded.version == stager.version
    if kind != "time-of-night":  # which keeps neither
        assert (loaded.trained_on, loaded.metrics) == (("night 0", "night 1", "night 2"), {"kappa": 0.5})
    assert np.array_equal(loaded.review(np.full((3, 5), 0.2)), stager.review(np.full((3, 5), 0.2)))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    for changed in ({"stages": manifest["stages"][::-1]}, {"version": None}):
        (tmp_path / MANIFEST).write_text(json.dumps(manifest | changed))
        with pytest.raises(ModelError, match=rf"expected (stages|.*{kind})"):
            load_stager(tmp_path)


def test_a_part_that_is_not_there_or_not_of_this_version_is_refused(fitted, tmp_path):
    kind, stager = fitted
    if kind not in ("boosted", "blended"):
        pytest.skip("its file has no parts by name")
    stager.save(tmp_path)
    manifest, content = read_model(tmp_path)
    state = from_json(content, tmp_path)
    without = [{key: value for key, value in state.items() if key != name} for name in state]
    for about, parts, said in (
        *((manifest, parts, "expected boosted trees and ") for parts in without),
        (manifest, state | {"review_threshold": 0.9}, f"expected model {kind}-"),
        (manifest | {"boosted_version": "older"}, state, "found older; train the model again"),
    ):
        write_model(tmp_path, about, to_json(parts), ["numpy"])
        with pytest.raises(ModelError, match=said):
            load_stager(tmp_path)


@pytest.mark.parametrize("kind", OF_THE_CASE)
def test_what_no_kind_can_fit_or_say_is_refused(nights, kind, tmp_path):
    prepared, labels = zip(*nights[:2], strict=True)
    with pytest.raises(ModelError, match="night 1: expected labels of at most 4, found 9"):
        small(kind).fit(prepared, [labels[0], np.full_like(labels[1], 9)])
    with pytest.raises(ModelError, match=r"night 0: expected 400 labels, found shape \(399,\)"):
        small(kind).fit(prepared, [labels[0][:-1], labels[1]])
    with pytest.raises(ModelError, match="found 2 nights and 1 labels"):
        small(kind).fit(prepared, labels[:1])
    for ask in (lambda: small(kind).predict(prepared[0]), lambda: small(kind).save(tmp_path)):
        with pytest.raises(ModelError, match="never fitted"):
            ask()
    if kind in ("boosted", "forest"):
        with pytest.raises(FeaturesDiffer, match="bins"):
            small(kind).fit(prepared, labels).predict(table_from_bins("bins", np.ones((5, 18))))


@pytest.mark.parametrize("kind", [None, "oracle", "os.system", ["forest"], {"forest": 1}, 1e308])
def test_a_kind_that_is_on_no_list_is_refused(tmp_path, kind):
    (tmp_path / MANIFEST).write_text(json.dumps({"kind": kind}))
    with pytest.raises(ModelError, match=f"{tmp_path}: expected one of blended, boosted, .*forest, .*time-of-night"):
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
