"""Trees and networks together: what both say is averaged, the file is checked, and no torch is needed to read it."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from dreem_case.core.model_file import ModelError
from dreem_case.nights.stages import UNSCORED
from dreem_case.staging import blended, recurrent
from dreem_case.staging.blended import BlendedStager
from tests.staging.test_boosted import changed, kept, write
from tests.staging.test_stager import staged_night

pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")


def small():
    return BlendedStager(n_rounds=8, n_folds=2, n_copies=1, n_jobs=1, passes=3)


@pytest.fixture(scope="module")
def nights():
    return [staged_night(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def fitted(nights):
    return small().fit(*zip(*nights[:3], strict=True))


@pytest.fixture
def saved(fitted, tmp_path):
    return kept(fitted, tmp_path)


def test_it_says_the_geometric_mean_of_both(nights, fitted):
    night = nights[3][0]
    trees, networks = fitted.boosted.predict_proba(night), fitted.recurrent.predict_proba(night)
    mean = np.sqrt(np.maximum(trees, 1e-5) * np.maximum(networks, 1e-5))
    np.testing.assert_allclose(fitted.predict_proba(night), mean / mean.sum(axis=1, keepdims=True), atol=1e-9)
    assert (fitted.predict(night) == nights[3][1])[nights[3][1] >= 0].mean() > 0.8


def test_a_night_is_matched_once_for_both(fitted):
    assert fitted.recurrent.rows is fitted.boosted.rows is fitted.rows


def test_it_flags_as_much_as_its_trees_on_nights_that_neither_has_seen():
    trees = [np.random.default_rng(i).dirichlet(np.ones(5), 200) for i in range(4)]
    networks = {1: np.random.default_rng(8).dirichlet(np.ones(5) / 4, 200), 3: trees[3]}
    both = np.concatenate([blended._mean(trees[i], night) for i, night in networks.items()])
    threshold = blended._threshold(0.4, trees, networks)
    alone = (np.concatenate([trees[1], trees[3]]).max(axis=1) < 0.4).mean()
    assert (both.max(axis=1) < threshold).mean() == pytest.approx(alone, abs=0.005)
    assert blended._threshold(0.4, trees, {}) == 0.4


def test_nights_without_labels_teach_nothing(nights, fitted):
    prepared, labels = map(list, zip(*nights, strict=True))
    blank = np.full_like(labels[3], UNSCORED)
    again = small().fit(prepared, [*labels[:3], blank])
    assert again.version == fitted.version


def test_what_it_cannot_fit_is_refused(nights, monkeypatch):
    with pytest.raises(ModelError, match="at least two"):
        small().fit([nights[0][0]], [nights[0][1]])
    monkeypatch.setattr(recurrent, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'dreem_case\[nets\]', found no torch"):
        small().fit(*zip(*nights[:2], strict=True))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["boosted", "trees", 0, "left", 0], 0, "nodes that do not exist"),
        (["boosted", "chain", 2], 1e9, "a chain over five stages"),
        (["recurrent", "n_networks"], 200, "1 to 20 networks"),
        (["recurrent", "n_networks"], 1, "another form than 1 networks"),
        (["recurrent", "movement"], [[0.0], [0.0]], "no fit gives"),
        (["recurrent", "temperature"], 0.0, "no fit gives"),
        (["weights"], "AAAA", "no safetensors"),
        (["weights"], "not base64", "something else"),
        (["weights"], None, "something else"),
        (["review_threshold"], 2, "no fit gives"),
        (["recurrent"], [], "something else"),
    ],
)
def test_a_state_that_no_fit_gives_is_refused(saved, path, value, complaint):
    folder, manifest, state = saved
    write(folder, manifest, changed(state, path, value))
    with pytest.raises(ModelError, match=f"expected boosted trees and recurrent networks.*{complaint}"):
        BlendedStager.load(folder)


def test_a_model_is_read_without_torch(nights, fitted, saved):
    code = """
import json, pickle, sys
from dreem_case.staging.stagers import load_stager
said = load_stager(sys.argv[1]).predict_proba(pickle.load(sys.stdin.buffer))
assert not {"torch", "lightning"} & set(sys.modules)
print(json.dumps(said[:5].tolist()))
"""
    command = [sys.executable, "-c", code, str(saved[0])]
    found = subprocess.run(command, input=pickle.dumps(nights[3][0]), capture_output=True)
    assert found.returncode == 0, found.stderr
    np.testing.assert_allclose(json.loads(found.stdout), fitted.predict_proba(nights[3][0])[:5], atol=1e-6)
