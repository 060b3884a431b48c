import gzip
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urljoin

import h5py
import numpy as np
import pytest
from openapi_spec_validator import validate

from dreem_case.api import Details, Problem, StartError, _blueprint, create_app, make_app
from dreem_case.core import s3
from dreem_case.core.cache import ResultCache
from dreem_case.nights.casefile import open_night
from dreem_case.nights.safe_h5 import FileUnavailable
from dreem_case.nights.stages import STAGE_NAMES
from dreem_case.nights.store import RecordChanged, StoreUnavailable, open_store
from dreem_case.serving.answers import Answers, Busy
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import ModelChanged, PoolError, Scored, ScoringPool
from dreem_case.serving.settings import MAX_WAITING, Settings
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.score import score_night
from dreem_case.staging.stagers import load_stager
from tests.conftest import until
from tests.support.stores import BucketPlace, put, s3_server

PATHS = ["/hypnogram/{record}", "/hypnogram/{record}/details"]
NO_RECORDS = [
    "absent", "..", ".", "%2e%2e", "..%2f..%2fsecret", "..%5csecret", "%00", "a%00.h5", "night 1", "%2fetc%2fpasswd",
    "-x", ".hidden", "n%C3%A4chte", "%ff", "a" * 129, "a" * 5000, "x.h5", "%0d%0aX:1", "{record}", "'", "*", "torn.h5",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(short_nights, tmp_path_factory):
    """Three short nights, and files that cannot be staged."""
    folder = tmp_path_factory.mktemp("served") / "nights"
    shutil.copytree(short_nights, folder)
    (folder / "h5" / "torn.h5").write_bytes(b"no HDF5")
    for name, n_samples in ("short", 7499), ("silent", 15_000):
        with h5py.File(folder / "h5" / f"{name}.h5", "w") as file:
            file["eeg1"] = np.zeros(n_samples, np.float32)
    return folder


@pytest.fixture(scope="module")
def make():
    """Make apps as they are served, and end their processes when all is done."""
    made = []

    def app_for(store="", model="", cache="", **settings):
        made.append(create_app(Settings(str(store), str(model), str(cache), **settings)))
        return made[-1]

    yield app_for
    for app in made:
        app.extensions["answers"].pool.close()


@pytest.fixture(scope="module")
def app(make, folder, short_model, tmp_path_factory):
    """The app that most tests ask."""
    return make(folder, short_model, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture(scope="module")
def record(folder):
    return open_store(folder).records()[0]


def problem(response):
    """Return the problem document of a response."""
    assert response.content_type == "application/problem+json"
    found = Problem.model_validate_json(response.data, extra="forbid")
    assert found.status == response.status_code
    assert re.fullmatch("[a-z][a-z_]*", found.code)
    assert found.detail
    return found


# Nights


def test_a_hypnogram_is_a_plain_list_of_what_the_library_says(client, folder, record, short_model):
    response = client.get(f"/hypnogram/{record}")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    score = score_night(open_night(folder / "h5" / f"{record}.h5"), load_stager(short_model))
    assert response.json == score.stage_names
    with h5py.File(folder / "h5" / f"{record}.h5") as file:
        assert len(response.json) == min(len(file[f"eeg{i}"]) for i in range(1, 8)) // 7500


def test_details_are_as_the_document_says_and_agree_with_the_hypnogram(client, record, short_model):
    response = client.get(f"/hypnogram/{record}/details")
    assert response.status_code == 200
    found = Details.model_validate_json(response.data, strict=True, extra="forbid")
    assert found.record == record
    assert found.source == "simulated nights, seed 1"
    assert found.model_version == load_stager(short_model).version
    assert found.stages == client.get(f"/hypnogram/{record}").json
    assert found.stage_names == list(STAGE_NAMES)
    lists = [found.stages, found.probabilities, found.confidence, found.review, found.usable]
    lists += [values for channel in found.channels for values in (channel.quality, channel.weight)]
    assert {len(values) for values in lists} == {found.n_epochs}
    assert [channel.name for channel in found.channels] == [f"eeg{i}" for i in range(1, 8)]
    assert np.allclose(np.sum(found.probabilities, axis=1), 1, atol=0.001)


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_the_body(client, record, path):
    got, headed = client.get(path.format(record=record)), client.head(path.format(record=record))
    assert headed.status_code == 200
    assert headed.data == b""
    assert headed.headers["Content-Length"] == got.headers["Content-Length"]
    assert headed.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NO_RECORDS)
def test_a_record_that_is_not_there_is_not_found_whatever_its_name(client, path, name):
    response = client.get(path.format(record=name))
    assert response.status_code == 404
    assert problem(response).code in ("record_not_found", "not_found")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "code"), [("torn", "unreadable_file"), ("short", "too_short"), ("silent", "no_usable_eeg")]
)
def test_a_night_that_cannot_be_staged_is_refused_with_a_code_each_time(client, folder, path, name, code):
    for _ in range(2):
        response = client.get(path.format(record=name))
        assert response.status_code == 422
        found = problem(response)
        assert (found.code, found.record) == (code, name)
        assert found.detail.startswith(f"{name}: expected ")
        assert str(folder) not in response.text


