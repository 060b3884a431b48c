"""The server as it runs: gunicorn with two worker processes, and `flask run`, on loopback."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import h5py
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dreem_case.core.files import spool_folder
from dreem_case.nights.casefile import open_night
from dreem_case.serving import gunicorn_config
from dreem_case.serving.gunicorn_config import graceful_timeout, threads
from dreem_case.serving.settings import MAX_WAITING, PREFIX, Settings
from dreem_case.staging.score import score_night
from dreem_case.staging.stagers import load_stager
from tests.conftest import ROOT, until

CONFIG = "dreem_case.serving.gunicorn_config"
GUNICORN = ["gunicorn", "-c", f"python:{CONFIG}", "--bind", "127.0.0.1:0", "dreem_case.api:create_app()"]
FLASK = ["flask", "run", "--port", "0"]
LIMIT_S = 60


class Server:
    """A server in a process of its own."""

    def __init__(self, command: list[str], folder: Path, **settings: object):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {PREFIX + name.upper(): str(value) for name, value in settings.items()}
        environment |= {"TMPDIR": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        folder.mkdir()
        self.folder, self._log = folder, folder / "log.txt"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def __enter__(self) -> "Server":
        found = until(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", self.log) or self.process.poll() is not None)
        assert found is not True, self.log
        self.port = int(found[1])
        until(lambda: self.get("/healthz", none_if_gone=True))
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        finally:
            for pid in descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, none_if_gone: bool = False):
        """Return status, headers and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, HTTPException):
            if none_if_gone:
                return None
            raise
        finally:
            connection.close()

    def numbers(self) -> dict:
        """Return what the server has counted."""
        families = text_string_to_metric_families(self.get("/metrics")[2].decode())
        found = {}
        for sample in (sample for family in families for sample in family.samples):
            labels = [value for _, value in sorted(sample.labels.items())]
            found[sample.name.removeprefix("dreem_case_"), *labels] = sample.value
        return found

    def workers(self) -> list[int]:
        return [pid for pid, (parent, _) in processes().items() if parent == self.process.pid]


