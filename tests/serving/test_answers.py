"""Answers: never an old one, computed once by all, and no more taken on than there is room for."""

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreem_case.core.cache import ResultCache
from dreem_case.nights.folder_store import FolderStore
from dreem_case.nights.safe_h5 import FileUnavailable
from dreem_case.nights.store import RecordChanged, RecordNotFound, RecordTooLarge, StoreUnavailable, open_store
from dreem_case.serving.answers import Answers, Busy, result_key
from dreem_case.serving.scoring_pool import ModelChanged, NightRefused, Scored
from tests.conftest import until


class StubPool:
    """A pool that scores nothing: its hypnogram is the file's content."""

    n_processes, time_limit_s, model_version, scoring_version = 1, 30.0, "forest-a", "code-a"
    scores_features = True

    def __init__(self, before=lambda path: None):
        self.before, self.scored = before, []

    def score(self, record, path, keep_features):
        content = path.read_bytes()
        self.before(path)
        self.scored.append(record)
        details = json.dumps({"record": record, "source": ""}, separators=(",", ":")).encode()
        return Scored(json.dumps([content.decode()]).encode(), details, {"record": record}, b"")


@pytest.fixture
def nights(tmp_path):
    """A store's folder with two files that only the stub can score."""
    folder = tmp_path / "nights"
    folder.mkdir()
    (folder / "night-1.h5").write_text("one")
    (folder / "night-2.h5").write_text("two")
    return folder


@pytest.fixture
def make(nights, tmp_path):
    def make(pool, **options):
        return Answers(open_store(nights), ResultCache(tmp_path / "cache", 1_000_000), pool, **options)

    return make


def refuse(code):
    def score(path):
        raise NightRefused("night-1", code, f"night-1: expected a night, found {code}")

    return score


def test_a_computed_and_a_cached_answer_are_the_same(make):
    computations = []
    answers = make(StubPool(), on_computation=computations.append)
    first, second = answers.get("night-1"), answers.get("night-1")
    assert (first.hypnogram, json.loads(first.details)["record"]) == (b'["one"]', "night-1")
    assert (first.key, first.hypnogram, first.details) == (second.key, second.hypnogram, second.details)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert first.key == answers.key("night-1") != answers.key("night-2")
    assert [(c.outcome, c.row) for c in computations] == [("scored", {"record": "night-1"})]


@pytest.mark.parametrize("name", ["model_version", "scoring_version"])
def test_another_model_or_other_code_is_another_answer(make, name):
    make(StubPool()).get("night-1")
    pool = StubPool()
    setattr(pool, name, "another")
    assert not make(pool).get("night-1").from_cache
    assert pool.scored == ["night-1"]


def test_a_file_rewritten_with_the_same_size_and_time_is_scored_anew(make, nights):
    answers, path = make(StubPool()), nights / "night-1.h5"
    before, key = path.stat(), answers.get("night-1").key
    path.write_text("eno")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert answers.get("night-1").hypnogram == b'["eno"]'
    assert answers.key("night-1") != key


def test_a_file_that_changes_while_it_is_scored_is_scored_again(make, nights):
    def rewrite_once(path):
        if path.read_text() == "one":
            path.write_text("eno")

    pool = StubPool(rewrite_once)
    assert make(pool).get("night-1").hypnogram == b'["eno"]'
    assert pool.scored == ["night-1", "night-1"]


def test_a_refusal_of_a_file_that_changed_meanwhile_does_not_count(make, nights):
    def half_written(path):
        if path.read_text() == "one":
            path.write_text("eno")
            refuse("unreadable_file")(path)

    assert make(StubPool(half_written)).get("night-1").hypnogram == b'["eno"]'


def test_a_file_that_never_rests_is_given_up(make):
    pool = StubPool(lambda path: path.write_text(path.read_text() + "."))
    with pytest.raises(RecordChanged):
        make(pool).get("night-1")
    assert 1 < len(pool.scored) < 10


def test_a_record_that_goes_while_it_is_scored_is_not_found(make):
    with pytest.raises(RecordNotFound):
        make(StubPool(lambda path: path.unlink())).get("night-1")


def test_a_store_that_is_away_at_the_start_is_asked_again_until_it_answers_and_then_no_more(nights, tmp_path):
    asked = []

    class Store(FolderStore):
        @property
        def source(self):
            asked.append(1)
            if len(asked) < 3:
                raise StoreUnavailable("nothing")
            return "nights in a test"

    answers = Answers(Store(nights), ResultCache(tmp_path / "cache", 1_000_000), StubPool())
    assert asked == []
    for ask in (lambda: answers.source, lambda: answers.get("night-1")):
        with pytest.raises(StoreUnavailable):
            ask()
    assert json.loads(answers.get("night-1").details)["source"] == answers.source == "nights in a test"
    assert len(asked) == 3


