"""Boosted stager: same contract as the forest, bears missing parts, and its file is checked before it is trusted."""

import copy
import gc
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dreem_case.core.agreement import kappa
from dreem_case.core.model_file import ModelError, from_json, read_model, to_json, write_model
from dreem_case.core.trees import fit_trees
from dreem_case.staging import boosted
from dreem_case.staging.boosted import BoostedStager
from dreem_case.staging.design_matrix import table_from_bins
from dreem_case.staging.stager import fit_folds
from tests.staging.test_design_matrix import make_night
from tests.staging.test_stager import staged_night


def small(**settings):
    return BoostedStager(**{"n_rounds": 8, "n_folds": 2, "n_copies": 1, "n_jobs": 1} | settings)


@pytest.fixture(scope="module")
def nights():
    return [staged_night(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def fitted(nights):
    return small().fit([night for night, _ in nights[:3]], [labels for _, labels in nights[:3]], seed=3)


def test_another_seed_is_another_model(nights, fitted):
    prepared, labels = zip(*nights[:3], strict=True)
    assert small().fit(prepared, labels, seed=4).version != fitted.version


def test_probabilities_sum_to_one_and_are_right(nights, fitted):
    night, labels = nights[3]
    proba = fitted.predict_proba(night)
    assert proba.shape == (night.n_epochs, 5) and np.allclose(proba.sum(axis=1), 1)
    assert kappa(labels, proba.argmax(axis=1)) > 0.9
    assert np.array_equal(fitted.predict(night), proba.argmax(axis=1))
    assert fitted.review(proba).dtype == bool


def test_a_gain_changes_nothing(nights, fitted):
    night, _ = nights[3]
    louder = replace(night, eeg=night.eeg + np.float32([0.6, 0]))
    assert np.mean(fitted.predict(louder) == fitted.predict(night)) > 0.99


def test_epochs_that_were_not_recorded_say_nothing():
    random = np.random.default_rng(0)
    stages = np.resize(np.repeat([0, 1, 2, 3, 2, 4], 20), 400).astype(np.int8)
    bins = np.arange(5)[stages][:, None] * np.linspace(3, -3, 18) + random.normal(size=(400, 18))
    epochs = np.r_[:200, 300:500]
    labels = np.full(500, -1)
    labels[epochs] = stages
    nights = [table_from_bins(f"night {i}", bins, epochs) for i in range(2)]
    stager = small().fit(nights, [labels, labels])
    assert np.allclose(stager.evidence(nights[0])[200:300], 0.2)
    assert kappa(stages, stager.predict(nights[0])[epochs]) > 0.9


@pytest.mark.parametrize("n_epochs", [1, 2, 7])
def test_the_shortest_recordings_are_staged(fitted, n_epochs):
    proba = fitted.predict_proba(make_night(5, n_epochs))
    assert proba.shape == (n_epochs, 5) and np.allclose(proba.sum(axis=1), 1)


def test_a_night_without_any_usable_epoch_gets_probabilities(nights, fitted):
    night, _ = nights[3]
    blank = replace(night, eeg=np.full_like(night.eeg, np.nan), weights=np.zeros_like(night.weights))
    proba = fitted.predict_proba(blank)
    assert np.isfinite(proba).all() and np.allclose(proba.sum(axis=1), 1)


def test_an_unscored_night_and_a_stage_that_nobody_has_do_not_stop_the_fit(nights):
    prepared, labels = map(list, zip(*nights, strict=True))
    labels = [np.where(given == 1, 2, given) for given in labels]
    labels[1] = np.full_like(labels[1], -1)
    stager = small().fit(prepared[:3], labels[:3])
    assert kappa(labels[3], stager.predict(prepared[3])) > 0.9


def test_nights_of_one_stage_each_are_learned_from():
    prepared = [make_night(i, 60, record=f"night {i}") for i in range(4)]
    prepared = [replace(night, eeg=night.eeg + np.float32(i % 2)) for i, night in enumerate(prepared)]
    stager = small().fit(prepared, [np.full(60, 2 * (i % 2)) for i in range(4)])
    assert np.isfinite(stager.predict_proba(prepared[0])).all()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_a_model_stages_alike_and_outlives_it(nights, copied):
    prepared, labels = zip(*nights[:2], strict=True)
    stager = small().fit(prepared, labels)
    expected, one = stager.predict_proba(prepared[0]), copied(stager)
    one.trees, one.second = [copied(trees) for trees in one.trees], copied(one.second)
    del stager
    gc.collect()
    assert np.array_equal(one.predict_proba(prepared[0]), expected)


def test_trees_that_no_longer_help_are_not_fitted(nights, monkeypatch):
    asked = []

    def counting(*arguments):
        *rest, enough = arguments if len(arguments) > 6 else (*arguments, None)
        return fit_trees(*rest, enough and (lambda booster, n: asked.append(n) or enough(booster, n)))

    monkeypatch.setattr(boosted, "fit_trees", counting)
    prepared, labels = zip(*nights[:2], strict=True)
    random = np.random.default_rng(0)
    guessed = [np.where(given < 0, given, random.permutation(given.clip(0))) for given in labels]
    stager = small(n_rounds=40).fit(prepared, guessed)
    assert len(stager.trees[0].n_leaves) == 10 * 5 and max(asked) < 40


def test_copies_lose_channels_and_never_all():
    night, random = make_night(), np.random.default_rng(0)
    copies = [boosted._without(night, boosted._draw_loss(night, random)) for _ in range(60)]
    assert {len(copy.channel_names) for copy in copies} == {1, 2, 3}
    assert 10 < sum(np.isnan(copy.accelerometer).all() for copy in copies) < 50
    assert any((copy.weights == 0).any() for copy in copies)
    assert not (night.weights == 0).any() and not np.isnan(night.eeg).any()


def test_what_it_cannot_fit_is_refused(nights):
    with pytest.raises(ModelError, match="at least two scored nights"):
        small().fit([nights[0][0]], [nights[0][1]])
    one_stage = [np.where(labels < 0, labels, 2) for _, labels in nights]
    with pytest.raises(ModelError, match="expected at least two stages to tell apart, found N2 alone"):
        small().fit([night for night, _ in nights], one_stage)


def test_nothing_of_a_held_out_night_reaches_its_model(nights):
    prepared, labels = map(list, zip(*nights, strict=True))
    changed = replace(make_night(99, 400, record="another"), eeg=make_night(99, 400).eeg * 50)
    folds = [0, 0, 1, 1]
    (before, test), *_ = fit_folds(small, prepared, labels, folds)
    (after, _), *_ = fit_folds(small, [changed, *prepared[1:]], [labels[0][::-1], *labels[1:]], folds)
    assert test == [0, 1] and before.version == after.version


# Its file


def changed(state, path, value):
    """Return a copy of a model's state with another value at a path."""
    head, *rest = path
    copy = list(state) if isinstance(state, list) else dict(state)
    copy[head] = changed(state[head], rest, value) if rest else value
    return copy


def kept(stager, folder):
    """Save a model; return its folder, its manifest and its state."""
    stager.save(folder)
    manifest, content = read_model(folder)
    return folder, manifest, from_json(content, folder)


@pytest.fixture
def saved(fitted, tmp_path):
    return kept(fitted, tmp_path)


def write(folder, manifest, state):
    write_model(folder, manifest, to_json(state), ["numpy"])


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["trees", 0, "left", 0], 0, "nodes that do not exist"),
        (["trees", 0, "right", 0], 9999, "nodes that do not exist"),
        (["trees", 0, "right", 0], -9999, "nodes that do not exist"),
        (["trees", 0, "column", 0], 9999, "does not exist"),
        (["trees", 1, "column", 0], -1, "does not exist"),
        (["trees", 0, "value", 0], 1e9, "values that no fit gives"),
        (["trees", 0, "threshold", 0], 10**400, "too large"),
        (["trees", 0, "empty", 0], 1, "nodes with a threshold"),
        (["trees", 0, "n_leaves", 0], 10**9, "as many nodes"),
        (["trees", 0, "n_leaves"], [], "as many trees"),
        (["trees", 0, "left"], [[0]], "as many trees"),
        (["second", "column"], [], "as many nodes"),
        (["second"], "no trees", "something else"),
        (["trees"], [1], "something else"),
        (["trees"], [], "no fit gives"),
        (["references", "eeg1"], [[0], [1], 3], "shape"),
        (["references", "eeg1", 1, 0], 0, "spreads above zero"),
        (["accelerometer_typical"], None, "shape"),
        (["chain", 0], [1, 2, 3], "shape"),
        (["chain", 1, 2, 2], 0, "a chain over five stages"),
        (["chain", 2], 1e9, "a chain over five stages"),
        (["temperature"], 0.0, "no fit gives"),
        (["review_threshold"], 2, "no fit gives"),
    ],
)
def test_a_state_that_no_fit_gives_is_refused(saved, path, value, complaint):
    folder, manifest, state = saved
    write(folder, manifest, changed(state, path, value))
    with pytest.raises(ModelError, match=f"expected boosted trees and their chain.*{complaint}"):
        BoostedStager.load(folder)


def test_predicting_loads_neither_pandas_nor_scikit_learn(saved):
    code = (
        "import sys; from dreem_case.staging.stagers import load_stager; load_stager(sys.argv[1])\n"
        "print(*{'sklearn', 'skops', 'pandas', 'lightgbm'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(saved[0])], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
