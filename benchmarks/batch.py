"""Scoring a store with one worker and with two, on a Dask cluster, from a bucket; and what a worker takes in memory.

`make bench` runs this and leaves build/bench/batch.json. Rates are those between the first night and the last, without
the start of the workers; ratios compare runs of this call. The bucket is a server on this machine, in this process.
"""

import argparse
import contextlib
import json
import logging
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/bench"
N_EMPTY = 300  # tasks that do nothing, to see what handing one out costs
N_FROM_BUCKET = 6
SAMPLE_S = 0.05


def write_nights(folder: Path, n_nights: int, n_simulated: int, hours: float) -> None:
    """Simulate some nights, and give them more names until there are enough."""
    from dreem_case.simulate import write_default_nights

    write_default_nights(folder, n_nights=n_simulated, hours=hours)
    made = sorted((folder / "h5").glob("*.h5"))
    for i in range(n_simulated, n_nights):
        os.link(made[i % n_simulated], folder / "h5" / f"night-{i}.h5")


def subset(nights: Path, folder: Path, n_nights: int) -> Path:
    """Make a store of the first nights of another."""
    (folder / "h5").mkdir(parents=True)
    for path in sorted((nights / "h5").glob("*.h5"))[:n_nights]:
        os.link(path, folder / "h5" / path.name)
    return folder


class Memory:
    """Watches what processes take, with their children: the most at a time, in MB."""

    def __init__(self):
        self.peak_mb, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            with contextlib.suppress(psutil.Error):
                workers = [c for c in psutil.Process().children() if "LokyProcess" in " ".join(c.cmdline())]
                self.peak_mb = max([self.peak_mb, *map(_tree_mb, workers)])


def _tree_mb(process: psutil.Process) -> float:
    processes = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in processes) / 1e6


def score(store: str, model: Path, folder: Path, workers, **reached) -> dict[str, float]:
    """Score a store; return nights a minute, and the seconds that a night took its worker."""
    from dreem_case.batch import ScoringJob, score_store

    done, seconds = [], []

    def on_night(summary, row):
        if row is not None:
            done.append(time.perf_counter())
            seconds.append(row["seconds"])

    with tempfile.TemporaryDirectory(dir=folder) as place:
        job = ScoringJob(store, str(model), f"{place}/out", f"{place}/cache", **reached)
        start = time.perf_counter()
        with workers, Memory() as memory:
            summary = score_store(job, workers, on_night)
    if not summary.whole:
        raise RuntimeError(f"expected all nights scored, found {summary}")
    return {
        "nights_per_minute": 60 * (len(done) - 1) / (done[-1] - done[0]),
        "night_seconds": statistics.median(seconds),
        "start_seconds": done[0] - start,
        "peak_mb": memory.peak_mb,
    }


@contextlib.contextmanager
def cluster():
    """Run a Dask scheduler and two workers of one thread; give its address."""
    from distributed import LocalCluster

    settings = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**settings) as running:
        yield running.scheduler_address


def task_seconds(address: str) -> float:
    """Measure what it costs to have a worker of a cluster do nothing."""
    from dreem_case.workers import DaskWorkers

    with DaskWorkers(address) as workers:
        list(workers.run(str.upper, ["night"] * 20))
        start = time.perf_counter()
        list(workers.run(str.upper, [f"night-{i}" for i in range(N_EMPTY)]))
        return (time.perf_counter() - start) / N_EMPTY


@contextlib.contextmanager
def bucket(nights: Path):
    """Put nights into a bucket of a server here; give its address and how to reach it."""
    import boto3
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="nights")
        for path in (nights / "h5").glob("*.h5"):
            client.upload_file(str(path), "nights", f"h5/{path.name}")
        yield "s3://nights", {"endpoint": endpoint, "region": "us-east-1"}
    finally:
        server.stop()


def main() -> None:
    """Measure all, and write the result."""
    from dreem_case.defaults import default_model_folder
    from dreem_case.workers import DaskWorkers, LocalWorkers

    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--hours", type=float, default=7)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--many", type=int, default=50)
    parser.add_argument("--model", type=Path, help="without it, the default model")
    given = parser.parse_args()
    model = given.model or default_model_folder()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        write_nights(folder / "all", max(given.nights, given.many), min(5, given.few), given.hours)
        stores = {n: subset(folder / "all", folder / f"{n}", n) for n in {given.nights, given.few, given.many}}
        one = score(str(stores[given.nights]), model, folder, LocalWorkers(1))
        two = score(str(stores[given.nights]), model, folder, LocalWorkers(2))
        few = score(str(stores[given.few]), model, folder, LocalWorkers(1))
        many = score(str(stores[given.many]), model, folder, LocalWorkers(1))
        with cluster() as address:
            dask = score(str(stores[given.nights]), model, folder, DaskWorkers(address))
            empty = task_seconds(address)
        small = subset(folder / "all", folder / "small", N_FROM_BUCKET)
        near = score(str(small), model, folder, LocalWorkers(2))
        with bucket(small) as (store, reached):
            far = score(store, model, folder, LocalWorkers(2), **reached)
        h5_mb = statistics.mean(path.stat().st_size for path in (small / "h5").iterdir()) / 1e6
    figures = {
        "n_cores": os.cpu_count(),
        "hours": given.hours,
        "h5_mb": h5_mb,
        "night_seconds": one["night_seconds"],
        "start_seconds": one["start_seconds"],
        "nights_per_minute_1_worker": one["nights_per_minute"],
        "nights_per_minute_2_workers": two["nights_per_minute"],
        "speedup_2_workers": two["nights_per_minute"] / one["nights_per_minute"],
        "peak_mb_per_worker_5_nights": few["peak_mb"],
        "peak_mb_per_worker_50_nights": many["peak_mb"],
        "dask_task_seconds": empty,
        "dask_overhead": empty / one["night_seconds"],
        "dask_rate_to_joblib": dask["nights_per_minute"] / two["nights_per_minute"],
        "bucket_rate_to_folder": far["nights_per_minute"] / near["nights_per_minute"],
    }
    figures = {name: round(value, 4) for name, value in figures.items()}
    (FOLDER / "batch.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
