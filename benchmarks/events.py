"""Speed and memory of sleep and wake events, into build/bench/events.json: a month from file, and the metric."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "events.json"
MONTH = """
import json, resource, sys, time
from dreem_case.events.detect import detect_events
from dreem_case.events.series_files import read_series
detect_events(read_series(sys.argv[1]))
seconds = []
for _ in range(5):
    start = time.perf_counter()
    found = detect_events(read_series(sys.argv[1]))
    seconds.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"month_s": min(seconds), "months_per_minute": 60 / (sum(seconds) / 5), "peak_mb": peak}))
"""


def month() -> dict[str, float]:
    """Measure a month of one wearer, warm, on one core in a process of its own."""
    from dreem_case.events.series_files import write_series
    from dreem_case.events.wrist import simulate_wearer

    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "month.parquet"
        write_series(path, simulate_wearer("month", seed=1, n_days=30).series)
        command = [sys.executable, "-c", MONTH, str(path)]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def metric() -> float:
    """Measure the metric on 277 series of 26 nights with 72,000 detections."""
    from dreem_case.events.metric import EVENTS, EventTable, mean_ap

    random = np.random.default_rng(0)
    series = np.repeat([f"w{i:03}" for i in range(277)], 52)
    event = np.tile(np.array(EVENTS), 277 * 26)
    step = np.tile(np.repeat(np.arange(26), 2) * 17280.0, 277) + random.integers(0, 8000, len(series))
    truth = EventTable(series, event, step, np.ones(len(series)))
    n = 5 * len(series)
    found = EventTable(
        np.repeat(series, 5), np.repeat(event, 5), np.repeat(step, 5) + random.normal(0, 200, n), random.random(n)
    )
    start = time.perf_counter()
    mean_ap(truth, found)
    return time.perf_counter() - start


if __name__ == "__main__":
    figures = {key: round(value, 2) for key, value in (month() | {"metric_s": metric()}).items()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))