# Knowing the answer already


@pytest.mark.parametrize("path", PATHS)
def test_who_has_the_answer_is_not_sent_it_again(client, record, path):
    response = client.get(path.format(record=record))
    for known in response.headers["ETag"], f'"other", {response.headers["ETag"]}', response.headers["ETag"][2:]:
        again = client.get(path.format(record=record), headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.data == b""
        assert again.headers["ETag"] == response.headers["ETag"]
        assert again.headers["Cache-Control"] == "private, no-cache"
    other = client.get(path.format(record=record), headers={"If-None-Match": 'W/"other"'})
    assert (other.status_code, other.data) == (200, response.data)


@pytest.mark.parametrize(("name", "status"), [("absent", 404), ("torn", 422)])
def test_a_client_that_has_anything_has_no_answer_where_there_is_none(client, name, status):
    assert client.get(f"/hypnogram/{name}", headers={"If-None-Match": "*"}).status_code == status


def test_another_file_or_another_model_is_another_answer(make, folder, short_model, tmp_path):
    nights, model = tmp_path / "nights", tmp_path / "model"
    first, second, _ = sorted((folder / "h5").glob("*-*.h5"))
    nights.mkdir()
    shutil.copy(first, nights / "a.h5")
    client = make(nights, short_model, tmp_path / "cache").test_client()
    before = client.get("/hypnogram/a/details")
    shutil.copy(second, tmp_path / "new.h5")
    (tmp_path / "new.h5").replace(nights / "a.h5")
    after = client.get("/hypnogram/a/details", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.json["stages"] != before.json["stages"]
    stager, night = ForestStager(n_trees=3), open_night(second)
    stager.fit([stager.prepare(night)], [np.arange(night.n_epochs) % 5]).save(model)
    client = make(nights, model, tmp_path / "cache").test_client()
    other = client.get("/hypnogram/a/details", headers={"If-None-Match": after.headers["ETag"]})
    assert other.status_code == 200
    assert other.json["model_version"] == stager.version != after.json["model_version"]


def test_a_client_that_can_unpack_is_sent_less(client, record):
    for path in f"/hypnogram/{record}/details", "/page/style.css", "/":
        plain = client.get(path)
        packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert gzip.decompress(packed.data) == plain.data
        assert len(packed.data) < len(plain.data) / 1.5
        known = {"Accept-Encoding": "gzip, br", "If-None-Match": packed.headers["ETag"]}
        assert client.get(path, headers=known).status_code == 304


# Lists


def test_records_are_listed_a_part_at_a_time(client, folder):
    whole = client.get("/records").json
    assert whole == {"source": "simulated nights, seed 1", "records": open_store(folder).records(), "next": None}
    seen, after = [], ""
    while after is not None:
        part = client.get("/records", query_string={"limit": 2, "after": after}).json
        seen, after = seen + part["records"], part["next"]
        assert len(part["records"]) <= 2
    assert seen == whole["records"]
    assert client.get(f"/records?limit={len(seen)}").json["next"] is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=many", "limit"), ("limit=", "limit"),
     ("limit=1e2", "limit"), ("limit=" + "9" * 5000, "limit"),
     ("after=..%2fx", "after"), ("after=%00", "after"), ("after=" + "a" * 129, "after")],
)  # fmt: skip
def test_a_query_that_cannot_be_read_is_refused_and_named(client, query, parameter):
    response = client.get(f"/records?{query}")
    assert response.status_code == 400
    found = problem(response)
    assert found.code == "bad_query"
    assert found.detail.startswith(f"{parameter}: ")
    assert len(found.detail) < 300


