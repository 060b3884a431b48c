"""Hostile models: refused by `ModelError`, or as good as any other; nothing else happens."""

import pytest
from hostile_models import write_hostile_model
from sandbox import Sandbox

from dreem_case.stager import ForestStager
from dreem_case.store import open_store

N_MODELS = 76  # each kind four times
TIME_LIMIT_S, MEMORY_LIMIT_MB = 10, 600


@pytest.fixture(scope="module")
def good(short_nights, tmp_path_factory):
    """A saved model of few trees."""
    store = open_store(short_nights)
    nights = [store.open_night(record) for record in store.records()]
    stager = ForestStager(n_trees=3)
    stager.fit([stager.prepare(night) for night in nights], [night.hypnogram for night in nights])
    stager.save(folder := tmp_path_factory.mktemp("good") / "model")
    return folder


def test_a_hostile_model_is_refused_or_predicts_and_does_nothing_else(good, tmp_path):
    outcomes = []
    with Sandbox("model", good, TIME_LIMIT_S) as sandbox:
        for seed in range(N_MODELS):
            done = write_hostile_model(tmp_path / "model", seed, good)
            verdict = sandbox.judge(tmp_path / "model")
            assert verdict["outcome"] in ("ModelError", "loaded"), f"seed {seed}: {done}: {verdict}"
            assert verdict["peak_mb"] < MEMORY_LIMIT_MB, f"seed {seed}: {done}: {verdict}"
            assert len(verdict.get("message", "")) < 1000, f"seed {seed}: {done}: {verdict}"
            outcomes.append(verdict["outcome"])
    assert outcomes.count("ModelError") > N_MODELS / 2
    assert "loaded" in outcomes
