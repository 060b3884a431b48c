"""A bucket that breaks off, is slow, says no or is away; and what only a bucket has."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreem_case.core import s3
from dreem_case.nights import s3_store
from dreem_case.nights.store import RecordNotFound, StoreError, StoreUnavailable, open_store
from tests.support.faulty_server import cut, drip, reset, say, stop, too_long, welcome, without_length
from tests.support.stores import REGION, BucketPlace, client, put

CHAIN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3")


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Few attempts, no credentials of this machine."""
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    for name in CHAIN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE":
        monkeypatch.setenv(name, str(tmp_path / "absent"))


@pytest.fixture
def silence(request, monkeypatch):
    """A short time-out for those who meet silence; others may be slow on a busy machine."""
    given = getattr(request.node, "callspec", None)
    if given is None or given.params["fault"] is stop:
        monkeypatch.setattr(s3, "TIMEOUT_S", 1.0)


@pytest.fixture
def place(server, content):
    place = BucketPlace(server, f"nights-{uuid.uuid4().hex}")
    put(place, "a", content, ["WAKE"])
    return place


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def store(place, between, spool):
    return place.open(endpoint=between.endpoint, spool=spool)


def fetch(store, record="a"):
    with store.fetched(record, store.version(record)) as path:
        return path.read_bytes()


# Downloads


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("fault", [cut, stop, reset, say(500), say(503), say(403), welcome, without_length, too_long])
def test_a_download_that_goes_wrong_ends_soon_leaves_nothing_and_works_the_next_time(
    fault, store, between, spool, content, caplog
):
    between.fault = fault
    start = time.monotonic()
    with pytest.raises(StoreUnavailable) as raised:
        fetch(store)
    assert time.monotonic() - start < 20
    assert list(spool.iterdir()) == []
    assert sum(method == "GET" and ".h5" in path for method, path, _ in between.requests) <= s3.ATTEMPTS**2
    for secret in "nights-", "127.0.0.1", ".h5", "h5/", "InternalError":
        assert secret not in str(raised.value)
    between.fault = None
    assert fetch(store) == content


def test_a_download_that_drips_ends_at_its_time_limit(store, between, spool, content, monkeypatch):
    monkeypatch.setattr(s3_store, "FETCH_S", 0.5)
    between.fault = drip
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="found a download that takes too long"):
        fetch(store)
    assert time.monotonic() - start < 5
    assert list(spool.iterdir()) == []
    monkeypatch.undo()
    between.fault = None
    assert fetch(store) == content


@pytest.mark.parametrize("fault", [cut, reset, say(500)])
def test_a_download_that_goes_wrong_once_is_repeated(fault, store, between, content):
    def once(*answer):
        between.fault = None
        fault(*answer)

    between.fault = once
    assert fetch(store) == content


def test_a_hypnogram_that_breaks_off_is_no_hypnogram(store, between, spool):
    between.only, between.fault = ("GET", ".json"), cut
    with pytest.raises(StoreUnavailable, match="downloads that break off"):
        store.open_night("a")
    assert list(spool.iterdir()) == []
    between.fault = None
    assert store.open_night("a").n_scored == 1


def test_a_file_that_cannot_be_kept_here_is_no_error_of_the_record(store, spool):
    version = store.version("a")
    spool.rmdir()
    with pytest.raises(StoreUnavailable, match="no room for the file here"):
        store.fetched("a", version).__enter__()


