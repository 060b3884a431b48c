"""Scoring a store: by one worker and two, on a Dask cluster, from a bucket, with features kept from before; and memory.

`make bench` runs this and leaves build/bench/batch.json. A rate counts from when all workers have started and scored a
night or two to the last night. Each run has results and caches of its own, so no night is known from another run. Runs
that are compared take turns, and a ratio is the median of the turns. Nights are hard links to a few simulated ones,
each a record of its own; their files are in the system's cache. The bucket is a server on this machine.
"""

import argparse
import contextlib
import itertools
import json
import logging
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/bench"
N_SIMULATED = 5
N_FIRST = 4  # nights of each run that are not timed: the workers start, and load the model
N_TURNS = 5
N_LONG_TURNS = 4  # that compare a cluster with processes of this machine
N_FROM_BUCKET = 6
N_EMPTY = 300  # tasks that do nothing
SAMPLE_S = 0.05


def write_nights(folder: Path, n_nights: int, hours: float) -> None:
    """Simulate some nights, and give them more names until there are enough."""
    from dreem_case.simulate.nights import write_default_nights

    write_default_nights(folder, n_nights=min(N_SIMULATED, n_nights), hours=hours)
    made = sorted((folder / "h5").glob("*.h5"))
    for i in range(len(made), n_nights):
        os.link(made[i % len(made)], folder / "h5" / f"night-{i}.h5")


def subset(nights: Path, n_nights: int) -> str:
    """Make a store of the first nights of another."""
    folder = nights.parent / f"first-{n_nights}"
    if not folder.exists():
        (folder / "h5").mkdir(parents=True)
        for path in sorted((nights / "h5").glob("*.h5"))[:n_nights]:
            os.link(path, folder / "h5" / path.name)
    return str(folder)


class Counter(logging.Handler):
    """Counts the requests that the bucket's server logs."""

    n = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.n += 1


REQUESTS = Counter()


def score(job, workers) -> dict[str, float]:
    """Score a store; return what its nights took, all but the first."""
    from dreem_case.many.batch import score_store

    done = []

    def on_night(summary, row):
        if row is not None:
            done.append((time.perf_counter(), time.process_time(), REQUESTS.n))

    with workers:
        summary = score_store(job, workers, on_night)
    if not summary.whole or summary.n_current:
        raise RuntimeError(f"expected all nights scored, found {summary}")
    n_timed = len(done) - N_FIRST
    seconds, own_seconds, requests = (
        (last - first) / n_timed for first, last in zip(done[N_FIRST - 1], done[-1], strict=True)
    )
    return {"nights_per_minute": 60 / seconds, "own_seconds": own_seconds, "requests": requests}


