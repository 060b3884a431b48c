"""The scoring pool: the library's own answer, a code for every refusal, and no night harms another."""

import faulthandler
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import PropertyMock

import h5py
import numpy as np
import pytest
from pebble import ProcessExpired

from dreem_case.core.model_file import MANIFEST, ModelError
from dreem_case.nights.casefile import open_night
from dreem_case.nights.safe_h5 import CaseFileError, FileUnavailable
from dreem_case.serving import scoring_pool
from dreem_case.serving.scoring_pool import CODES, ModelChanged, NightRefused, PoolError, ScoringPool, with_source
from dreem_case.staging.feature_cache import FeaturesDamaged
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.score import night_row, score_document, score_night
from dreem_case.staging.stagers import load_stager, new_stager, stager_module, stager_names
from tests.conftest import saved_model, until


@pytest.fixture(scope="module")
def model(short_model):
    return short_model


@pytest.fixture(scope="module")
def pool(model):
    with ScoringPool(model, time_limit_s=30) as pool:
        yield pool


@pytest.fixture(scope="module")
def paths(six_minutes):
    """Three nights of six minutes each."""
    return sorted(six_minutes.glob("*.h5"))


@pytest.fixture(scope="module")
def long_night(tmp_path_factory):
    """A day of seven channels: a small file that takes time and memory."""
    path = tmp_path_factory.mktemp("long") / "long.h5"
    n = 24 * 3600 * 250
    with h5py.File(path, "w") as file:
        values = np.resize(np.arange(-50, 50, dtype=np.int8), n)
        for i in range(1, 8):
            file.create_dataset(f"eeg{i}", data=values, chunks=500_000, compression=1)
    return path


def is_running(pid):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_script_that_starts_a_pool_needs_no_guard_and_no_file(model, tmp_path):
    script = "import sys; from dreem_case.serving.scoring_pool import ScoringPool as P\n"
    script += "print('once')\nwith P(sys.argv[1]) as pool: print(pool.model_version)\n"
    (tmp_path / "script.py").write_text(script)
    for how, typed in ((str(tmp_path / "script.py"), ""), ("-", script)):
        found = subprocess.run([sys.executable, how, model], input=typed, capture_output=True, text=True, timeout=60)
        assert (found.stdout.split(), found.stderr) == (["once", load_stager(model).version], "")


def test_the_answer_is_that_of_the_library(pool, model, paths):
    stager = load_stager(model)
    for path in paths:
        scored = pool.score(path.stem, path)
        expected = score_document(score_night(open_night(path), stager), 'three "simulated" nights')
        assert json.loads(with_source(scored.details, 'three "simulated" nights')) == expected
        assert json.loads(scored.hypnogram) == expected["stages"]
        assert len(json.loads(scored.hypnogram)) == open_night(path).n_epochs
        assert scored.row == night_row(expected)
        assert scored.features == b""


def test_the_pool_knows_its_model(pool, model):
    assert pool.model_version == load_stager(model).version
    assert len(pool.scoring_version) == 12


def test_many_threads_get_each_their_own_answer(model, paths):
    with ScoringPool(model, n_processes=2) as pool, ThreadPoolExecutor(6) as threads:
        expected = [pool.score(path.stem, path) for path in paths]
        found = list(threads.map(lambda path: pool.score(path.stem, path), paths * 4))
    assert found == expected * 4
    assert len({scored.details for scored in expected}) == len(paths)


def broken(file):
    file["eeg1"] = h5py.ExternalLink("other.h5", "eeg1")


