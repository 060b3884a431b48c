"""Validation over a store: nothing is judged by a model that has seen it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dreem_case.many.validate as validate
from dreem_case.core.agreement import EvaluationError, kappa, macro_f1
from dreem_case.core.calibration import review_gain
from dreem_case.many.training_set import NightTables, ScoredNight
from dreem_case.many.validate import cross_validate, figures, figures_table, judge_model
from dreem_case.nights.stages import STAGES
from dreem_case.staging.design_matrix import table_from_matrix
from dreem_case.staging.stagers import new_stager


class Tables(NightTables):
    """Nights whose features are in memory."""

    def __init__(self, features, nights):
        self.features, self.nights = features, nights

    def __getitem__(self, which):
        return self.features[self.nights[which].record]

    def subset(self, which):
        return Tables(self.features, [self.nights[i] for i in which])


def made_night(seed, n_epochs=120):
    """Features that follow the stages, with some noise."""
    random = np.random.default_rng(seed)
    stages = np.resize(np.repeat([0, 1, 2, 3, 2, 4], 10), n_epochs).astype(np.int8)
    values = np.column_stack([[1.0, 0.0, 0.5, 2.0, -0.5], [0.1, 0.3, 0.5, 0.7, 0.2]])[stages]
    values = values + random.normal(size=values.shape) * [0.4, 0.1]
    record = f"night-{seed}"
    return table_from_matrix(record, values, ("log_delta", "sigma_share")), ScoredNight(record, "v", stages, 0)


@pytest.fixture(scope="module")
def tables():
    made = [made_night(seed) for seed in range(5)]
    return Tables({night.record: night for night, _ in made}, [scored for _, scored in made])


def twins(tables):
    """Let the last night be the first one under another name."""
    first, last = tables.nights[0], tables.nights[-1]
    pieces = np.arange(20, dtype=np.uint64)
    nights = [night._replace(pieces=pieces + 100 * i) for i, night in enumerate(tables.nights[:-1], 1)]
    nights[0] = first._replace(pieces=pieces)
    return Tables(tables.features, [*nights, last._replace(pieces=pieces[5:])])


@pytest.fixture
def sides(monkeypatch):
    """The records that each fit of a cross-validation was given, none of which it is asked to predict."""
    found = []

    class Watched:
        reads = "features"

        def fit(self, nights, labels, seed):
            found.append({night.record for night in nights.nights})
            assert [len(given) for given in labels] == [night.n_epochs for night in nights]
            return self

        def predict_proba(self, night):
            assert night.record not in found[-1]
            return np.full((night.n_epochs, 5), 0.2)

        def review(self, probabilities):
            return np.zeros(len(probabilities), bool)

    monkeypatch.setattr(validate, "new_stager", lambda name, **settings: Watched())
    return found


def renamed(tables, names):
    pairs = list(zip(names, tables.nights, strict=True))
    features = {name: replace(tables.features[night.record], record=name) for name, night in pairs}
    return Tables(features, [night._replace(record=name) for name, night in pairs])


@pytest.mark.parametrize("seed", range(5))
def test_a_recording_that_is_there_twice_is_never_on_both_sides_of_a_fold(tables, seed, sides):
    found = cross_validate("boosted", twins(tables), 4, seed=seed)
    assert found["same_recordings"] == [["night-0", "night-4"]]
    assert all(("night-0" in side) == ("night-4" in side) for side in sides)


@pytest.mark.parametrize("seed", range(5))
def test_both_nights_of_a_person_are_in_one_fold_and_so_is_a_copy_of_either(tables, seed, sides):
    people = renamed(twins(tables), ["SC4001E0", "SC4002E0", "SC4011E0", "SC4021E0", "copy"])  # of SC4001E0
    cross_validate("boosted", people, 4, seed=seed)
    together = {"SC4001E0", "SC4002E0", "copy"}
    assert sides and all(len(together & side) in (0, 3) for side in sides)


def test_another_night_of_a_training_person_judges_no_model(tables):
    people = renamed(tables, ["SC4001E0", "SC4011E0", "SC4002E0", "SC4021E0", "night"])
    inside = people.subset([0, 1])
    found = judge_model(new_stager("forest", n_trees=4).fit(inside, inside.labels), people)
    assert found["trained_on"] == ["SC4001E0", "SC4011E0", "SC4002E0"]
    assert [night["record"] for night in found["nights"]] == ["SC4021E0", "night"]


def test_a_training_night_is_known_by_its_signals_whatever_its_name(tables):
    both = twins(tables)
    inside = both.subset([0, 1])
    stager = new_stager("forest", n_trees=4).fit(inside, inside.labels)
    pieces = {night.record: night.pieces for night in inside.nights}
    found = judge_model(stager, both.subset([1, 2, 4]), pieces=pieces)
    assert found["trained_on"] == ["night-1", "night-4"]
    assert found["same_recordings"] == [["night-4", "night-0"]]
    assert [night["record"] for night in found["nights"]] == ["night-2"]
    with pytest.raises(EvaluationError, match="was not trained on, found none of 1"):
        judge_model(stager, both.subset([4]), pieces=pieces)


def test_figures_are_those_of_the_functions_that_are_tested_elsewhere():
    random = np.random.default_rng(0)
    nights = [ScoredNight(f"n{i}", "v", random.integers(-1, 5, 200).astype(np.int8), 0) for i in range(2)]
    probabilities = [random.dirichlet(np.ones(5), 200) for _ in nights]
    flagged = [night.max(axis=1) < 0.4 for night in probabilities]
    found = figures(nights, probabilities, flagged)
    stages = [night.argmax(axis=1) for night in probabilities]
    for i, night in enumerate(found["nights"]):
        labels = nights[i].labels
        assert night["kappa"] == pytest.approx(kappa(labels, stages[i]), abs=1e-4)
        assert night["macro_f1"] == pytest.approx(macro_f1(labels, stages[i], STAGES), abs=1e-4)
        assert night["review_gain"] == pytest.approx(review_gain(labels, stages[i], flagged[i]), abs=1e-4)
        assert np.sum(night["confusion"]) == night["n_epochs"] == (labels >= 0).sum()
    assert found["kappa_per_night_mean"] == pytest.approx(np.mean([n["kappa"] for n in found["nights"]]), abs=1e-4)
    assert np.sum([night["confusion"] for night in found["nights"]], axis=0).tolist() == found["confusion"]


def test_what_is_undefined_is_null_in_json_and_empty_in_the_table():
    nights = [ScoredNight("one-stage", "v", np.full(4, 2, np.int8), 0)]
    found = figures(nights, [np.tile([0.0, 0, 1, 0, 0], (4, 1))], [np.ones(4, bool)])
    assert json.loads(json.dumps(found, allow_nan=False))["nights"][0]["kappa"] is None
    assert figures_table(found).splitlines()[1].split() == ["one-stage", "1.000", "0.000", "1.000"]


def test_folds_depend_on_the_seed_and_on_nothing_else(tables):
    first, again, other = (cross_validate("forest", tables, 2, seed, {"n_trees": 4}) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("n_folds", [0, 1, 6])
def test_numbers_that_give_no_folds_are_refused(tables, n_folds):
    with pytest.raises(EvaluationError, match=f"expected 2 to 5 folds of 5 nights, found {n_folds}"):
        cross_validate("forest", tables, n_folds)


def test_a_model_is_judged_on_new_nights_only(tables):
    some = tables.subset([1, 3])
    stager = new_stager("forest", n_trees=4).fit(some, some.labels)
    told = []
    found = judge_model(stager, tables, told.append)
    assert found["trained_on"] == ["night-1", "night-3"]
    assert [night["record"] for night in found["nights"]] == told == ["night-0", "night-2", "night-4"]
    assert found["model_version"] == stager.version
    with pytest.raises(EvaluationError, match="not trained on, found none of 2"):
        judge_model(stager, some)


def test_a_model_is_judged_where_it_or_its_training_names_its_nights(tables, monkeypatch):
    stager = new_stager("time-of-night").fit(tables, tables.labels)
    with pytest.raises(EvaluationError, match="names its training nights"):
        judge_model(stager, tables)
    monkeypatch.setattr(Tables, "read_by", lambda own, stager: own)
    inside, *outside = (night.record for night in tables.nights)
    found = judge_model(stager, tables, pieces={inside: np.zeros(0, np.uint64)})  # as its training does
    assert [night["record"] for night in found["nights"]] == outside


def test_a_night_without_the_features_of_the_others_is_an_error_that_names_it(tables):
    odd = replace(tables[4], eeg_feature_names=("log_delta", "other"))
    mixed = Tables({**tables.features, odd.record: odd}, tables.nights)
    with pytest.raises(ValueError, match="night-4"):
        cross_validate("forest", mixed, 5, settings={"n_trees": 2})


def test_a_hypnogram_that_the_system_does_not_let_be_read_costs_no_other(tmp_path, monkeypatch):
    for name in "a.json", "b.json":
        (tmp_path / name).write_text('["WAKE"]')
    opened = Path.open

    def guarded(path, *arguments, **options):
        if path.name == "b.json":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    found, (problem,) = validate.read_scorings(str(tmp_path))
    assert list(found) == ["a"] and problem.startswith("b.json: expected") and "Permission denied" in problem