def test_a_killed_download_leaves_nothing_for_long(place, between, spool, content):
    between.fault = stop
    code = (
        "from dreem_case.nights.store import open_store\n"
        f"store = open_store({place.address!r}, {between.endpoint!r}, {REGION!r}, True, spool={str(spool)!r})\n"
        "store.fetched('a', store.version('a')).__enter__()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in spool.glob("*/a.h5")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None
        other = place.open(spool=spool)
        assert fetch(other) == content  # beside the one that is still at work
        assert len(list(spool.glob("*/a.h5"))) == 1
        os.kill(process.pid, signal.SIGKILL)
    assert len(list(spool.glob("*/a.h5"))) == 1
    assert fetch(other) == content
    assert list(spool.iterdir()) == []


# Questions


@pytest.mark.parametrize("fault", [reset, say(500), say(503), say(403), say(400), welcome])
def test_a_version_that_cannot_be_had_is_not_a_record_that_is_not_there(fault, store, between):
    between.only, between.fault = ("HEAD", ".h5"), fault
    with pytest.raises(StoreUnavailable) as raised:
        store.version("a")
    assert "nights-" not in str(raised.value)
    between.fault = None
    assert store.version("a")


def a_list(inner: str):
    """Answer with a list of one page that holds what it is told to."""
    return say(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>".encode())


NO_LISTS = [
    a_list("<Contents><Size>1</Size></Contents>"), a_list("<CommonPrefixes></CommonPrefixes>"),
    a_list("<Contents><Key>h5/b.h5</Key><Size>many</Size></Contents>"),
    a_list("<Contents><Key>h5/b.h5</Key><LastModified>yesterday</LastModified></Contents>"),
]  # fmt: skip


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("fault", [cut, stop, reset, say(500), say(403), say(404), welcome, *NO_LISTS])
def test_a_list_that_cannot_be_had_is_not_an_empty_one(fault, store, between):
    between.only, between.fault = ("GET", "list-type=2"), fault
    with pytest.raises(StoreUnavailable):
        store.records()
    between.fault = None
    assert store.records() == ["a"]


def test_a_list_that_breaks_off_behind_a_page_is_not_a_short_one(place, store, between):
    place.write_many([f"h5/night-{i}.h5" for i in range(1100)])
    between.only, between.fault = ("GET", "continuation-token"), say(500)
    with pytest.raises(StoreUnavailable):
        store.records()
    assert len(store.records(limit=900)) == 900


@pytest.mark.usefixtures("silence")
def test_each_question_to_a_bucket_that_is_silent_ends_soon(place, spool):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        store = place.open(endpoint=endpoint, spool=spool)
        with pytest.raises(StoreUnavailable, match="no whole answer within the limits"):
            store.version("a")
        assert time.monotonic() - start < 10


@pytest.mark.usefixtures("silence")
def test_a_silent_bucket_keeps_few_waiting_and_tells_the_others_at_once(store, between, monkeypatch):
    monkeypatch.setattr(s3_store, "TURN_S", 0.05)
    store._bucket._turns = threading.BoundedSemaphore(2)
    between.only, between.fault = ("HEAD", ".h5"), stop

    def ask(_):
        start = time.monotonic()
        with pytest.raises(StoreUnavailable) as raised:
            store.version("a")
        return raised.value.found, time.monotonic() - start

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(12)))
    quick = [seconds for found, seconds in answers if found == "too many questions at once"]
    silent = [seconds for found, seconds in answers if found == "no whole answer within the limits"]
    assert (len(quick), len(silent)) == (10, 2)
    assert max(quick) < min(silent)
    between.fault = None
    assert store.version("a")


def test_a_list_without_end_ends(store, between):
    token = "<NextContinuationToken>again</NextContinuationToken>"
    page = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>".encode()
    between.only, between.fault = ("GET", "list-type=2"), say(200, page)
    with pytest.raises(StoreUnavailable, match="a list without end"):
        store.records()


def test_what_went_wrong_stands_in_the_log(store, between, caplog):
    between.only, between.fault = ("GET", "list-type=2"), say(500)
    with caplog.at_level(logging.WARNING, "dreem_case.nights.s3_store"), pytest.raises(StoreUnavailable):
        store.records()
    assert "InternalError" in caplog.text


# Opening


def test_a_bucket_that_is_not_there_is_no_store(server, place):
    with pytest.raises(StoreError, match="that lists its nights at s3://absent-bucket, found status 404"):
        open_store("s3://absent-bucket", server, REGION, True)


def test_a_bucket_that_says_no_is_no_store(place, between):
    between.only, between.fault = ("GET", "list-type=2"), say(400, b"<Error><Code>ExpiredToken</Code></Error>")
    with pytest.raises(StoreError, match=r"found status 400 \(ExpiredToken\)"):
        place.open(endpoint=between.endpoint)


