"""Workers, here and on a Dask cluster: what is killed is done again, and who kills its worker fails alone."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from dreem_case.core import workers
from dreem_case.core.workers import DaskWorkers, Done, LocalWorkers, WorkersError
from tests.conftest import until

ITEMS = [f"night-{i}" for i in range(6)]


def upper(item):
    return item.upper()


def pid(item):
    return os.getpid()


def die_once(folder, item):
    """Kill this process for one of the items, the first time."""
    marker = Path(folder) / "died"
    if item == "night-2" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return item.upper()


def die(item):
    """Kill this process for one of the items, each time."""
    if item == "night-2":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return item.upper()


def test_where_locks_have_no_place_processes_cannot_start_and_that_is_said(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", MagicMock(side_effect=OSError(30, "Read-only file system")))
    said = r"expected processes that can start, .* \(/dev/shm\), found \[Errno 30\] Read-only file system"
    with LocalWorkers(2) as made, pytest.raises(WorkersError, match=said):
        list(made.run(upper, ITEMS))
    with pytest.raises(OSError, match=said):  # which commands end with
        workers.run_all(upper, ITEMS)


@pytest.fixture(scope="module")
def scheduler():
    """A Dask scheduler with two worker processes, on loopback."""
    import dask.config
    from distributed import LocalCluster

    with (
        pytest.MonkeyPatch.context() as patch,
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster,
    ):
        patch.setattr(workers, "WORKERS_S", 300)  # a busy machine takes its time to start those that were killed
        yield cluster


@pytest.fixture(params=["local", pytest.param("dask", marks=pytest.mark.slow)])
def some(request):
    if request.param == "local":
        yield LocalWorkers(2)
    else:
        with DaskWorkers(request.getfixturevalue("scheduler").scheduler_address) as found:
            yield found


def test_each_item_is_done_once(some):
    found = list(some.run(upper, ITEMS))
    assert sorted(found) == [Done(item, item.upper()) for item in ITEMS]
    assert list(some.run(upper, [])) == []


def test_a_worker_that_is_killed_loses_nothing(some, tmp_path):
    found = list(some.run(partial(die_once, tmp_path), ITEMS))
    assert sorted(found) == [Done(item, item.upper()) for item in ITEMS]
    assert (tmp_path / "died").exists()


def test_who_kills_its_worker_each_time_fails_alone(some):
    found = {done.item: done for done in some.run(die, ITEMS)}
    assert "died" in found["night-2"].lost
    assert found.pop("night-2").value is None
    assert sorted(found.values()) == [Done(item, item.upper()) for item in ITEMS if item != "night-2"]


def count(folder, item):
    """Leave a file for each call, and kill this process for one of the items."""
    (Path(folder) / f"{item}.{uuid.uuid4().hex}").touch()
    return die(item)


def test_who_dies_takes_nobodys_work_with_it(tmp_path):
    with LocalWorkers(2) as local:
        assert len(list(local.run(partial(count, tmp_path), ITEMS))) == len(ITEMS)
    calls = Counter(path.stem for path in tmp_path.iterdir())
    assert calls == {item: 2 if item == "night-2" else 1 for item in ITEMS}


def test_an_error_in_the_function_is_raised_as_it_is(some):
    with pytest.raises(AttributeError):
        list(some.run(upper, [3]))


def test_a_run_that_is_left_leaves_nobody_behind():
    local = LocalWorkers(2)
    run = local.run(pid, ITEMS)
    process = next(run).value
    run.close()
    until(lambda: not Path(f"/proc/{process}").exists())


def test_workers_end_when_their_parent_is_killed():
    code = (
        "from dreem_case.core.workers import LocalWorkers\nfrom tests.core.test_workers import pid\n"
        "for done in LocalWorkers(1).run(pid, ['night-1', 'night-2']):\n"
        "    print(done.value, flush=True)\n    input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        process = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not Path(f"/proc/{process}").exists())


@pytest.mark.slow
def test_workers_of_another_version_end_a_run(scheduler, monkeypatch):
    monkeypatch.setattr(workers, "_versions", lambda: {**there, "dreem_case": "0.0.1 (abc)", "numpy": "1.0"})
    there = workers.library_versions()
    with DaskWorkers(scheduler.scheduler_address) as found:
        pattern = r"expected workers with dreem_case 0.0.1 \(abc\), numpy 1.0, found dreem_case .*, numpy .* at tcp://"
        with pytest.raises(WorkersError, match=pattern):
            list(found.run(upper, ITEMS))


@pytest.mark.slow
def test_workers_that_go_and_come_lose_nothing_and_workers_that_stay_away_end_a_run(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(workers, "_LOOK_S", 0.1)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster,
        DaskWorkers(cluster.scheduler_address) as found,
    ):
        run = found.run(upper, ITEMS)
        done = [next(run)]
        os.kill(cluster.workers[0].pid, signal.SIGKILL)  # its nanny starts another
        assert sorted([*done, *run]) == [Done(item, item.upper()) for item in ITEMS]
        monkeypatch.setattr(workers, "WORKERS_S", 0.5)
        cluster.scale(0)
        until(lambda: not found._count_threads())
        with pytest.raises(WorkersError, match=r"expected workers at the scheduler tcp://.*, found none in 0.5 s"):
            list(found.run(upper, ITEMS))


def test_a_scheduler_that_is_not_there_is_an_error_within_seconds(monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_S", 1.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        start = time.monotonic()
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(WorkersError, match=f"expected a Dask scheduler at {address}, found none in 1 s"):
            DaskWorkers(address)
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("address", ["nonsense", "ftp://host:1", "tcp://", "tcp://host", "tcp://host:8786/x", ""])
def test_an_address_that_is_none_is_an_error_before_anybody_is_asked(address, monkeypatch):
    monkeypatch.setattr("distributed.Client", None)
    with pytest.raises(WorkersError, match="expected a Dask scheduler's address, tcp://host:8786, found"):
        DaskWorkers(address)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "expected an answer of the scheduler tcp://host:8786, found none"),
        (OSError("closed"), "expected the scheduler tcp://host:8786, found that it has gone"),
    ],
)
def test_a_scheduler_that_is_silent_and_one_that_has_gone_are_told_apart(error, said, monkeypatch):
    client = MagicMock()
    client.return_value.sync.side_effect = error
    monkeypatch.setattr("distributed.Client", client)
    with pytest.raises(WorkersError, match=f"^{said}$"):
        list(DaskWorkers("tcp://host:8786").run(upper, ITEMS))


def test_without_distributed_the_error_names_it():
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from dreem_case.core.workers import DaskWorkers, WorkersError\n"
        "try: DaskWorkers('tcp://127.0.0.1:1')\nexcept WorkersError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "expected the package distributed, found none" in run.stdout