# Around them


def test_what_is_not_there_is_a_problem_document(client):
    for path in "/nowhere", "/hypnogram/", "/hypnogram", "/hypnogram/a/b/c", "/static/x", "/hypnogram//a":
        response = client.get(path)
        assert (path, response.status_code, problem(response).code) == (path, 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "FROB"])
def test_what_cannot_be_done_is_a_problem_document(client, record, method):
    response = client.open(f"/hypnogram/{record}", method=method, data=b"x")
    assert response.status_code == 405
    assert problem(response).code == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


def test_a_server_that_lives_and_can_work_says_so(client):
    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/readyz").json == {"status": "ready"}


def test_a_server_without_its_store_lives_and_is_not_ready(folder, short_model, tmp_path):
    nights = tmp_path / "nights"
    shutil.copytree(folder, nights)
    with ScoringPool(short_model) as pool:
        answers = Answers(open_store(nights), ResultCache(tmp_path / "cache", 10**7), pool)
        client = make_app(answers, Metrics()).test_client()
        assert client.get("/readyz").status_code == 200
        nights.rename(tmp_path / "away")
        for path in "/readyz", "/records", "/hypnogram/torn":
            response = client.get(path)
            assert (response.status_code, problem(response).code) == (503, "store_unavailable")
            assert str(tmp_path) not in response.text
            assert int(response.headers["Retry-After"]) > 0
        assert client.get("/healthz").status_code == 200
        (tmp_path / "away").rename(nights)
        assert client.get("/readyz").status_code == 200
    response = client.get("/readyz")
    assert (response.status_code, problem(response).code) == (503, "not_ready")


def test_what_was_done_is_counted(make, folder, short_model, tmp_path, record):
    client = make(folder, short_model, tmp_path).test_client()
    for path in f"/hypnogram/{record}", f"/hypnogram/{record}", "/hypnogram/torn", "/hypnogram/absent":
        client.get(path)
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'answers_total{source="computed"} 1.0',
        'answers_total{source="cache"} 1.0',
        'nights_total{outcome="scored"} 1.0',
        'nights_total{outcome="unreadable_file"} 1.0',
        'problems_total{code="record_not_found"} 1.0',
        'requests_total{endpoint="hypnogram",method="GET",status="200"} 2.0',
        f'model_info{{version="{load_stager(short_model).version}"}} 1.0',
    ):
        assert f"dreem_case_{line}" in lines
    assert record not in "\n".join(lines)


def test_nights_of_a_bucket_are_served_as_those_of_a_folder(make, folder, record, client, short_model, tmp_path):
    with s3_server() as endpoint:
        place = BucketPlace(endpoint, "nights-secret")
        put(place, record, (folder / "h5" / f"{record}.h5").read_bytes())
        put(place, "torn", b"no HDF5")
        given = {"s3_endpoint": endpoint, "s3_anonymous": True}
        bucket = make("s3://nights-secret", short_model, tmp_path, **given).test_client()
        assert bucket.get("/records").json["records"] == [record, "torn"]
        answer = bucket.get(f"/hypnogram/{record}")
        assert answer.json == client.get(f"/hypnogram/{record}").json
        refused = bucket.get("/hypnogram/torn")
        assert (refused.status_code, problem(refused).code) == (422, "unreadable_file")
        place.remove_all()
        with pytest.raises(StartError, match=r"s3://nights-secret, found .*; set DREEM_CASE_STORE to "):
            make("s3://nights-secret", short_model, tmp_path, **given)
    for path in f"/hypnogram/{record}", "/records", "/readyz":
        away = bucket.get(path)
        assert (away.status_code, problem(away).code) == (503, "store_unavailable")
        for name in "secret", "127.0.0.1", "h5/":
            assert name not in away.text


