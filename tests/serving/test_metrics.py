import json
import os
import re
import subprocess
import sys
import threading

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from dreem_case.serving.metrics import Metrics

NIGHT = {"n_epochs": 3, "wake_min": 0, "n1_min": 0, "n2_min": 1, "deep_min": 0, "rem_min": 0.5}
NIGHT |= {"usable_share": 0.6667, "review_share": 0.6667, "confidence": 0.7}


def read(metrics):
    families = text_string_to_metric_families(metrics.exposition().get_data(as_text=True))
    return {
        (sample.name.removeprefix("dreem_case_"), *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def app(metrics):
    app = Flask("test")
    metrics.watch(app)
    app.get("/good/<name>", endpoint="good")(lambda name: "good")
    app.get("/bad", endpoint="bad")(lambda: 1 / 0)
    return app


def test_requests_are_counted_by_endpoint_method_and_status(app, metrics):
    client = app.test_client()
    for path in "/good/a", "/good/b", "/bad", "/nowhere":
        client.get(path)
    client.head("/good/c")
    client.post("/good/c")
    found = read(metrics)
    assert found["requests_total", "200", "GET", "good"] == 2
    assert found["requests_total", "200", "HEAD", "good"] == 1
    assert found["requests_total", "500", "GET", "bad"] == 1
    assert found["requests_total", "404", "GET", "none"] == 1
    assert found["request_seconds_count", "good"] == 3
    assert found["requests_in_progress",] == 0


def test_whatever_is_asked_for_makes_no_new_series(app, metrics):
    client = app.test_client()
    client.get("/first")
    client.open("/second", method="FIRST")
    n_series = len(read(metrics))
    for i in range(20):
        client.get(f"/asked-{i}")
        client.open(f"/asked-{i}", method=f"METHOD{i}")
    assert len(read(metrics)) == n_series


def test_a_request_is_in_progress_until_it_is_answered(metrics):
    app, inside, go_on = Flask("test"), threading.Event(), threading.Event()
    metrics.watch(app)

    @app.get("/slow")
    def slow():
        inside.set()
        go_on.wait(10)
        return "done"

    thread = threading.Thread(target=app.test_client().get, args=["/slow"])
    thread.start()
    assert inside.wait(10)
    assert read(metrics)["requests_in_progress",] == 1
    go_on.set()
    thread.join(10)
    assert read(metrics)["requests_in_progress",] == 0


def test_a_night_is_counted_by_what_the_model_said_of_it(metrics):
    metrics.night_scored({**NIGHT, "feature_shift": 1.5}, 2.0)
    metrics.night_scored({**NIGHT, "feature_shift": None}, 4.0)
    metrics.night_refused("too_short", 0.5)
    found = read(metrics)
    assert found["nights_total", "scored"] == 2
    assert found["nights_total", "too_short"] == 1
    assert found["night_seconds_sum",] == 6.5
    assert found["epochs_total", "N2"] == 4
    assert found["epochs_total", "REM"] == 2
    assert found["unusable_epochs_total",] == 2
    assert found["review_epochs_total",] == 4
    assert found["night_confidence_sum",] == pytest.approx(1.4)
    assert found["night_feature_shift_count",] == 1


def test_two_apps_do_not_mix(metrics):
    other = Metrics()
    metrics.problems.labels("busy").inc()
    assert read(metrics)["problems_total", "busy"] == 1
    assert ("problems_total", "busy") not in read(other)


PROCESS = """
import json, os, sys
from prometheus_client.multiprocess import mark_process_dead
from dreem_case.serving.metrics import Metrics
metrics = Metrics()
metrics.problems.labels("busy").inc()
metrics.epochs.labels("N2").inc(10)
metrics.model.labels("forest-1").set(1)
metrics.in_progress.inc()
if sys.argv[1] != "0":
    mark_process_dead(int(sys.argv[1]))
print(json.dumps([os.getpid(), metrics.exposition().get_data(as_text=True)]))
"""


def test_any_process_answers_for_all_and_what_a_dead_one_had_in_progress_is_forgotten(tmp_path):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    process = "0"
    for n in (1, 2, 3):
        command = [sys.executable, "-c", PROCESS, str(process)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        process, text = json.loads(run.stdout)
        assert f'\ndreem_case_problems_total{{code="busy"}} {n}.0\n' in text
        assert f'\ndreem_case_epochs_total{{stage="N2"}} {10 * n}.0\n' in text
        assert "\ndreem_case_requests_in_progress 1.0\n" in text
        assert re.findall(r"^dreem_case_model_info.*$", text, re.M) == ['dreem_case_model_info{version="forest-1"} 1.0']


def test_numbers_that_were_removed_are_no_error(tmp_path, monkeypatch, metrics):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone"))
    assert metrics.exposition().status_code == 200
    assert (tmp_path / "gone").is_dir()