def processes() -> dict[int, tuple[int, int]]:
    """List all processes: parent, and processor time in clock ticks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        found[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return found


def descendants(pid: int) -> list[int]:
    listed = processes()
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        children = [child for child, (of, _) in listed.items() if of == parent]
        found, todo = found + children, todo + children
    return found


@pytest.fixture(scope="module")
def nights(short_nights, tmp_path_factory):
    """Copies of a short night, and nights of four hours that take a while."""
    folder = tmp_path_factory.mktemp("served")
    first = min((short_nights / "h5").glob("*.h5"))
    for i in range(8):
        shutil.copy(first, folder / f"short-{i}.h5")
    with h5py.File(first) as file:
        signals = {name: np.tile(file[name][:], 6) for name in ("eeg1", "eeg2")}
    for i in range(3):
        with h5py.File(folder / f"long-{i}.h5", "w") as file:
            for name, values in signals.items():
                file[name] = values
    return folder


@pytest.fixture(scope="module")
def expected(nights, short_model):
    """What the library says about a night."""
    stager, known = load_stager(short_model), {}

    def stages(record: str) -> list[str]:
        kind = record.partition("-")[0]
        if kind not in known:
            known[kind] = score_night(open_night(nights / f"{kind}-0.h5"), stager).stage_names
        return known[kind]

    return stages


@pytest.fixture(scope="module")
def given(nights, short_model, tmp_path_factory):
    """The settings of all servers here."""
    return {"store": nights, "model": short_model, "cache": tmp_path_factory.mktemp("cache")}


@pytest.fixture(scope="module")
def server(given, tmp_path_factory):
    """A server that several tests share; each asks for nights that no other does."""
    with Server(GUNICORN, tmp_path_factory.mktemp("server") / "run", **given) as server:
        yield server


def ask_at_once(server: Server, paths: list[str]) -> list:
    """Ask for all of these at the same moment; None for an answer that never came."""
    together = threading.Barrier(len(paths))

    def ask(path: str):
        together.wait(LIMIT_S)
        return server.get(path, none_if_gone=True)

    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(ask, paths))


def test_a_hundred_who_ask_at_once_all_get_the_night_that_is_computed_once(server, expected):
    before = server.numbers()
    answers = ask_at_once(server, ["/hypnogram/short-0"] * 100)
    assert [status for status, _, _ in answers] == [200] * 100
    assert all(json.loads(body) == expected("short-0") for _, _, body in answers)
    assert len({headers["ETag"] for _, headers, _ in answers}) == 1
    after = server.numbers()
    assert after["nights_total", "scored"] - before.get(("nights_total", "scored"), 0) == 1
    asked = "requests_total", "hypnogram", "GET", "200"
    assert after[asked] - before.get(asked, 0) == 100


def test_the_numbers_are_those_of_all_workers(server):
    before = server.numbers().get(("requests_total", "records", "GET", "200"), 0)
    for n in range(1, 41):
        assert server.get("/records")[0] == 200
        assert server.numbers()["requests_total", "records", "GET", "200"] == before + n
    until(lambda: server.numbers()["requests_in_progress",] == 1)  # the one that asks


def test_a_server_at_its_limit_sends_away_at_once_and_stays_healthy(given, nights, expected, tmp_path):
    settings = {**given, "cache": tmp_path / "cache", "queue": 0, "waiting": 2}
    with Server(GUNICORN, tmp_path / "run", **settings) as server, ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(server.get, f"/hypnogram/{'long' if i % 2 else 'short'}-{i % 3}") for i in range(60)]
        took = []
        while not all(future.done() for future in asked):
            start = time.monotonic()
            assert server.get("/healthz")[0] == 200
            took.append(time.monotonic() - start)
        answers = [future.result() for future in asked]
    assert statistics.median(took) < 1
    assert {status for status, _, _ in answers} == {200, 503}
    for i, (status, headers, body) in enumerate(answers):
        if status == 200:
            assert json.loads(body) == expected(f"{'long' if i % 2 else 'short'}-0")
        else:
            assert int(headers["Retry-After"]) >= 1


def test_a_worker_that_is_killed_in_the_middle_of_a_night_costs_nothing_but_its_own_requests(server, given, expected):
    def spent():
        listed = processes()
        return {pid: sum(listed[p][1] for p in descendants(pid) if p in listed) for pid in server.workers()}

    before = spent()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.get, "/hypnogram/long-0", none_if_gone=True) for _ in range(8)]
        until(lambda: max(spent()[pid] - before[pid] for pid in before) >= 10)
        computing = max(before, key=lambda pid: spent()[pid] - before[pid])
        os.kill(computing, signal.SIGKILL)
        answers = [future.result() for future in asked]
    assert None in answers  # it was in the middle
    for status, _, body in filter(None, answers):
        assert (status, json.loads(body)) == (200, expected("long-0"))
    until(lambda: len(server.workers()) == 2 and computing not in server.workers())
    status, _, body = server.get("/hypnogram/long-0")
    assert (status, json.loads(body)) == (200, expected("long-0"))
    assert not [path for path in given["cache"].rglob("*") if "part" in path.name or "tmp" in path.name]
    until(lambda: server.numbers()["requests_in_progress",] == 1)


def test_the_numbers_outlive_who_works_beside_the_server_and_a_worker_that_is_killed(given, tmp_path):
    listed = "requests_total", "records", "GET", "200"
    with Server(GUNICORN, tmp_path / "run", **given) as server:
        for _ in range(5):
            server.get("/records")
        with spool_folder(server.folder):  # the server's own TMPDIR
            before = server.workers()
            os.kill(before[0], signal.SIGKILL)
            until(lambda: len(server.workers()) == 2 and before[0] not in server.workers())
            assert server.numbers()[listed] == 5
        assert {server.get("/records")[0] for _ in range(5)} == {200}
        assert server.numbers()[listed] == 10
        assert "Traceback" not in server.log


def test_a_worker_that_was_only_just_forked_hears_that_the_server_ends(given, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        f"import signal, time\nfrom {CONFIG} import *\n"
        "def post_fork(server, worker):\n"
        "    while worker.age > 2 and signal.SIGTERM not in signal.sigpending():\n"
        "        time.sleep(0.01)\n"
    )
    with Server(["gunicorn", "-c", str(config), *GUNICORN[3:]], tmp_path / "run", **given) as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and before[0] not in server.workers())
    assert server.process.returncode == 0 and "Traceback" not in server.log  # and within LIMIT_S


@pytest.fixture
def impatient(tmp_path):
    """The command of a server that waits a second for a request's head."""
    (tmp_path / "config.py").write_text(f"from {CONFIG} import *\nimport {CONFIG}\n{CONFIG}.HEAD_S = 1.0\n")
    return ["gunicorn", "-c", str(tmp_path / "config.py"), "--workers", "1", "--threads", "4", *GUNICORN[3:]]


def test_requests_that_are_half_sent_do_not_keep_the_others_out(given, expected, tmp_path, impatient):
    with Server(impatient, tmp_path / "run", **given) as server:
        half = [socket.create_connection(("127.0.0.1", server.port), LIMIT_S) for _ in range(12)]
        try:
            for connection in half:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
            assert server.get("/healthz")[0] == 200
            assert [connection.recv(1) for connection in half] == [b""] * 12
        finally:
            for connection in half:
                connection.close()
        status, _, body = server.get("/hypnogram/long-2")  # takes longer than a request's head may
        assert (status, json.loads(body)) == (200, expected("long-2"))
        assert "Traceback" not in server.log