# States that are hard to provoke


def failing(error):
    """Return a client of an app that fails with this error whatever is asked."""

    def fail(*_, **__):
        raise error

    answers = SimpleNamespace(
        get=fail, key=fail, source="x", store=SimpleNamespace(records=fail), pool=SimpleNamespace(alive=True)
    )
    return make_app(answers, Metrics()).test_client()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Busy(3), "busy"),
        (StoreUnavailable("bucket secret does not answer"), "store_unavailable"),
        (FileUnavailable("night-1", "Stale secret file handle"), "file_unavailable"),
        (RecordChanged("a"), "record_changed"),
        (ModelChanged("expected secret, found another"), "model_changed"),
        (PoolError("secret"), "not_ready"),
    ],
)
@pytest.mark.parametrize("path", ["/hypnogram/a", "/hypnogram/a/details", "/records"])
def test_what_passes_is_503_with_the_time_to_come_back(error, code, path):
    response = failing(error).get(path, headers={"If-None-Match": 'W/"x"'})
    assert (response.status_code, problem(response).code) == (503, code)
    assert re.fullmatch("[1-9][0-9]*", response.headers["Retry-After"])
    assert "secret" not in response.text


def test_the_time_to_come_back_is_the_one_that_was_computed():
    assert failing(Busy(42)).get("/hypnogram/a").headers["Retry-After"] == "42"


def test_a_failure_of_the_server_tells_the_client_nothing_and_the_log_everything(caplog):
    response = failing(RuntimeError("secret at /etc/secret")).get("/hypnogram/a")
    assert (response.status_code, problem(response).code) == (500, "internal_server_error")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "secret at /etc/secret" in caplog.text


def test_a_store_that_hangs_does_not_take_all_threads(monkeypatch):
    monkeypatch.setattr("dreem_case.api._PLACES", 2)
    asked, go_on = threading.Semaphore(0), threading.Event()

    def hang(*_, **__):
        asked.release()
        go_on.wait(20)
        raise StoreUnavailable("no answer")

    answers = SimpleNamespace(
        get=hang, key=hang, source="x", store=SimpleNamespace(records=hang), pool=SimpleNamespace(alive=True)
    )
    app = make_app(answers, Metrics())
    with ThreadPoolExecutor(2) as threads:
        hanging = [threads.submit(app.test_client().get, path) for path in ("/hypnogram/a", "/records")]
        assert all(asked.acquire(timeout=20) for _ in hanging)
        for path in "/hypnogram/a", "/hypnogram/a/details", "/records", "/readyz":
            response = app.test_client().get(path)
            assert (response.status_code, problem(response).code) == (503, "busy")
        assert app.test_client().get("/healthz").status_code == 200
        go_on.set()
        assert {problem(future.result()).code for future in hanging} == {"store_unavailable"}
    assert problem(app.test_client().get("/records")).code == "store_unavailable"


def test_those_who_wait_leave_room_for_those_who_need_not(folder, record, tmp_path):
    go_on = threading.Event()

    def score(*_):
        go_on.wait(60)
        return Scored(b'["WAKE"]', b"{}", None, b"")

    pool = SimpleNamespace(
        score=score, alive=True, n_processes=1, time_limit_s=60, model_version="m", scoring_version="s",
        scores_features=True,
    )
    answers = Answers(open_store(folder), ResultCache(tmp_path, 10**7), pool, waiting=MAX_WAITING)
    app = make_app(answers, Metrics())
    known, asked = open_store(folder).records()[1:3]
    with ThreadPoolExecutor(MAX_WAITING) as threads:
        go_on.set()
        assert app.test_client().get(f"/hypnogram/{known}").status_code == 200
        go_on.clear()
        waiting = [threads.submit(app.test_client().get, f"/hypnogram/{asked}") for _ in range(MAX_WAITING)]
        until(lambda: answers._waiting._value == 0)
        try:
            for path in f"/hypnogram/{known}", "/readyz", "/records":
                assert (path, app.test_client().get(path).status_code) == (path, 200)
            assert app.test_client().get("/hypnogram/torn").status_code == 503
        finally:
            go_on.set()
        assert {future.result().status_code for future in waiting} == {200}