NOISE = np.random.default_rng(0).normal(0, 20, 15_000).astype(np.float32)
BAD_FILES = {
    "unsafe_file": broken,
    "wrong_shape": lambda file: file.create_dataset("eeg1", data=NOISE.reshape(2, -1)),
    "wrong_type": lambda file: file.create_dataset("eeg1", data=["text"] * 7500),
    "too_long": lambda file: file.create_dataset("eeg1", (2**40,), "f4", chunks=(1000,)),
    "wrong_rate": lambda file: file.create_dataset("eeg1", data=NOISE).attrs.update({"fs": 7}),
    "missing_signal": lambda file: file.create_dataset("ecg", data=NOISE),
    "too_short": lambda file: file.create_dataset("eeg1", data=NOISE[:7499]),
    "no_usable_eeg": lambda file: file.create_dataset("eeg1", data=NOISE * 0),
}


@pytest.mark.parametrize("code", BAD_FILES)
def test_a_bad_file_is_refused_with_its_code_and_what_was_found(pool, tmp_path, code):
    path = tmp_path / "night-1.h5"
    with h5py.File(path, "w") as file:
        BAD_FILES[code](file)
    with pytest.raises(NightRefused, match=r"night-1: expected .*, found ") as refused:
        pool.score("night-1", path)
    assert (refused.value.record, refused.value.code) == ("night-1", code)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(1000)])
def test_what_cannot_be_read_is_refused(pool, tmp_path, content):
    path = tmp_path / "night-1.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NightRefused) as refused:
        pool.score("night-1", path)
    assert refused.value.code == "unreadable_file"
    assert str(tmp_path) not in str(refused.value)


def test_a_file_that_the_system_does_not_give_now_is_not_refused(pool, paths):
    with paths[0].open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        with pytest.raises(FileUnavailable, match="temporarily unavailable"):
            pool.score("night-1", paths[0])
    assert pool.score("night-1", paths[0])


def test_every_error_of_the_reader_has_a_code_of_its_own():
    reading = {"RecordNameError", "HypnogramFileError", "TooManyLabelsError", "EdfError"}  # no EDF is served
    reading |= {"NotInFormatError", "RecordTooLarge", "NotFiniteError", "AnnotationsError"}
    served = (error for error in CaseFileError.__subclasses__() if not error.__module__.startswith("dreem_case.mae"))
    errors = {error for error in served if error.__name__ not in reading}
    assert errors == set(CODES)
    assert len(set(CODES.values())) == len(CODES)


def score_but_die_first(folder, version, record, path, marker):
    """Score a night, killed in the middle of it the first time."""
    bodies = scoring_pool._score(folder, version, record, path, marker)
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return bodies


def test_a_night_is_scored_though_its_process_was_killed(pool, paths, tmp_path, monkeypatch):
    marker = str(tmp_path / "marker")
    expected = pool.score(paths[0].stem, paths[0], marker)
    monkeypatch.setattr(scoring_pool, "_score", score_but_die_first)
    assert pool.score(paths[0].stem, paths[0], marker) == expected
    assert Path(marker).exists()


@pytest.mark.parametrize("fault", [faulthandler._sigsegv, os.abort])
def test_a_fault_in_c_ends_one_task_and_not_the_pool(pool, paths, fault):
    with pytest.raises(ProcessExpired):
        pool._processes.run(5, fault)
    assert pool.alive
    assert pool.score(paths[0].stem, paths[0])


def test_a_night_whose_process_dies_every_time_is_refused(pool, paths, monkeypatch):
    monkeypatch.setattr(scoring_pool, "_score", die)
    with pytest.raises(NightRefused, match=r"night-1: .* found a process that ended by SIGKILL") as refused:
        pool.score("night-1", paths[0])
    assert refused.value.code == "too_expensive"


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_night_that_takes_too_long_is_refused_in_time(model, paths, long_night):
    with ScoringPool(model, time_limit_s=0.5) as pool:
        start = time.monotonic()
        with pytest.raises(NightRefused, match=r"long: .* longer than 0\.5 s of processor time") as refused:
            pool.score("long", long_night)
        assert refused.value.code == "too_expensive"
        assert time.monotonic() - start < 0.5 + scoring_pool._START_S  # the kernel ended it, not our patience
        assert pool.score(paths[0].stem, paths[0])


