"""MLflow: told what a training was, where it is installed; a clear error where it is not, or does not answer."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from dreem_case.core.tracking import TrackingError, load_mlflow
from dreem_case.many.tracking import log_training

REPORT = {
    "stager": "forest", "model_version": "forest-1", "seed": 3, "settings": {"n_trees": 4}, "seconds": 2.5,
    "peak_memory_mb": 300, "left_out": [{"record": "x"}], "versions": {"numpy": "2.4"},
    "validation": {"kappa_per_night_mean": 0.7, "review_gain": None, "nights": [{}], "confusion": [[1]]},
    "data": {"source": "simulated nights", "sha256": "ab", "n_nights": 2, "nights": [{}]},
}


class Unavailable(Exception):
    """What MLflow raises."""


@pytest.fixture
def told(monkeypatch):
    """What a stand-in for MLflow is told."""
    told = SimpleNamespace(params={}, metrics={}, documents={}, runs=[])

    @contextmanager
    def start_run(run_name):
        told.runs.append(run_name)
        yield SimpleNamespace(info=SimpleNamespace(run_id="run-1"))

    module = SimpleNamespace(
        start_run=start_run, log_params=told.params.update, log_metrics=told.metrics.update,
        log_dict=lambda document, name: told.documents.update({name: document}),
        exceptions=SimpleNamespace(MlflowException=Unavailable),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return told


def test_a_training_is_one_run_with_its_parameters_figures_and_report(told):
    assert log_training(REPORT) == "run-1"
    assert told.runs == ["forest-1"]
    assert told.params == {
        "stager": "forest", "seed": 3, "n_trees": 4, "model_version": "forest-1", "data_source": "simulated nights",
        "data_sha256": "ab", "n_nights": 2, "n_left_out": 1, "version_numpy": "2.4",
    }
    assert told.metrics == {"kappa_per_night_mean": 0.7, "seconds": 2.5, "peak_memory_mb": 300}
    assert told.documents == {"training.json": REPORT}


def test_a_training_that_was_not_validated_is_logged(told):
    log_training(REPORT | {"validation": None})
    assert told.metrics == {"seconds": 2.5, "peak_memory_mb": 300}


def test_a_place_that_does_not_answer_is_an_error_of_tracking(told, monkeypatch):
    def refuse(parameters):
        raise Unavailable("no answer")

    monkeypatch.setattr(sys.modules["mlflow"], "log_params", refuse)
    with pytest.raises(TrackingError, match="expected MLflow to take a run, found no answer"):
        log_training(REPORT)


def test_without_mlflow_there_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackingError, match=r"pip install 'dreem_case\[tracking\]'"):
        load_mlflow()


def test_a_real_file_store_holds_the_run_that_was_logged(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra `tracking` is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    run = mlflow.get_run(log_training(REPORT))
    assert (run.info.run_name, run.info.status) == ("forest-1", "FINISHED")
    assert run.data.params["data_sha256"] == "ab" and run.data.params["n_trees"] == "4"
    assert run.data.metrics == {"kappa_per_night_mean": 0.7, "seconds": 2.5, "peak_memory_mb": 300}
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/training.json") == REPORT