# The document


@pytest.fixture(scope="module")
def document(app):
    return app.test_client().get("/openapi/openapi.json").json


def test_the_document_is_valid_and_complete(document):
    validate(document)
    assert set(document["paths"]) == {*PATHS, "/records", "/healthz", "/readyz", "/metrics"}
    statuses = {path: set(methods["get"]["responses"]) for path, methods in document["paths"].items()}
    assert statuses["/hypnogram/{record}"] == {"200", "304", "404", "422", "503"}
    assert statuses["/hypnogram/{record}"] == statuses["/hypnogram/{record}/details"]
    assert statuses["/records"] == {"200", "400", "503"}
    assert statuses["/readyz"] == {"200", "503"}
    assert statuses["/healthz"] == statuses["/metrics"] == {"200"}


def test_all_errors_in_the_document_are_problem_documents(document):
    names = [methods["get"]["operationId"] for methods in document["paths"].values()]
    assert sorted(names) == ["details", "healthz", "hypnogram", "metrics_text", "readyz", "records"]
    for methods in document["paths"].values():
        assert methods["get"]["summary"]
        for status, response in methods["get"]["responses"].items():
            if int(status) >= 400:
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
            if status == "503":
                assert "Retry-After" in response["headers"]


# Pages


def test_the_short_address_of_the_document_leads_nowhere_else(client):
    response = client.get("/openapi", headers={"Host": "elsewhere.example"})
    assert (response.status_code, response.headers["Location"]) == (308, "openapi/")


@pytest.mark.parametrize("path", ["/", "/night/any-name", "/openapi/", "/page/style.css", "/openapi/swagger-ui.css"])
def test_pages_are_files_of_this_server_only(client, path):
    response = client.get(path)
    assert response.status_code == 200
    assert not re.search(r"""(src|href)=["'](https?:)?//""", response.text)
    assert client.get(path, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


def test_every_file_that_the_page_of_the_document_names_is_there(client):
    page = client.get("/openapi/").text
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(urljoin("/openapi/", name)).status_code == 200, name
    assert "<script>" not in page
    assert "style=" not in page


@pytest.mark.parametrize(
    "path",
    ["/page/absent.js", "/page/..%2fapi.py", "/page/../api.py", "/page/", "/openapi/..%2f__init__.py",
     "/openapi/swagger-ui-standalone-preset.js", "/night/..", "/night/%2e%2e%2fx", "/page/%00"],
)  # fmt: skip
def test_no_other_file_is_served(client, path):
    response = client.get(path)
    assert response.status_code == 404
    problem(response)


@pytest.mark.parametrize(
    "path", ["/", "/page/style.css", "/openapi/", "/records", "/hypnogram/torn", "/healthz", "/metrics", "/nowhere"]
)
def test_every_answer_holds_the_browser_to_this_server(client, path):
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "private, no-cache"


# The start


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"store": "nowhere"}, "expected a folder of nights, found no folder nowhere; set DREEM_CASE_STORE to "),
        ({"store": "ftp://host/nights"}, "ftp://host/nights; set DREEM_CASE_STORE to "),
        ({"model": "nowhere"}, "expected a model's manifest, found no such file; set DREEM_CASE_MODEL to "),
        ({"store": "s3://nights", "s3_endpoint": "nowhere"}, "found: Invalid endpoint.* that DREEM_CASE_S3_... fits"),
        ({"cache": "/proc/none"}, "expected a folder to write results to.*; set DREEM_CASE_CACHE to "),
    ],
)
def test_a_server_that_cannot_start_says_what_to_set(make, folder, short_model, tmp_path, changed, message):
    given = {"store": folder, "model": short_model, "cache": tmp_path, **changed}
    with pytest.raises(StartError, match=message) as raised:
        make(**given)
    assert "\n" not in raised.value.message