def wait_then_score(folder, version, record, path, source):
    """Score a night after a while in which others have the processor."""
    start = time.process_time()
    time.sleep(5)
    assert time.process_time() - start < 1
    return scoring_pool._score(folder, version, record, path, source)


def test_time_that_others_have_the_processor_does_not_count(model, paths, monkeypatch):
    with ScoringPool(model, time_limit_s=4) as pool:
        pool.score(paths[0].stem, paths[0], "x")  # with the libraries loaded
        monkeypatch.setattr(scoring_pool, "_score", wait_then_score)
        assert pool.score(paths[0].stem, paths[0], "x")


def test_a_night_that_waits_for_ever_is_ended_all_the_same(model, paths, monkeypatch):
    monkeypatch.setattr(scoring_pool, "_PATIENCE", 2)
    with ScoringPool(model, time_limit_s=0.5) as pool:
        monkeypatch.setattr(scoring_pool, "_score", wait_for_ever)
        with pytest.raises(NightRefused, match="longer than"):
            pool.score("night-1", paths[0], "x")


def wait_for_ever(*_):
    time.sleep(600)


def test_a_day_of_zeros_in_small_chunks_is_refused_without_being_read(pool, tmp_path):
    path, n = tmp_path / "flat.h5", 23 * 3600 * 250
    with h5py.File(path, "w") as file:
        for i in range(1, 8):
            file.create_dataset(f"eeg{i}", data=np.zeros(n, "i1"), chunks=2000, compression=1)
    start = time.process_time()
    with pytest.raises(NightRefused, match=r"flat: expected at least one epoch .* flat in 100 %"):
        pool.score("flat", path, "x")
    assert time.process_time() - start < 5


def test_a_night_that_takes_too_much_memory_is_refused(model, paths, long_night):
    with ScoringPool(model, memory_mb=300) as pool:
        with pytest.raises(NightRefused, match=r"long: .* found one that needs more than 300 MB") as refused:
            pool.score("long", long_night)
        assert refused.value.code == "too_expensive"
        assert pool.score(paths[0].stem, paths[0])


def test_an_idle_process_that_was_killed_is_replaced(pool, paths):
    pid = pool._processes.run(5, os.getpid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid))
    assert pool.alive
    assert pool.score(paths[0].stem, paths[0])


def test_processes_are_renewed(model, paths, monkeypatch):
    monkeypatch.setattr(scoring_pool, "_TASKS_PER_PROCESS", 2)
    with ScoringPool(model) as pool:
        assert len({pool._processes.run(10, os.getpid) for _ in range(6)}) >= 3


def test_an_error_in_the_code_is_raised_as_it_is(pool):
    with pytest.raises(ZeroDivisionError):
        pool._processes.run(5, divmod, 1, 0)


