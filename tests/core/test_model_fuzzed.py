"""Hostile models: refused by `ModelError`, or as good as any other; nothing else happens."""

import os

import pytest

from tests.support.hostile_models import write_hostile_model
from tests.support.sandbox import Sandbox

N_MODELS = {"short_forest": 35, "short_model": 30, "short_blend": 40}  # each kind of damage four or five times
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
TIME_LIMIT_S, MEMORY_LIMIT_MB = 10, 600


@pytest.mark.parametrize("good", N_MODELS)
def test_a_hostile_model_is_refused_or_predicts_and_does_nothing_else(good, request, tmp_path):
    good, n_models, outcomes = request.getfixturevalue(good), N_MODELS[good] * TIMES, []
    with Sandbox("model", good, TIME_LIMIT_S) as sandbox:
        for seed in range(n_models):
            done = write_hostile_model(tmp_path / "model", seed, good)
            verdict = sandbox.judge(tmp_path / "model")
            assert verdict["outcome"] in ("ModelError", "loaded"), f"seed {seed}: {done}: {verdict}"
            assert verdict["peak_mb"] < MEMORY_LIMIT_MB, f"seed {seed}: {done}: {verdict}"
            assert len(verdict.get("message", "")) < 1000, f"seed {seed}: {done}: {verdict}"
            outcomes.append(verdict["outcome"])
    assert outcomes.count("ModelError") > n_models / 2
    assert "loaded" in outcomes