def test_a_request_that_drips_is_given_up_too(given, tmp_path, impatient):
    with (
        Server(impatient, tmp_path / "run", **given) as server,
        socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as dripping,
    ):
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nX:")

        def is_over() -> bool:
            try:
                dripping.sendall(b"x")
            except OSError:
                return True
            return False

        until(is_over)


def test_a_server_that_is_told_to_stop_finishes_what_it_does_and_leaves_nothing(given, expected, tmp_path):
    with Server(GUNICORN, tmp_path / "run", **given) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.get, "/hypnogram/long-1")
        until(lambda: server.numbers()["requests_in_progress",] == 2)
        started = descendants(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        status, _, body = asked.result()
        assert (status, json.loads(body)) == (200, expected("long-1"))
        assert server.process.wait(LIMIT_S) == 0
        until(lambda: not set(started) & set(processes()))
        assert [path.name for path in server.folder.iterdir()] == ["log.txt"]
        assert "Traceback" not in server.log


def test_there_is_a_thread_for_each_who_may_wait_and_some_more():
    assert threads >= MAX_WAITING + 16
    assert graceful_timeout > Settings().time_limit_s


@pytest.mark.parametrize(
    ("command", "wrong", "message"),
    [
        (FLASK, {"queue": "many"}, "DREEM_CASE_QUEUE: expected a whole number from 0 to 1000, found 'many'; unset"),
        (GUNICORN, {"model": "nowhere"}, "expected a model's manifest, found no such file; set DREEM_CASE_MODEL to a"),
        (GUNICORN, {"metrics": "/dev/null/none"}, "DREEM_CASE_METRICS: expected a folder that can be written, found "),
    ],
    ids=["flask", "gunicorn", "metrics"],
)
def test_a_wrong_setting_ends_the_start_with_a_message_and_no_trace(given, tmp_path, command, wrong, message):
    server = Server(command, tmp_path / "run", **{**given, **wrong})
    assert server.process.wait(LIMIT_S) == 1
    assert re.search(f"^Error: .*{re.escape(message)}", server.log, re.M)
    assert "Traceback" not in server.log
    assert [path.name for path in server.folder.iterdir()] == ["log.txt"]


def test_bare_flask_run_serves(given, expected, tmp_path):
    with Server(FLASK, tmp_path / "run", **given) as server:
        status, _, body = server.get("/hypnogram/short-0")
        assert (status, json.loads(body)) == (200, expected("short-0"))
        started = descendants(server.process.pid)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(LIMIT_S)
        until(lambda: not set(started) & set(processes()))
        assert "Traceback" not in server.log


def test_a_server_whose_temporary_files_are_removed_goes_on(given, tmp_path):
    """A machine cleans its folder for temporary files: numbers begin anew, and no process is lost for good."""
    with Server(GUNICORN, tmp_path / "run", **given) as server:
        until(lambda: server.get("/readyz")[0] == 200)
        before = set(server.workers())
        (numbers,) = server.folder.glob("dreem-case-metrics-*")
        begun = {path: path.read_bytes() for path in numbers.glob("gauge_livesum_*.db")}
        for path in server.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        assert server.get("/metrics")[0] == 200
        for path, content in begun.items():  # as where a process counts the first of a kind only now
            path.write_bytes(content)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
        until(lambda: server.get("/readyz", none_if_gone=True) and server.get("/readyz")[0] == 200)
        assert server.get("/hypnogram/short-7/details")[0] == 200
        assert server.numbers()["requests_total", "details", "GET", "200"] == 1


def test_the_numbers_lie_where_the_settings_say(given, tmp_path):
    with Server(GUNICORN, tmp_path / "run", metrics=tmp_path / "numbers" / "here", **given) as server:
        assert server.get("/metrics")[0] == 200
        assert any((tmp_path / "numbers" / "here").rglob("*.db"))
    assert not any((tmp_path / "numbers" / "here").iterdir())


def test_a_connection_stays_open_longer_than_a_load_balancers(monkeypatch):
    assert gunicorn_config.keepalive == Settings().keepalive_s > 60
    monkeypatch.setenv("DREEM_CASE_KEEPALIVE_S", "620")
    assert gunicorn_config._keepalive_s() == 620
    monkeypatch.setenv("DREEM_CASE_KEEPALIVE_S", "for ever")  # which the check before the start says
    assert gunicorn_config._keepalive_s() == Settings().keepalive_s