def test_outside_of_a_clone_the_cache_has_a_usual_place_and_only_a_store_is_asked_for(
    make, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match="elsewhere set DREEM_CASE_STORE to a folder") as raised:
        make()
    assert not {"DREEM_CASE_MODEL", "DREEM_CASE_CACHE"} & set(re.findall("[A-Z_]+", raised.value.message))
    make(store=folder)
    assert (tmp_path / ".cache" / "dreem-case").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(StartError, match=re.escape(f"{tmp_path}/file/.cache") + ".*; set DREEM_CASE_CACHE to"):
        make(store=folder)


def test_a_store_that_is_away_stops_the_check_and_not_the_server(make, short_model, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    given = {"s3_endpoint": "http://127.0.0.1:9", "s3_anonymous": True}
    app = make("s3://nights-secret", short_model, tmp_path, **given)
    client = app.test_client()
    assert client.get("/healthz").status_code == 200
    for path in "/readyz", "/records", "/hypnogram/a":
        response = client.get(path)
        assert (path, response.status_code, problem(response).code) == (path, 503, "store_unavailable")
    result = app.test_cli_runner().invoke(args=["check"])
    assert result.exit_code == 1
    assert re.search("^Error: expected .*; see that the store can be reached, or set DREEM_CASE_STORE", result.output)


def test_a_model_that_takes_too_long_to_load_is_told_with_a_mend(make, folder, short_model, tmp_path, monkeypatch):
    def fail(*_):
        raise PoolError("expected a model that loads, found TimeoutError")

    monkeypatch.setattr("dreem_case.api.ScoringPool", fail)
    with pytest.raises(StartError, match="found TimeoutError; set DREEM_CASE_MEMORY_MB higher, or see what "):
        make(folder, short_model, tmp_path)


def test_a_cache_in_the_users_home_lies_there(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StartError, match="found no folder nowhere"):
        make("nowhere", cache="~/results")
    assert (tmp_path / "results" / "locks").is_dir()


@pytest.mark.parametrize("part", ["ecg", "events"])
def test_what_a_part_simulates_to_serve_goes_with_the_process(part, tmp_path):
    code = f"import os; from dreem_case.{part}.endpoint import _place; print(bool(os.listdir(_place())))"
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_named_twice_is_served_once(make, folder, short_model, tmp_path):
    app = make(folder, short_model, tmp_path, parts="events, ,events,")
    assert app.test_client().get("/events/nobody").status_code == 404
    assert list(app.blueprints).count("events") == 1
    document = app.test_client().get("/openapi/openapi.json").json
    validate(document)
    assert document["paths"].keys() > {"/hypnogram/{record}", "/events", "/events/{series}", "/events/{series}/details"}


@pytest.mark.parametrize(
    ("part", "setting", "value", "found"),
    [
        ("ecg", "MODEL", "s3://lab/beats", "expected a model file of at most"),
        ("ecg", "STORE", "/nowhere", "expected a folder or s3://bucket, found none"),
        ("events", "STORE", "/nowhere.csv", "expected a file, found none"),
        ("events", "ZONE", "Mars/Phobos", "expected a time zone such as Europe/Berlin, found 'Mars/Phobos'"),
        ("events", "MODEL", __file__, "expected a model of boosted minutes"),
        ("transfer", "MODEL", "/nowhere", "expected a model's manifest, found no such file"),
    ],
)
def test_a_setting_of_a_part_that_is_wrong_is_told_by_name_before_it_serves(part, setting, value, found, monkeypatch):
    endpoint = importlib.import_module(f"dreem_case.{part}.endpoint")
    for name in {"_place", "_model"} & set(vars(endpoint)):  # what an app before it has opened
        monkeypatch.setattr(endpoint, name, inspect.unwrap(getattr(endpoint, name)))
    if hasattr(endpoint, "_good"):
        monkeypatch.setattr(endpoint, "_good", [])
    variable = f"DREEM_CASE_{part.upper()}_{setting}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartError, match=f"^{variable}: .*{found}.*; unset it for the default$"):
        _blueprint(part)


@pytest.mark.parametrize(("part", "absent"), [("ecg", "wfdb"), ("transfer", "torch")])
def test_a_part_without_what_it_needs_is_told_before_it_serves(part, absent, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)
    for name in "endpoint", "network_stager":  # loaded anew, without torch
        monkeypatch.delitem(sys.modules, f"dreem_case.transfer.{name}", raising=False)
    with pytest.raises(StartError, match=f"^DREEM_CASE_PARTS: expected the packages that {part} needs.* no {absent}$"):
        _blueprint(part)


def test_a_bucket_of_a_part_that_does_not_answer_is_no_reason_not_to_start(monkeypatch, caplog):
    monkeypatch.setattr("dreem_case.ecg.endpoint._place", lambda: "s3://records")
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    for name, value in {"DREEM_CASE_ECG_STORE": "s3://records", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    assert _blueprint("ecg").name == "beats"
    assert "DREEM_CASE_ECG_STORE: s3://records: expected a bucket that answers" in caplog.text


def test_the_check_says_what_is_served(app, short_model):
    result = app.test_cli_runner().invoke(args=["check"])
    version = load_stager(short_model).version
    assert (result.exit_code, result.output) == (
        0, f"ready to serve simulated nights, seed 1, staged by {version}\n"
    )  # fmt: skip


def test_without_settings_it_serves_simulated_nights_and_says_so(
    make, folder, short_model, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("dreem_case.staging.embedded.default_data", lambda: folder)
    monkeypatch.setattr("dreem_case.api.shipped_model_folder", lambda: short_model)
    monkeypatch.setattr("dreem_case.staging.embedded.project_root", lambda: tmp_path)
    client = make().test_client()
    assert client.get("/records").json["source"] == "simulated nights, seed 1"
    assert "DREEM_CASE_STORE is not set: serving simulated nights" in caplog.text
    assert "DREEM_CASE_MODEL is not set" in caplog.text
    assert (tmp_path / "build" / "cache").is_dir()


def test_the_server_itself_does_not_load_the_scientific_libraries(folder, short_model, tmp_path):
    code = f"""
import json, sys
from dreem_case.api import create_app
from dreem_case.serving.settings import MAX_WAITING, Settings
create_app(Settings({str(folder)!r}, {str(short_model)!r}, {str(tmp_path)!r}))
print(json.dumps(sorted(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"sklearn", "scipy", "skops", "boto3", "pandas"} & set(json.loads(run.stdout)) == set()


APP = "https://app.example.org"


def away(*_, **__):
    raise StoreUnavailable("no answer")


AWAY = SimpleNamespace(store=SimpleNamespace(records=away), get=away, key=away, source="x")


@pytest.mark.parametrize("path", ["/records", "/hypnogram/nobody"])
def test_other_origins_may_read_where_a_setting_names_them(path):
    for origins, origin, allowed in [((), APP, None), ((APP,), APP, APP), ((APP,), f"{APP}.evil.org", None)]:
        client = make_app(AWAY, Metrics(), origins).test_client()
        response = client.get(path, headers={"Origin": origin})
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
    asked = {"Origin": APP, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "If-None-Match"}
    response = client.options(path, headers=asked)
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Headers"] == "If-None-Match"
    assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) == {"GET", "HEAD", "POST"}  # POST: parts
    exposed = client.get(path, headers={"Origin": APP}).headers["Access-Control-Expose-Headers"]
    assert set(exposed.split(", ")) == {"ETag", "Retry-After"}


@pytest.mark.parametrize("page", ["/", "/openapi/", "/night/a", "/openapi/openapi.json"])
def test_nothing_leads_outside_the_path_that_a_proxy_serves(page):
    """A proxy with a prefix strips it: no address of the pages or the document begins at the root."""
    text = make_app(AWAY, Metrics()).test_client().get(page).get_data(as_text=True)
    assert re.findall(r"(?:href|src|url)=\"?/[^/]", text) == []
    if page.endswith(".json"):
        assert json.loads(text)["servers"] == [{"url": "../"}]
    assert make_app(AWAY, Metrics()).test_client().get("/openapi").headers["Location"] == "openapi/"
