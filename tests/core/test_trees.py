"""Trees for any number of classes, kept as arrays that predict what LightGBM predicts."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dreem_case.core import trees
from dreem_case.core.model_file import ModelError
from dreem_case.core.trees import Trees, fit_trees


def example(n_classes):
    random = np.random.default_rng(n_classes)
    codes = random.integers(0, n_classes, 300)
    rows = (codes[:, None] + random.normal(size=(300, 4))).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows, codes


def fitted(n_classes):
    rows, codes = example(n_classes)
    return Trees.of(fit_trees([rows], [codes], n_classes, 4, 5, seed=1), 4)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_the_arrays_predict_what_lightgbm_predicts_for_any_number_of_classes(n_classes):
    rows, codes = example(n_classes)
    booster = fit_trees([rows[:200], rows[200:]], [codes[:200], codes[200:]], n_classes, 6, 5, seed=1)
    found = Trees.of(booster, 4)
    assert found.n_classes == n_classes
    assert np.array_equal(found.predict(rows), booster.predict(rows, num_iteration=4))
    assert np.array_equal(Trees.from_state(4, n_classes, found.state()).predict(rows), found.predict(rows))
    assert (found.predict(rows).argmax(axis=1) == codes).mean() > 1.3 / n_classes  # by chance: 1 / n_classes


def test_a_class_that_no_row_has_keeps_its_column():
    rows, codes = example(3)
    found = Trees.of(fit_trees([rows], [codes], 4, 4, 5, seed=1), 4).predict(rows)
    assert found.shape == (300, 4)
    assert found[:, 3].max() < found[:, :3].min(axis=1).max()


@pytest.mark.parametrize("n_classes", [-3, 0, 1, 5])
def test_trees_are_not_taken_for_another_number_of_classes(n_classes):
    with pytest.raises(ValueError, match=r"expected two classes or more|as many trees for every class"):
        Trees.from_state(4, n_classes, fitted(3).state())


def test_codes_that_no_class_has_are_refused():
    rows, codes = example(3)
    with pytest.raises(ModelError, match="expected labels below 2, found 2"):
        fit_trees([rows], [codes], 2, 1, 5, seed=1)


def test_a_fit_prints_nothing(capfd):
    for row in np.zeros(200), np.random.default_rng(0).normal(size=200):  # no column that says anything; many rows
        fit_trees([np.tile(row, (60_000, 1)).astype(np.float32)], [np.arange(60_000) % 5], 5, 1, 2, seed=0)
    assert capfd.readouterr() == ("", "")


def test_fits_side_by_side_never_get_more_threads_than_their_buffers_are_for():
    random = np.random.default_rng(0)
    rows = [(random.normal(size=(400, 60)) * (random.random((400, 60)) < 0.05)).astype(np.float32)]
    labels = [random.integers(0, 5, 400)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda seed: fit_trees(rows, labels, 5, 2, 4, seed), range(40)))
    most = ctypes.c_int()
    assert trees._library().LGBM_GetMaxThreads(ctypes.byref(most)) == 0 and most.value == 1


def test_a_machine_without_openmp_is_told_so(monkeypatch):
    def no_openmp(path):
        raise OSError("libgomp.so.1: cannot open shared object file")

    state = fitted(3).state()
    trees._library.cache_clear()
    monkeypatch.setattr(trees.ctypes, "CDLL", no_openmp)
    with pytest.raises(ModelError, match="apt install libgomp1"):
        Trees.from_state(4, 3, state)


def test_a_split_between_an_empty_entry_and_all_others_is_kept():
    empty = np.arange(400) % 2 == 0
    rows = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    rows[empty, 0] = np.nan
    found = Trees.of(fit_trees([rows], [empty.astype(np.int8)], 2, 20, 4, 0), 20)
    assert np.isfinite(found.threshold).all()
    assert np.array_equal(found.predict(rows).argmax(axis=1), empty)