def test_an_error_of_whoever_counts_costs_no_night(make, caplog):
    def full(computation):
        raise OSError(errno.ENOSPC, "No space left on device")

    pool = StubPool()
    answers = make(pool, queue=0, waiting=1, on_computation=full)
    assert answers.get("night-1").hypnogram == b'["one"]'
    assert answers.get("night-1").from_cache
    assert "could not be counted" in caplog.text
    pool.before = refuse("too_short")
    with pytest.raises(NightRefused):
        answers.get("night-2")


def test_a_refusal_for_the_content_is_kept_until_the_file_changes(make, nights):
    pool, computations = StubPool(refuse("too_short")), []
    answers = make(pool, on_computation=computations.append)
    for _ in range(3):
        with pytest.raises(NightRefused, match="night-1: expected a night, found too_short") as refused:
            answers.get("night-1")
        assert (refused.value.code, refused.value.record) == ("too_short", "night-1")
    assert [(c.outcome, c.row) for c in computations] == [("too_short", None)]
    (nights / "night-1.h5").write_text("longer")
    pool.before = lambda path: None
    assert answers.get("night-1").hypnogram == b'["longer"]'


def test_a_refusal_for_the_price_is_not_kept(make):
    pool, computations = StubPool(refuse("too_expensive")), []
    answers = make(pool, on_computation=computations.append)
    with pytest.raises(NightRefused):
        answers.get("night-1")
    pool.before = lambda path: None
    assert answers.get("night-1").hypnogram == b'["one"]'
    assert [c.outcome for c in computations] == ["too_expensive", "scored"]


def test_a_file_too_large_to_fetch_is_refused(make, monkeypatch):
    answers = make(StubPool())

    def too_large(record, version):
        raise RecordTooLarge(record, "at most 1 bytes of h5", "2")

    monkeypatch.setattr(answers.store, "fetched", too_large)
    with pytest.raises(NightRefused, match="night-1: expected at most 1 bytes of h5, found 2") as refused:
        answers.get("night-1")
    assert refused.value.code == "too_large"


@pytest.mark.parametrize(
    "error",
    [ModelChanged("a"), StoreUnavailable("nothing"), FileUnavailable("night-1", "nothing"), ZeroDivisionError()],
)
def test_any_other_error_is_raised_counted_and_not_kept(make, error):
    def fail(path):
        raise error

    pool, computations = StubPool(fail), []
    answers = make(pool, queue=0, waiting=1, on_computation=computations.append)
    for _ in range(3):  # every place that was taken is given back
        with pytest.raises(type(error)):
            answers.get("night-1")
    pool.before = lambda path: None
    assert answers.get("night-1").hypnogram == b'["one"]'
    assert [c.outcome for c in computations] == ["failed"] * 3 + ["scored"]


def test_beyond_the_line_it_is_busy_and_cached_answers_go_on(make, nights):
    for i in range(3, 7):
        (nights / f"night-{i}.h5").write_text(str(i))
    release = threading.Event()
    pool = StubPool(lambda path: path.stem == "night-1" or release.wait(20))
    answers = make(pool, queue=1)
    answers.get("night-1")
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(answers.get, f"night-{i}") for i in (2, 3)]
        until(lambda: answers._line._value == 0)
        with pytest.raises(Busy, match="try again in") as busy:
            answers.get("night-4")
        assert busy.value.retry_after_s >= 1
        assert answers.get("night-1").from_cache
        release.set()
        assert [answer.result(20).from_cache for answer in running] == [False, False]
    assert answers.get("night-4").hypnogram == b'["4"]'


def test_no_more_requests_wait_than_allowed(make):
    release = threading.Event()
    pool = StubPool(lambda path: release.wait(20))
    answers = make(pool, waiting=3)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(answers.get, "night-1") for _ in range(3)]
        until(lambda: answers._waiting._value == 0)
        with pytest.raises(Busy):
            answers.get("night-1")
        release.set()
        assert {answer.result(20).hypnogram for answer in waiting} == {b'["one"]'}
    assert pool.scored == ["night-1"]


def test_who_waits_too_long_for_another_process_is_told_to_come_back(make):
    answers = make(StubPool())
    answers.pool.time_limit_s = 0.05
    key = result_key(answers.pool, "night-1", answers.store.version("night-1"))
    with answers.cache.lock(key, 1), pytest.raises(Busy):
        answers.get("night-1")
    assert answers.get("night-1").hypnogram == b'["one"]'
