"""The cache: an entry is whole or not there, is computed once by all, and keeps to its size."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dreem_case.core import cache as cache_module
from dreem_case.core.cache import CacheError, ResultCache, StillComputing, _join, cache_key
from tests.conftest import until

KEY, OTHER = cache_key("night-1"), cache_key("night-2")


@pytest.fixture
def cache(tmp_path):
    return ResultCache(tmp_path / "cache", max_bytes=100_000)


def entries(cache):
    return sorted(path.name.removesuffix(".entry") for path in cache.folder.glob("*.entry"))


def start(code, *arguments):
    """Run code in a process of its own that has a cache at its first argument."""
    head = (
        "import os, sys, time\nfrom concurrent.futures import ThreadPoolExecutor\nfrom pathlib import Path\n"
        "from dreem_case.core.cache import ResultCache, cache_key\n"
        "cache, KEY = ResultCache(sys.argv[1], 100_000), cache_key('night-1')\n"
    )
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(processes):
    """Collect what processes print, and end those that hang."""
    try:
        return [process.communicate(timeout=30)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_an_entry_outlives_the_cache_that_wrote_it(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, b"content")
    assert cache.get(KEY) == b"content"
    assert ResultCache(cache.folder, 100_000).get(KEY) == b"content"


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b[:40] + b"?" + b[41:], lambda b: b"?" + b[1:]],
)
def test_a_damaged_entry_counts_as_absent_and_is_removed(cache, damage):
    cache.put(KEY, b"content of this night")
    (path,) = cache.folder.glob("*.entry")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY) is None
    assert entries(cache) == []


def test_an_entry_under_another_name_is_damaged(cache):
    cache.put(KEY, b"content")
    (path,) = cache.folder.glob("*.entry")
    path.rename(path.with_name(f"{OTHER}.entry"))
    assert cache.get(OTHER) is None


def test_what_a_killed_writer_left_is_swept_at_the_next_start_and_at_the_next_write(cache):
    partial = cache.folder / "partial"
    partial.write_bytes(b"half a result")
    ResultCache(cache.folder, 100_000)
    assert not partial.exists()
    partial.write_bytes(b"half a result")
    cache.put(KEY, b"content")
    assert not partial.exists()


def test_a_writer_that_is_killed_leaves_whole_entries_only(cache):
    code = (
        "for i in range(10**9):\n    cache.put(cache_key(str(i % 7)), str(i % 7).encode() * 10_000)\n"
        "    print(i, flush=True)"
    )
    for n_lines in (1, 2, 5, 9):
        writer = start(code, cache.folder)
        for _ in range(n_lines):
            writer.stdout.readline()
        writer.kill()
        writer.communicate()
        found = [cache.get(cache_key(str(i))) for i in range(7)]
        assert all(content in (None, str(i).encode() * 10_000) for i, content in enumerate(found))
        assert any(found)
    cache.put(KEY, b"content")
    assert not (cache.folder / "partial").exists()


def test_the_least_recently_used_entries_go_first(cache):
    keys = [cache_key(str(i)) for i in range(5)]
    for key in keys[:4]:
        cache.put(key, b"x" * 24_000)
    assert cache.get(keys[0])
    cache.put(keys[4], b"x" * 24_000)
    assert entries(cache) == sorted([keys[0], keys[2], keys[3], keys[4]])


def test_a_smaller_limit_holds_from_the_start(cache):
    for i in range(4):
        cache.put(cache_key(str(i)), b"x" * 24_000)
    smaller = ResultCache(cache.folder, 50_000)
    assert entries(smaller) == sorted([cache_key("2"), cache_key("3")])


def test_what_is_larger_than_the_cache_is_not_kept_and_pushes_nothing_out(cache):
    cache.put(KEY, b"content")
    cache.put(OTHER, b"x" * 100_001)
    assert entries(cache) == [KEY]


def test_several_processes_with_several_threads_compute_once(cache, tmp_path):
    code = (
        "def compute():\n"
        "    with open(sys.argv[2], 'a') as log:\n        log.write('computed\\n')\n"
        "    time.sleep(0.3)\n    return b'content'\n"
        "print('ready', flush=True)\n"
        "while not Path(sys.argv[3]).exists():\n    time.sleep(0.005)\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        "    print(set(threads.map(lambda _: cache.compute_once(KEY, compute, 20), range(8))))"
    )
    log, go = tmp_path / "log", tmp_path / "go"
    processes = [start(code, cache.folder, log, go) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    go.touch()
    assert finished(processes) == ["{b'content'}\n"] * 4
    assert log.read_text() == "computed\n"


def test_when_the_process_that_computes_is_killed_another_computes(cache):
    holder = start("cache.compute_once(KEY, lambda: [print('mine', flush=True), time.sleep(60)], 20)", cache.folder)
    try:
        assert holder.stdout.readline() == "mine\n"
        with pytest.raises(StillComputing, match=r"expected a result within 0.1 s, found it still computed"):
            cache.compute_once(KEY, lambda: b"not reached", 0.1)
        with ThreadPoolExecutor(1) as threads:
            waiter = threads.submit(cache.compute_once, KEY, lambda: b"content", 20)
            holder.send_signal(signal.SIGKILL)
            assert waiter.result(20) == b"content"
    finally:
        finished([holder])
    assert cache.get(KEY) == b"content"


def test_an_error_reaches_all_who_wait_and_the_next_caller_tries_again(cache, monkeypatch):
    n_callers, release, calls, joined = 5, threading.Event(), [], []

    def fail():
        calls.append(1)
        release.wait(20)
        raise LookupError("no night")

    def join(flight, wait_s):
        joined.append(1)
        return _join(flight, wait_s)

    monkeypatch.setattr("dreem_case.core.cache._join", join)
    with ThreadPoolExecutor(n_callers) as threads:
        found = [threads.submit(cache.compute_once, KEY, fail, 20) for _ in range(n_callers)]
        until(lambda: len(joined) == n_callers - 1)
        release.set()
        errors = [future.exception(20) for future in found]
    assert all(isinstance(error, LookupError) for error in errors)
    assert len(calls) == 1
    assert cache.compute_once(KEY, lambda: b"content", 20) == b"content"


def test_a_computation_that_runs_out_of_time_is_not_taken_for_a_long_wait(cache):
    def fail():
        raise TimeoutError("the store")

    with pytest.raises(TimeoutError, match="the store"):
        cache.compute_once(KEY, fail, 20)


def test_a_thread_waits_no_longer_than_it_said(cache):
    release = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(cache.compute_once, KEY, lambda: release.wait(20) and b"content", 20)
        until(lambda: cache._flights)
        with pytest.raises(StillComputing):
            cache.compute_once(KEY, lambda: b"not reached", 0.05)
        release.set()
        assert slow.result(20) == b"content"


def test_different_results_are_computed_at_the_same_time(cache):
    both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda key: cache.compute_once(key, lambda: b"%d" % both.wait(20), 20), [KEY, OTHER])
        assert sorted(found) == [b"0", b"1"]


def test_a_result_is_given_even_if_the_disk_is_full(cache, monkeypatch, caplog):
    monkeypatch.setattr(os, "fsync", no_space)
    assert cache.compute_once(KEY, lambda: b"content", 20) == b"content"
    assert "could not be written" in caplog.text
    assert entries(cache) == []
    assert not (cache.folder / "partial").exists()


def test_a_full_disk_is_no_reason_not_to_read(cache, monkeypatch):
    cache.put(KEY, b"content")
    monkeypatch.setattr(Path, "write_text", no_space)
    assert ResultCache(cache.folder, 100_000).get(KEY) == b"content"


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_result_is_computed_even_if_no_lock_can_be_made(cache, monkeypatch, caplog):
    monkeypatch.setattr("filelock.FileLock.acquire", no_space)
    assert cache.compute_once(KEY, lambda: b"content", 20) == b"content"
    assert "without a lock" in caplog.text
    with pytest.raises(LookupError, match="no night"):
        cache.compute_once(KEY, no_night, 20)


def no_night():
    raise LookupError("no night")


def test_an_error_of_the_computation_is_not_taken_for_one_of_the_disk(cache, caplog):
    calls = []

    def fail():
        calls.append(1)
        no_space()

    with pytest.raises(OSError, match="No space"):
        cache.compute_once(KEY, fail, 20)
    assert len(calls) == 1
    assert caplog.text == ""


def test_an_entry_that_cannot_be_read_counts_as_absent(cache, monkeypatch, caplog):
    cache.put(KEY, b"content")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", no_space)
        assert cache.get(KEY) is None
    assert "cannot be read" in caplog.text
    assert cache.get(KEY) == b"content"


def test_an_entry_is_given_even_if_its_use_cannot_be_noted(cache, monkeypatch):
    cache.put(KEY, b"content")
    monkeypatch.setattr(os, "utime", no_space)
    assert cache.get(KEY) == b"content"


def test_a_result_that_comes_as_the_wait_ends_is_given():
    class Late(Future):
        def result(self, timeout=None):
            if timeout is not None:
                self.set_result(b"content")
                raise TimeoutError
            return super().result()

    assert _join(Late(), 0.1) == b"content"


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, KEY + "\n", f"{KEY}/../{KEY}", KEY[:-1]])
def test_what_is_no_key_is_refused(cache, key):
    for use in (cache.get, lambda key: cache.put(key, b""), lambda key: cache.compute_once(key, bytes, 1)):
        with pytest.raises(CacheError, match="expected a key of 64 hexadecimal digits"):
            use(key)


def test_a_place_that_is_no_folder_is_an_error_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="expected a folder to write results to"):
        ResultCache(tmp_path / "file", 1000)


def test_a_folder_that_somebody_removed_is_made_again(cache):
    cache.put(KEY, b"content")
    shutil.rmtree(cache.folder)
    assert cache.get(KEY) is None
    assert cache.compute_once(KEY, lambda: b"again", 20) == b"again"
    assert cache.get(KEY) == b"again"


def test_keys_depend_on_every_part():
    keys = {cache_key(*parts) for parts in [("a", "b"), ("ab", ""), ("", "ab"), ("b", "a"), ("a", "b", ""), ("a,b",)]}
    assert len(keys) == 6
    assert cache_key("ä") == cache_key("ä")


def test_the_entries_are_counted_when_the_size_is_reached_and_not_at_each_write(cache, monkeypatch):
    counted = []

    def count(folder, *limits, original=cache_module._sweep):
        counted.append(len(entries(cache)))
        return original(folder, *limits)

    monkeypatch.setattr(cache_module, "_sweep", count)
    for i in range(250):
        cache.put(cache_key(str(i)), b"x" * 468)
    assert sum(path.stat().st_size for path in cache.folder.glob("*.entry")) <= 100_000
    assert set(counted) == {200}
    assert len(counted) <= 25
    assert 197 < len(entries(cache)) <= 200
    assert cache.get(cache_key("249"))


@pytest.mark.parametrize("note", [None, "", "x", "99999999"])
def test_a_note_of_the_size_that_is_wrong_costs_no_entry(cache, note):
    cache.put(KEY, b"content")
    (cache.folder / "size").unlink() if note is None else (cache.folder / "size").write_text(note)
    cache.put(OTHER, b"x" * 10)
    assert entries(cache) == sorted([KEY, OTHER])
    assert int((cache.folder / "size").read_text()) == sum(p.stat().st_size for p in cache.folder.glob("*.entry"))


def test_an_entry_that_is_removed_is_gone(cache):
    cache.put(KEY, b"content")
    for _ in range(2):
        cache.remove(KEY)
        assert cache.get(KEY) is None
