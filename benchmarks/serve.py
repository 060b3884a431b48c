"""The endpoint under load, under hostile input and under accidents: gunicorn with two workers, all on loopback.

`make bench` runs this and leaves build/bench/serve.json. The load generator, wrk where it is installed, shares the
machine with the server; ratios compare steps of this run.
"""

import json
import logging
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/bench"
N_NIGHTS, NIGHT_HOURS, LONG_HOURS = 20, 1, 8
N_FIRST = 5  # first answers that are timed
N_LOADS, LOAD_S, CONNECTIONS = 3, 3, 16
LIMIT_S = 180  # for anything that is waited for
FUZZ_TIMES = 10  # as much as the tests do

# What is served


def write_nights(folder: Path) -> tuple[str, list[str]]:  # the long night, and the shorter ones
    """Simulate a night of eight hours, and cut different hours out of it."""
    from dreem_case.nights.casefile import open_night, write_night
    from dreem_case.simulate.nights import write_default_nights

    write_default_nights(folder, n_nights=1, hours=LONG_HOURS)
    (path,) = (folder / "h5").glob("*.h5")
    night, n_epochs = open_night(path), NIGHT_HOURS * 120
    starts = [i * (night.n_epochs - n_epochs) // (N_NIGHTS - 1) for i in range(N_NIGHTS)]
    for i, start in enumerate(starts):
        part = night.crop(start, start + n_epochs - i)  # each of another length, so that a mix-up shows
        object.__setattr__(part, "record", f"night-{i}")
        write_night(part, folder)
    return path.stem, [f"night-{i}" for i in range(N_NIGHTS)]


class Library:
    """A process that scores files by the library, its model loaded before."""

    def __init__(self, model: Path):
        command = [sys.executable, __file__, "library", str(model)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def score(self, path: Path) -> tuple[float, list[str]]:  # seconds, stages
        """Score a night."""
        print(path, file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return answer["seconds"], answer["stages"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def answer_as_library(model: str) -> None:
    """Score the nights whose paths come in, until there are no more."""
    from dreem_case.nights.casefile import open_night
    from dreem_case.staging.score import score_night
    from dreem_case.staging.stagers import load_stager

    stager = load_stager(model)
    for line in sys.stdin:
        start = time.perf_counter()
        stages = score_night(open_night(line.rstrip("\n")), stager).stage_names
        print(json.dumps({"seconds": time.perf_counter() - start, "stages": stages}), flush=True)


# The server


class Server:
    """Gunicorn on a free port of loopback, with what it takes in memory."""

    def __init__(self, folder: Path, store: str, model: Path, **environment: str):
        folder.mkdir()
        self.folder, self.peaks_mb = folder, {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DREEM_CASE_")}
        own = {"STORE": store, "MODEL": str(model), "CACHE": str(folder / "cache")}
        kept |= {f"DREEM_CASE_{name}": value for name, value in own.items()} | {"TMPDIR": str(folder)} | environment
        config = "python:dreem_case.serving.gunicorn_config"
        command = [sys.executable, "-m", "gunicorn", "-c", config, "--bind", "127.0.0.1:0"]
        self.log = folder / "log.txt"
        with self.log.open("wb") as log:
            command.append("dreem_case.api:create_app()")
            self.process = subprocess.Popen(command, cwd=ROOT, env=kept, stdout=log, stderr=log)

    def __enter__(self) -> "Server":
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        try:
            address = r"http://127\.0\.0\.1:(\d+)"
            self.port = int(until(lambda: re.search(address, self.log.read_text(encoding="utf-8")))[1])
            until(lambda: self.get("/readyz", or_none=True))
        except TimeoutError:
            self.process.kill()
            raise RuntimeError(self.log.read_text(encoding="utf-8")[-2000:]) from None
        self._watching.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._watching.join()
        left = descendants(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in [self.process.pid, *left]:
                end(pid)
            self.process.wait()

    def get(self, path: str, or_none: bool = False, **headers: str):
        """Return status, headers and body; None, if that is allowed, where nobody answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except OSError:
            if or_none:
                return None
            raise
        finally:
            connection.close()

    def hypnogram(self, record: str) -> tuple[list[str], int]:  # stages, how often it said "later"
        """Get a hypnogram, as often as the server says "later"."""
        n_later, deadline = 0, time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            status, headers, body = self.get(f"/hypnogram/{record}")
            if status == 200:
                return json.loads(body), n_later
            if status != 503:
                raise RuntimeError(f"{record}: {status} {body[:500]}")
            n_later += 1
            time.sleep(int(headers["Retry-After"]))
        raise TimeoutError(record)

    def workers(self) -> list[int]:
        """List the worker processes."""
        return [pid for pid, parent in parents().items() if parent == self.process.pid]

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for worker in self.workers():
                now = sum(memory_mb(pid) for pid in [worker, *descendants(worker)])
                self.peaks_mb[worker] = max(now, self.peaks_mb.get(worker, 0))


def parents() -> dict[int, int]:
    """Return every process's parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    return found


def descendants(pid: int) -> list[int]:
    """List a process's children, their children, and so on."""
    known, found = parents(), [pid]
    for parent in found:
        found += [child for child, of in known.items() if of == parent]
    return found[1:]


def memory_mb(pid: int) -> float:
    """Return a process's memory, its share of what it shares with others included."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M)[1]) / 1024


def end(pid: int) -> None:
    """Kill a process that may have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def until(condition, limit_s: float = 60):
    """Wait until a condition holds, and return what it gives."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError


# What is measured


def first_answers(server: Server, library: Library, path: Path) -> dict:
    """Time the answer for a night that is new to the server, and the library call for the same file, in turn."""
    seconds = {"server": [], "library": []}
    for _ in range(N_FIRST + 1):
        path.touch()  # so that no result counts for it
        start = time.perf_counter()
        stages, _ = server.hypnogram(path.stem)
        seconds["server"].append(time.perf_counter() - start)
        taken, expected = library.score(path)
        seconds["library"].append(taken)
        if stages != expected:
            raise RuntimeError("the server's answer is not the library's")
    served, called = (statistics.median(seconds[kind][1:]) for kind in ("server", "library"))  # both warm
    return {
        "first_answer_s": round(served, 2),
        "library_call_s": round(called, 2),
        "first_answer_ratio": round(served / called, 2),
    }


def load(server: Server, requests: list[tuple[str, str]]) -> dict:  # paths, each with an ETag or ""
    """Ask for paths in turn over several connections; return requests/s, p99 in ms, and errors."""
    script = server.folder / "load.lua"
    wanted = ", ".join(
        f'wrk.format("GET", {json.dumps(path)}, {{["If-None-Match"] = {json.dumps(tag) if tag else "nil"}}})'
        for path, tag in requests
    )
    script.write_text(
        f"""
        local requests, i = nil, 0
        request = function()
          requests = requests or {{{wanted}}}
          i = i % #requests + 1
          return requests[i]
        end
        done = function(summary, latency)
          local errors = 0
          for _, count in pairs(summary.errors) do errors = errors + count end
          io.write(string.format("%.1f %.2f %d", summary.requests / summary.duration * 1e6,
            latency:percentile(99) / 1000, errors))
        end
        """, encoding="utf-8")
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{LOAD_S}s", "-s", str(script)]
    command.append(f"http://127.0.0.1:{server.port}")
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LOAD_S + 30)
    per_s, p99_ms, errors = run.stdout.splitlines()[-1].split()
    return {"requests_per_s": round(float(per_s)), "p99_ms": float(p99_ms), "errors": int(errors)}


def load_without_wrk(server: Server, requests: list[tuple[str, str]]) -> dict:
    """Do the same with threads of this process, which is far slower."""
    milliseconds, errors, stop = [], [], time.monotonic() + LOAD_S

    def ask(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
        rng = random.Random(number)
        while time.monotonic() < stop:
            path, tag = rng.choice(requests)
            start = time.perf_counter()
            connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
            response = connection.getresponse()
            response.read()
            milliseconds.append(1000 * (time.perf_counter() - start))
            if response.status >= 400:
                errors.append(response.status)
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(ask, range(CONNECTIONS)))
    p99_ms = statistics.quantiles(milliseconds, n=100)[-1]
    return {"requests_per_s": round(len(milliseconds) / LOAD_S), "p99_ms": round(p99_ms, 2), "errors": len(errors)}


@contextmanager
def checked_answers(server: Server, expected: dict[str, list[str]]):
    """Compare answers with the library's while the block runs, and see how long /healthz takes."""
    found, stop = {"checked": 0, "wrong": 0, "slowest_healthz_ms": 0.0}, threading.Event()

    def check() -> None:
        rng = random.Random(0)
        while expected and not stop.wait(0.02):
            record = rng.choice(sorted(expected))
            stages, _ = server.hypnogram(record)
            found["checked"] += 1
            found["wrong"] += stages != expected[record]

    def look() -> None:
        while not stop.wait(0.1):
            start = time.perf_counter()
            status, _, _ = server.get("/healthz")
            found["wrong"] += status != 200
            taken_ms = round(1000 * (time.perf_counter() - start), 1)
            found["slowest_healthz_ms"] = max(found["slowest_healthz_ms"], taken_ms)

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(check), threads.submit(look)]
        try:
            yield found
        finally:
            stop.set()
            for thread in running:
                thread.result()


def load_runs(server: Server, expected: dict[str, list[str]]) -> dict:
    """Measure cached answers, details and 304s in turn, while a second client compares answers with the library's."""
    paths = [f"/hypnogram/{record}" for record in expected]
    tags = [server.get(path)[1]["ETag"] for path in paths]
    kinds = {
        "cached": [(path, "") for path in paths],
        "details": [(f"{path}/details", "") for path in paths],
        "not_modified": list(zip(paths, tags, strict=True)),
    }
    ask = load if shutil.which("wrk") else load_without_wrk
    with checked_answers(server, expected) as checks:
        runs = [{kind: ask(server, requests) for kind, requests in kinds.items()} for _ in range(N_LOADS)]
    figures = {"load_tool": "wrk" if ask is load else "threads of Python (no wrk here)"}
    for kind in kinds:
        for figure in "requests_per_s", "p99_ms":
            figures[f"{kind}_{figure}"] = statistics.median(run[kind][figure] for run in runs)
    figures["load_errors"] = sum(found["errors"] for run in runs for found in run.values())
    return figures | {"wrong_answers": checks.pop("wrong"), "load_checks": checks}


def all_at_once(server: Server, folder: Path, expected: dict[str, list[str]], records: list[str]) -> dict:
    """Ask for all nights at once, none of them in the cache."""
    for record in records:
        (folder / "h5" / f"{record}.h5").touch()
    start = time.perf_counter()
    with checked_answers(server, {}) as checks, ThreadPoolExecutor(len(records)) as threads:
        answers = list(threads.map(server.hypnogram, records))
    return {
        "nights": len(records),
        "seconds": round(time.perf_counter() - start, 1),
        "told_to_come_later": sum(n_later for _, n_later in answers),
        "wrong": sum(stages != expected[record] for record, (stages, _) in zip(records, answers, strict=True)),
        "slowest_healthz_ms": checks["slowest_healthz_ms"],
    }


def killed_workers(server: Server, path: Path, expected: list[str], usual_s: float) -> dict:
    """Kill the workers while a night is scored; the next request has to be right, and nothing half done left."""
    path.touch()
    before = server.workers()
    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(server.get, f"/hypnogram/{path.stem}", True)
        time.sleep(usual_s / 3)
        left = [pid for worker in before for pid in descendants(worker)]
        for worker in before:
            end(worker)
        was_lost = lost.result() is None
    start = time.perf_counter()
    until(lambda: len(set(server.workers()) - set(before)) == len(before))
    until(lambda: server.get("/readyz", or_none=True))
    stages, _ = server.hypnogram(path.stem)
    seconds = time.perf_counter() - start
    until(lambda: not set(left) & set(parents()))  # what the dead workers had started ends by itself
    partial = [entry.name for entry in (server.folder / "cache").iterdir() if entry.name == "partial"]
    return {
        "request_was_lost": was_lost,
        "next_is_right": stages == expected,
        "next_s": round(seconds, 1),
        "left": partial,
    }


# The bucket


class Cutter:
    """A stand-in for the network between server and bucket, which breaks off in mid-download when told to."""

    def __init__(self, target: tuple[str, int]):
        self.cut_after, self.n_cut, self._target = None, 0, target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, may_cut: bool) -> None:
        n_bytes = 0
        try:
            while part := source.recv(2**16):
                n_bytes += len(part)
                if may_cut and self.cut_after is not None and n_bytes > self.cut_after:
                    self.n_cut += 1
                    break
                sink.sendall(part)
        except OSError:
            pass
        for end_of_line in (source, sink):
            try:
                end_of_line.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def cut_downloads(folder: Path, model: Path, path: Path, expected: list[str]) -> dict:
    """Serve a bucket, break every download off, then none; nothing half loaded may be left or served."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    bucket = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    bucket.start()
    host, port = bucket.get_host_and_port()
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="nights")
    client.upload_file(str(path), "nights", f"h5/{path.name}")
    cutter = Cutter((host, port))
    aws = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    aws["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{cutter.port}"
    try:
        with Server(folder, "s3://nights", model, **aws) as server:
            cutter.cut_after = path.stat().st_size // 3
            start = time.perf_counter()
            status, headers, _ = server.get(f"/hypnogram/{path.stem}")
            cut_s = time.perf_counter() - start
            left = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix in (".h5", ".part")]
            left += [entry.name for entry in (folder / "cache").glob("*.entry")]
            cutter.cut_after = None
            stages, _ = server.hypnogram(path.stem)
    finally:
        cutter.close()
        bucket.stop()
    return {
        "broken_off": cutter.n_cut,
        "status": status,
        "retry_after": headers["Retry-After"],
        "seconds": round(cut_s, 1),
        "left": left,
        "next_is_right": stages == expected,
    }


def fuzz() -> dict:
    """Run the fuzz tests, ten times as long as `make test` does."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-rf", "--show-capture=no", *map(str, ROOT.glob("tests/test_fuzz_*.py"))]
    environment = os.environ | {"FUZZ_TIMES": str(FUZZ_TIMES)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    figures = {
        "times_make_test": FUZZ_TIMES,
        "passed": run.returncode == 0,
        "seconds": round(time.perf_counter() - start),
    }
    return figures if run.returncode == 0 else figures | {"failure": run.stdout[-3000:]}


def main() -> None:
    """Measure everything and write the result."""
    from dreem_case.staging.stagers import shipped_model_folder

    model = shipped_model_folder()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        folder = Path(temporary)
        long, records = write_nights(folder / "nights")
        paths = {record: folder / "nights/h5" / f"{record}.h5" for record in (long, *records)}
        library = Library(model)
        expected = {record: library.score(path)[1] for record, path in paths.items()}
        with Server(folder / "server", str(folder / "nights"), model) as server:
            figures = first_answers(server, library, paths[long])
            library.close()
            for record in records:
                server.hypnogram(record)
            figures |= load_runs(server, expected)
            figures["twenty_nights"] = all_at_once(server, folder / "nights", expected, records)
            figures["killed_workers"] = killed_workers(server, paths[long], expected[long], figures["first_answer_s"])
            figures["peak_mb_per_worker"] = round(max(server.peaks_mb.values()))
        record = records[0]
        figures["cut_bucket"] = cut_downloads(folder / "from_bucket", model, paths[record], expected[record])
    figures["fuzz"] = fuzz()
    (FOLDER / "serve.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["library"]:
        answer_as_library(sys.argv[2])
    else:
        main()
