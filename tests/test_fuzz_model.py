"""Hostile models: refused by `ModelError`, or as good as any other; nothing else happens."""

import os

from tests.hostile_models import write_hostile_model
from tests.sandbox import Sandbox

N_MODELS = 76 * int(os.environ.get("FUZZ_TIMES", "1"))  # each kind four times
TIME_LIMIT_S, MEMORY_LIMIT_MB = 10, 600


def test_a_hostile_model_is_refused_or_predicts_and_does_nothing_else(short_model, tmp_path):
    outcomes = []
    with Sandbox("model", short_model, TIME_LIMIT_S) as sandbox:
        for seed in range(N_MODELS):
            done = write_hostile_model(tmp_path / "model", seed, short_model)
            verdict = sandbox.judge(tmp_path / "model")
            assert verdict["outcome"] in ("ModelError", "loaded"), f"seed {seed}: {done}: {verdict}"
            assert verdict["peak_mb"] < MEMORY_LIMIT_MB, f"seed {seed}: {done}: {verdict}"
            assert len(verdict.get("message", "")) < 1000, f"seed {seed}: {done}: {verdict}"
            outcomes.append(verdict["outcome"])
    assert outcomes.count("ModelError") > N_MODELS / 2
    assert "loaded" in outcomes
