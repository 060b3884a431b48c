"""What can be shown of given nights: odd nights of every kind, without running a chapter."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from dreem_case.nights.casefile import write_night
from dreem_case.nights.night import Night, Signal
from dreem_case.report import study as module
from dreem_case.report.chapter import ReportError
from dreem_case.report.study import Study, open_study, scope_of, stage_study
from dreem_case.staging.stager import TimeOfNightStager, fit_folds
from tests.staging.test_design_matrix import make_night

N = 40  # epochs of a night here
SEVERAL, ONE_STAGE, NOTHING = np.resize([0, 1, 2, 3, 4, -1], N), np.full(N, 2), np.full(N, -1)
KINDS = {  # kind of night -> (labels, usable EEG, accelerometer)
    "whole": (SEVERAL, True, True), "unscored": (None, True, True), "no label": (NOTHING, True, True),
    "one stage": (ONE_STAGE, True, True), "dead band": (SEVERAL, False, True), "no movement": (SEVERAL, True, False),
    "dead and unscored": (None, False, False),
}  # fmt: skip


def made(*kinds):
    """Make nights and their features, named by kind and place."""
    nights, features = {}, {}
    for place, kind in enumerate(kinds):
        record, (labels, usable, moving) = f"{kind} {place}", KINDS[kind]
        signals = {"eeg1": Signal(np.zeros(N * 3000, np.float32), 100, "µV", "eeg")}
        if moving:
            signals["acc_x"] = Signal(np.zeros(N * 1500, np.float32), 50, "g", "accelerometer")
        nights[record] = Night(record, signals, N, labels)
        own = make_night(place, N, record=record)
        features[record] = own if usable else replace(own, weights=np.zeros_like(own.weights))
    return nights, features


def study_of(*kinds):
    """Make a study of nights without a file behind them."""
    nights, features = made(*kinds)
    store = SimpleNamespace(source="nights of a test")
    return Study(store, nights, SimpleNamespace(features=lambda store, record: features[record]))


@pytest.mark.parametrize(("kinds", "best", "why"), [
    (["whole"] * 3, "boosted", ""),
    (["whole"] * 2, "forest", ""),
    (["whole", "whole", "one stage"], "boosted", ""),
    (["whole", "one stage", "one stage"], "forest", "two nights with labels of several stages, and this run has 1"),
    (["one stage"] * 3, "forest", "two nights with labels of several stages, and this run has none"),
    (["whole"], "forest", "at least two scored nights, and this run has 1"),
    (["whole", "dead band", "dead band"], "forest", "at least two scored nights, and this run has 1"),
    (["unscored", "no label"], "forest", "at least two scored nights, and this run has none"),
    (["whole", "whole", "dead band"], "forest", ""),
])  # fmt: skip
def test_a_stager_is_trained_where_labels_and_signal_allow_it(kinds, best, why):
    scope = scope_of(*made(*kinds))
    assert scope.best == best
    assert why in scope.why_no_training
    assert bool(why) == bool(scope.why_no_training)
    assert bool(scope.why_no_boosting) == (best == "forest")


def test_boosting_says_of_itself_that_it_needs_three_nights():
    reason = "it needs at least three scored nights, and this run has 2"
    assert scope_of(*made("whole", "whole")).why_no_boosting == reason


@pytest.mark.parametrize(("kinds", "labels", "movement"), [
    (["whole"], True, True),
    (["unscored"], False, True),
    (["no label"], False, True),
    (["no movement"], True, False),
    (["no movement", "unscored"], True, True),
    (["dead and unscored"], False, False),
    (["dead band"], True, True),
])  # fmt: skip
def test_each_thing_that_is_missing_has_its_reason(kinds, labels, movement):
    scope = scope_of(*made(*kinds))
    assert [not reason for reason in (scope.why_no_labels, scope.why_no_movement)] == [labels, movement]


def test_nights_without_usable_signal_are_named_and_nothing_is_learned_from_them():
    study = study_of("whole", "dead band", "unscored")
    assert study.scope.blank == ("dead band 1",)
    assert study.scope.scored == ("whole 0",)
    prepared, labels = study.training()
    assert [night.record for night in prepared] == ["whole 0"]
    assert np.array_equal(labels[0], SEVERAL)
    assert study.labels["unscored 2"] is None


class ByTime(TimeOfNightStager):
    """The stager of the time of night, which also knows what it was fitted to."""

    metrics: ClassVar = {"data": "nights of a test"}

    def fit(self, prepared, labels, seed=0):
        self.trained_on = tuple(night.record for night in prepared)
        return super().fit(prepared, labels, seed)


@pytest.fixture
def by_time(monkeypatch):
    """Stagers that are fitted in no time, in the place of the forest and the boosted trees."""

    def fold_models(name, prepared, labels, seed):
        return fit_folds(ByTime, prepared, labels)

    monkeypatch.setattr(module, "fold_models", fold_models)
    monkeypatch.setattr(module, "fit_once", lambda name, *given, seed: ByTime().fit(*given))
    _, features = made("whole", "whole")
    saved = ByTime().fit(list(features.values()), [SEVERAL, SEVERAL])
    monkeypatch.setattr(module, "load_stager", lambda: saved)


@pytest.mark.usefixtures("by_time")
def test_no_night_is_judged_by_a_stager_that_has_seen_it():
    staged = stage_study(study_of("whole", "one stage", "unscored", "whole", "dead band"))
    assert staged.model == "boosted"
    assert staged.judged == ("whole 0", "one stage 1", "whole 3")
    assert all(record not in staged.stagers[record].trained_on for record in staged.judged)
    assert set(staged.stagers["unscored 2"].trained_on) == set(staged.judged)
    assert "dead band 4" not in staged.scores
    assert staged.words.endswith("trained on the other nights of this run that have labels")


@pytest.mark.usefixtures("by_time")
def test_a_night_that_the_saved_model_was_trained_on_is_staged_and_not_judged():
    staged = stage_study(study_of("whole"))
    assert (staged.model, staged.seen, staged.judged) == ("saved", ("whole 0",), ())
    assert list(staged.scores) == ["whole 0"]
    assert staged.why_not_judged == "no night of this run has a hypnogram that the model has not seen"


@pytest.mark.usefixtures("by_time")
def test_a_single_night_that_the_saved_model_has_not_seen_is_judged():
    staged = stage_study(study_of("unscored", "unscored", "whole"))
    assert (staged.model, staged.judged, staged.why_not_judged) == ("saved", ("whole 2",), "")


@pytest.mark.usefixtures("by_time")
@pytest.mark.parametrize(("kinds", "why"), [
    (["unscored", "no label"], "no night of this run has a hypnogram that the model has not seen"),
    (["unscored", "unscored", "one stage"], "no night of this run has labels of several stages"),
    (["dead and unscored"], "no night of this run has a hypnogram"),
])  # fmt: skip
def test_what_cannot_be_judged_says_why(kinds, why):
    staged = stage_study(study_of(*kinds))
    assert staged.judged == ()
    assert why in staged.why_not_judged


def test_features_are_computed_once_for_all_chapters(short_nights, tmp_path, monkeypatch):
    study = open_study(short_nights, max_nights=1, cache=tmp_path / "features")
    (first,) = study.features.values()
    monkeypatch.setattr("dreem_case.staging.feature_cache.night_features", lambda *given: pytest.fail("again"))
    (again,) = open_study(short_nights, max_nights=1, cache=tmp_path / "features").features.values()
    assert np.array_equal(again.eeg, first.eeg, equal_nan=True)
    assert (study.kind, list(study.nights), again.record) == ("simulated", [first.record], first.record)


def test_a_report_on_edf_files_tells_how_they_become_nights(tmp_path):
    (tmp_path / "night.EDF").touch()
    with pytest.raises(ReportError, match=r"found EDF files such as 'night\.EDF': `dreem-case edf import`"):
        open_study(tmp_path)


def test_a_folder_of_nights_of_others_is_called_given(tmp_path):
    with pytest.raises(ReportError, match="expected a night that can be read"):
        open_study(tmp_path, cache=tmp_path / "features")
    write_night(Night("one", {"eeg1": Signal(np.zeros(7500, np.float32), 250, "µV", "eeg")}, 1), tmp_path)
    study = open_study(tmp_path, cache=tmp_path / "features")
    assert (study.kind, study.scope.blank) == ("nights", ("one",))


def test_a_folder_whose_name_papermill_takes_for_a_number_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_night(Night("one", {"eeg1": Signal(np.zeros(7500, np.float32), 250, "µV", "eeg")}, 1), tmp_path / "20260101")
    assert list(open_study(20260101, cache=tmp_path / "features").nights) == ["one"]