@pytest.mark.parametrize("status", [503, 429, 408])
def test_a_bucket_that_is_away_is_there_when_it_comes_back(status, place, between, content):
    between.only, between.fault = ("GET", "list-type=2"), say(status)
    store = place.open(endpoint=between.endpoint)
    with pytest.raises(StoreUnavailable):
        store.records()
    between.fault = None
    assert store.records() == ["a"]
    assert fetch(store) == content


def test_nights_that_come_to_an_empty_bucket_are_found(server, content):
    for inner in "", "h5/":
        place = BucketPlace(server, f"nights-{uuid.uuid4().hex}")
        store = place.open()
        assert store.records() == []
        place.write("manifest.json", b"{}")
        place.write(f"{inner}late.h5", content)
        assert store.records() == ["late"]
        assert fetch(store, "late") == content


@pytest.mark.parametrize(
    "settings", [{"endpoint": "no URL"}, {"endpoint": "http://"}, {"region": "no region!"}, {"anonymous": False}]
)
def test_settings_that_s3_does_not_take_are_refused(server, settings):
    settings = {"endpoint": server, "region": REGION, "anonymous": True} | settings
    with pytest.raises(StoreError, match="expected "):
        open_store("s3://nights", **settings)


def test_requests_are_signed_where_there_are_credentials(place, between, monkeypatch):
    def authorised(**settings):
        between.requests.clear()
        place.open(endpoint=between.endpoint, **settings).records()
        return {"Authorization" in headers for _, _, headers in between.requests}

    assert authorised(anonymous=None) == {False}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert authorised(anonymous=None) == {True}
    assert authorised(anonymous=True) == {False}


def test_endpoint_and_region_follow_the_ordinary_chain(place, between, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", between.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert open_store(place.address).records() == ["a"]
    assert all("eu-west-3/s3" in headers["Authorization"] for _, _, headers in between.requests)


# What a bucket may hold


def test_keys_that_lead_elsewhere_are_no_records(place):
    inside = "../x.h5", "a/b.h5", "/c.h5", "", "./d.h5", "%2e%2e.h5", "a b.h5", "e\n.h5", "é.h5", "f\0.h5", "\x1b[2J.h5"
    place.write_many(["x.h5", *(f"h5/{key}" for key in inside)])
    store = place.open()
    assert store.records() == ["a"]
    for record in "../x", "a/b", "/c", "", "./d", "%2e%2e":
        with pytest.raises(RecordNotFound):
            store.version(record)


def test_a_bucket_with_versions_gives_each_its_own(place, content):
    client(place.endpoint).put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
    store, seen = place.open(), set()
    for _ in range(2):
        place.write("h5/a.h5", content)
        seen.add(store.version("a"))
        assert fetch(store) == content
    assert len(seen) == 2
    place.remove("h5/a.h5")
    with pytest.raises(RecordNotFound):
        store.version("a")


def test_a_fresh_version_is_not_asked_for_again(place, between, content, monkeypatch):
    store = place.open(endpoint=between.endpoint, fresh_s=60)
    version = store.version("a")
    n_requests = len(between.requests)
    assert [store.version("a") for _ in range(5)] == [version] * 5
    assert len(between.requests) == n_requests
    place.write("h5/a.h5", content[:-1])
    assert store.version("a") == version
    with pytest.raises(StoreUnavailable), store.fetched("a", version):
        pytest.fail("that version is gone")
    assert store.version("a") != version  # a download that met another version says so
    now = time.monotonic()
    place.write("h5/a.h5", content)
    monkeypatch.setattr(s3_store.time, "monotonic", lambda: now + 61)
    assert store.version("a") == version


def test_without_a_window_each_version_is_asked_for(place, between):
    store = place.open(endpoint=between.endpoint)
    between.requests.clear()
    for _ in range(3):
        store.version("a")
    assert [method for method, _, _ in between.requests] == ["HEAD"] * 3
