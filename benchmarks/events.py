"""Part III: how long a month of one wearer takes from file to events, how much memory, and how fast the metric is.

`make bench PART=events` runs this and leaves build/bench/events.json. The month is detected in a process of its own on
one core, warm. Seconds are the processor's, since the machine may be busy. The metric is that of the study's size: 277
series of 26 nights, and 72,000 detections.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from apart import run

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "events.json"
WRITE = """
import sys
from dreem_case.events.series_files import write_series
from dreem_case.events.wrist import simulate_wearer
write_series(sys.argv[1], simulate_wearer("month", seed=1, n_days=30).series)
print("{}")
"""
MONTH = """
import json, resource, sys, time
from dreem_case.events.detect import detect_events
from dreem_case.events.series_files import read_series
detect_events(read_series(sys.argv[1]))
seconds = []
for _ in range(5):
    start = time.process_time()
    found = detect_events(read_series(sys.argv[1]))
    seconds.append(time.process_time() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"month_s": sorted(seconds)[2], "months_per_minute": 300 / sum(seconds), "peak_mb": peak}))
"""


def month() -> dict[str, float]:
    """Measure a month of one wearer, warm; made apart, since a process inherits its parent's peak."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "month.parquet")
        run(WRITE, path)
        return run(MONTH, path)


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
    start = time.process_time()
    mean_ap(truth, found)
    return time.process_time() - start


if __name__ == "__main__":
    figures = {key: round(value, 2) for key, value in (month() | {"metric_s": metric()}).items()}
    figures |= {"load": os.getloadavg()[0], "measured": time.strftime("%Y-%m-%d")}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))