def test_a_model_that_was_replaced_is_not_used(model, paths, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    with ScoringPool(folder) as pool:
        other, nights = ForestStager(n_trees=3), [open_night(path) for path in paths]
        labels = [np.arange(night.n_epochs) % 5 for night in nights]
        other.fit([other.prepare(night) for night in nights], labels).save(folder)  # even of another kind
        assert pool.score(paths[0].stem, paths[0])  # the process has the old one
        assert not pool.alive  # and the next process will not have it
        os.kill(pool._processes.run(5, os.getpid), signal.SIGKILL)
        with pytest.raises(ModelChanged, match=rf"expected model {pool.model_version}, found {other.version}"):
            pool.score(paths[0].stem, paths[0])
        assert not pool.alive
        shutil.rmtree(folder)
        os.kill(pool._processes.run(5, os.getpid), signal.SIGKILL)
        with pytest.raises(ModelChanged, match="found none that can be loaded") as changed:
            pool.score(paths[0].stem, paths[0])
        assert str(tmp_path) not in str(changed.value)
        shutil.copytree(model, folder)
        assert pool.alive  # without a night that tells
        assert pool.score(paths[0].stem, paths[0])


def test_other_code_of_another_packages_stager_scores_anew(tmp_path, monkeypatch):
    found = []
    for share in (0.2, 0.2, 0.3):
        path = tmp_path / "elsewhere.py"
        path.write_text(f"class Stager:\n    version, reads, share = 'a', 'night', {share}\n")
        spec = spec_from_file_location("elsewhere", path)
        sys.modules["elsewhere"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(scoring_pool, "_load", lambda folder, module=module: module.Stager())
        found.append(scoring_pool._describe(""))
    del sys.modules["elsewhere"]
    assert found[0] == found[1] and found[0][1] != found[2][1]


@pytest.mark.parametrize("kind", [kind for kind in stager_names() if stager_module(kind).startswith("dreem_case.")])
def test_every_kind_of_model_is_served_and_scores_features_as_it_scores_the_file(
    kind, request, short_training, paths, tmp_path
):
    stager, folder = new_stager(kind), tmp_path / "model"
    if kind == "time-of-night":
        stager.fit(*short_training).save(folder, {})
    elif hasattr(stager, "network"):  # one that has learned nothing is served like any other
        from dreem_case.transfer import network_stager

        stager.network = network_stager.KINDS[kind].build()
        stager.version = network_stager._version(stager)
        stager.save(folder, {})
    elif kind == "recurrent":
        folder = saved_model(kind, short_training, folder)
    else:
        kinds = {"blended": "short_blend", "boosted": "short_model", "forest": "short_forest"}
        folder = request.getfixturevalue(kinds[kind])
    with ScoringPool(folder) as pool:
        scored = pool.score("night-1", paths[0])
        assert json.loads(scored.details)["model_version"] == pool.model_version
        assert pool.alive and pool.model_version.startswith(kind)
        assert pool.scores_features == (kind in ("blended", "boosted", "forest", "recurrent"))
        if pool.scores_features:
            kept = pool.score("night-1", paths[0], keep_features=True)
            assert kept._replace(features=b"") == scored == pool.score("night-1", kept.features)


def test_what_is_no_file_and_no_features_is_told_apart(pool, tmp_path):
    (tmp_path / "torn.h5").write_bytes(b"no HDF5")
    with pytest.raises(NightRefused) as refused:
        pool.score("torn", tmp_path / "torn.h5")
    assert refused.value.code == "unreadable_file"
    with pytest.raises(FeaturesDamaged, match="night-1: expected packed features"):
        pool.score("night-1", b"no features")


MANIFESTS = [None, b"", b"[]", b"{}", b'{"version": 3}', b"\xff", b"[" * 10**5, b'"' + b"x" * 2_000_000 + b'"']


@pytest.mark.parametrize("content", MANIFESTS, ids=range(len(MANIFESTS)))
def test_without_a_manifest_that_says_so_the_model_is_not_there(model, tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    with ScoringPool(folder) as pool:
        assert pool.alive
        (folder / MANIFEST).unlink()
        if content is not None:
            (folder / MANIFEST).write_bytes(content)
        assert not pool.alive


def test_a_pipe_in_the_place_of_the_manifest_holds_nobody(tmp_path):
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(ModelError, match="found no such file"):
        ScoringPool(tmp_path)


def test_without_a_model_the_start_fails_with_the_loaders_words(tmp_path):
    with pytest.raises(ModelError, match="expected a model's manifest, found no such file"):
        ScoringPool(tmp_path)


def test_with_too_little_memory_for_the_model_the_start_fails(model, monkeypatch):
    monkeypatch.setattr(scoring_pool, "_describe", run_out_of_memory)
    with pytest.raises(PoolError, match="expected a model that loads within 1500 MB and 30 s, found MemoryError"):
        ScoringPool(model)


def run_out_of_memory(folder):
    bytearray(10**10)


def test_a_pool_whose_locks_have_no_place_says_so(model, monkeypatch):
    active = PropertyMock(side_effect=OSError(30, "Read-only file system"))
    monkeypatch.setattr("dreem_case.serving.scoring_pool._Pool.active", active)
    monkeypatch.setattr("dreem_case.serving.scoring_pool._Pool.end", lambda pool: None)
    with pytest.raises(PoolError, match=r"shared memory \(/dev/shm\), found \[Errno 30\] Read-only file system"):
        ScoringPool(model)


def test_a_closed_pool_has_no_processes_and_says_so(model, paths):
    pool = ScoringPool(model)
    pid = pool._processes.run(5, os.getpid)
    assert is_running(pid)
    pool.close()
    pool.close()
    assert not is_running(pid)
    assert not pool.alive
    with pytest.raises(PoolError, match="expected a running pool, found a closed one"):
        pool.score(paths[0].stem, paths[0])


def score_when_told(folder, version, record, path, marker):
    """Score a night once a file is there; say first that this one is in work."""
    with Path(f"{marker}.begun").open("a") as begun:
        begun.write(f"{record}\n")
    while not Path(marker).exists():
        time.sleep(0.01)
    return scoring_pool._score(folder, version, record, path, marker)


def test_a_night_in_work_when_the_pool_is_closed_is_told_so_at_once(model, paths, tmp_path, monkeypatch):
    begun = tmp_path / "go.begun"
    with ScoringPool(model, time_limit_s=600) as pool, ThreadPoolExecutor(2) as threads:
        monkeypatch.setattr(scoring_pool, "_score", score_when_told)
        nights = [threads.submit(pool.score, "night-1", paths[0], str(tmp_path / "go")) for _ in range(2)]
        until(begun.exists)
        pool.close()
        for night in nights:
            assert isinstance(night.exception(60), PoolError)  # a tenth of the time limit


def test_a_night_beside_one_that_is_stuck_is_scored_all_the_same(model, paths, tmp_path, monkeypatch):
    go, begun = tmp_path / "go", tmp_path / "go.begun"
    with ScoringPool(model, n_processes=2, time_limit_s=600) as pool, ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(scoring_pool, "_score", score_when_told)
        night = threads.submit(pool.score, "night-1", paths[0], str(go))
        until(begun.exists)
        pool._processes._replace(pool._processes._pool)  # what a process that keeps no limit brings about
        until(lambda: begun.read_text() == "night-1\n" * 2)
        go.touch()
        assert json.loads(night.result(60)[1])["record"] == "night-1"


def test_a_pool_that_ends_before_a_night_is_begun_is_no_error_of_the_night(model, paths, monkeypatch):
    with ScoringPool(model) as pool:
        ended, running = pool._processes._pool, pool._processes.running
        pool._processes._replace(ended)
        pools = iter([ended])
        monkeypatch.setattr(pool._processes, "running", lambda: next(pools, None) or running())
        assert pool.score(paths[0].stem, paths[0])


WORK = {
    "Python code": "pool._processes.run(60, exec, 'while True: pass')",
    "C code that lets no thread run": "pool._processes.run(1, sum, range(10**10))",
}


@pytest.mark.parametrize("work", WORK)
def test_a_process_ends_when_its_parent_is_killed(model, work):
    code = (
        "import os, sys\nfrom threading import Timer\nfrom dreem_case.serving.scoring_pool import ScoringPool\n"
        "pool = ScoringPool(sys.argv[1])\n"
        "print(pool._processes.run(5, os.getpid), flush=True)\n"
        "Timer(0.2, print, ['working'], {'flush': True}).start()\n" + WORK[work]
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(model)], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "working\n"
        assert is_running(pid)
        parent.kill()
        until(lambda: not is_running(pid), 10)
    finally:
        parent.kill()
        parent.communicate(timeout=20)