def peak_mb(job, workers) -> float:
    """Score a store; return the most that a worker had in memory, with the process that scores for it."""
    peaks, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            with contextlib.suppress(psutil.Error):
                peaks.extend(map(tree_mb, psutil.Process().children()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        score(job, workers)
    finally:
        ended.set()
        watching.join()
    return max(peaks)


def tree_mb(process: psutil.Process) -> float:
    """Add up a process and its children; what several share counts in parts."""
    return sum(one.memory_full_info().pss for one in [process, *process.children(recursive=True)]) / 1e6


@contextlib.contextmanager
def cluster():
    """Run a Dask scheduler and two workers of one thread, set up as the README says; give them as the library's."""
    import dask
    from distributed import LocalCluster

    from dreem_case.core.workers import DaskWorkers

    quiet = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms"}
    settings = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    before = dict(os.environ)
    with dask.config.set(quiet), LocalCluster(**settings) as running:
        for name in set(os.environ) - set(before):  # what Dask sets for its workers, the next runs' would inherit
            del os.environ[name]
        with DaskWorkers(running.scheduler_address) as workers:
            yield workers


def task_seconds() -> float:
    """Measure what the scheduler and this process spend on a task, which does nothing."""
    with cluster() as workers:
        list(workers.run(str.upper, ["night"] * 20))
        start = time.process_time()
        list(workers.run(str.upper, [f"night-{i}" for i in range(N_EMPTY)]))
        return (time.process_time() - start) / N_EMPTY


@contextlib.contextmanager
def bucket(nights: str):
    """Put nights into a bucket of a server here; give where that is."""
    import boto3
    from moto.server import ThreadedMotoServer

    from dreem_case.nights.store import StorePlace

    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    log = logging.getLogger("werkzeug")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(REQUESTS)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="nights")
        client.create_bucket(Bucket="results")
        for path in Path(nights, "h5").glob("*.h5"):
            client.upload_file(str(path), "nights", f"h5/{path.name}")
        yield {"store": StorePlace("s3://nights", endpoint, "us-east-1"), "out": "s3://results"}
    finally:
        server.stop()


def size(folder: str | Path) -> int:
    """Add up the bytes of a folder's files."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def measure(folder: Path, model: str, n_nights: int, n_few: int, n_many: int, hours: float) -> dict:
    """Return all figures."""
    from dreem_case.core.workers import LocalWorkers
    from dreem_case.many.batch import ScoringJob
    from dreem_case.nights.store import StorePlace

    n_timed, numbers = n_nights + N_FIRST, itertools.count()
    write_nights(nights := folder / "nights", max(n_timed, n_many), hours)
    stores = {n: subset(nights, n) for n in (n_timed, n_few, n_many, N_FROM_BUCKET + N_FIRST)}

    def job(n: int, **given) -> ScoringJob:
        place = folder / f"run-{next(numbers)}"
        places = {"store": StorePlace(stores[n]), "out": f"{place}/out", "cache": f"{place}/cache"} | given
        return ScoringJob(model=model, **places)

    turns = []
    for _ in range(N_TURNS):
        by_one, one = job(n_timed), LocalWorkers(1)
        turns.append({"one": score(by_one, one), "two": score(job(n_timed), LocalWorkers(2))})
    for turn in turns[:N_LONG_TURNS]:  # of more nights: a small difference drowns in when the last two of a few end
        turn["local"] = score(job(n_many), LocalWorkers(2))
        with cluster() as workers:
            turn["dask"] = score(job(n_many), workers)

    def median(kind: str, name: str) -> float:
        return statistics.median(turn[kind][name] for turn in turns if kind in turn)

    def ratios(kind: str, to: str) -> list[float]:
        return [turn[kind]["nights_per_minute"] / turn[to]["nights_per_minute"] for turn in turns if to in turn]

    speedups, overheads = ratios("two", "one"), [ratio - 1 for ratio in ratios("local", "dask")]

    shutil.rmtree(f"{by_one.cache}/answers")
    kept = score(job(n_timed, cache=by_one.cache), LocalWorkers(1))
    n_few_mb, n_many_mb = (peak_mb(job(n), LocalWorkers(1)) for n in (n_few, n_many))
    n_far = N_FROM_BUCKET + N_FIRST
    near = score(job(n_far), LocalWorkers(1))
    with bucket(stores[n_far]) as reached:
        far = score(job(n_far, **reached), LocalWorkers(1))
    return {
        "n_cores": os.cpu_count(),
        "n_nights": n_nights,
        "hours": hours,
        "h5_mb": size(stores[n_timed]) / n_timed / 1e6,
        "nights_per_minute_1_worker": median("one", "nights_per_minute"),
        "nights_per_minute_2_workers": median("two", "nights_per_minute"),
        "nights_per_minute_dask": median("dask", "nights_per_minute"),
        "speedup_2_workers": statistics.median(speedups),
        "speedup_of_each_turn": speedups,
        "dask_overhead": statistics.median(overheads),
        "dask_overhead_of_each_turn": overheads,
        "dask_task_seconds": task_seconds(),
        "client_seconds": median("two", "own_seconds"),
        "peak_mb_per_worker_5_nights": n_few_mb,
        "peak_mb_per_worker_50_nights": n_many_mb,
        "feature_cache_speedup": kept["nights_per_minute"] / median("one", "nights_per_minute"),
        "features_mb": size(f"{by_one.cache}/features") / n_timed / 1e6,
        "results_kb": size(by_one.out) / n_timed / 1e3,
        "bucket_rate_to_folder": far["nights_per_minute"] / near["nights_per_minute"],
        "bucket_requests": far["requests"],
    }


def rounded(value):
    """Round numbers to four digits."""
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    """Measure all, and write the result."""
    from dreem_case.core.workers import processor
    from dreem_case.staging.stagers import shipped_model_folder

    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--many", type=int, default=50)
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--model", help="without it, the one of the package")
    given = parser.parse_args()
    model = given.model or str(shipped_model_folder())
    FOLDER.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        figures = measure(Path(folder), model, given.nights, given.few, given.many, given.hours)
    figures |= {"seconds": time.perf_counter() - start, "processor": processor()}
    text = json.dumps({name: rounded(value) for name, value in figures.items()}, indent=1)
    (FOLDER / "batch.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
