"""Part III: how long a month of one wearer takes from file to events, how much memory, and how fast the metric is.

`make bench PART=events` runs this and leaves build/bench/events.json. The month is detected in a process of its own on
one core, warm. Seconds are the processor's, since the machine may be busy. The metric is that of the study's size: 277
series of 26 nights, and 72,000 detections.

Beside it a peer, where there is one: wristpy's HDCZA on the 12 judged simulated wearers, in an environment of its own
(python3 -m venv build/peer && build/peer/bin/pip install wristpy==0.2.10).
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
PEER = ROOT / "build" / "peer" / "bin" / "python"
WRISTPY = """
import json, logging, sys
from datetime import timedelta
import numpy as np
import polars as pl
from wristpy.core.models import Measurement
from wristpy.processing.analytics import GgirSleepDetection
logging.disable()
found = {}
for path in sys.argv[1:]:
    with np.load(path) as kept:
        angle, start = kept["anglez"], float(kept["start"])
    time = pl.Series((1e9 * (start + 5 * np.arange(len(angle)))).astype("int64")).cast(pl.Datetime("ns"))
    windows = GgirSleepDetection(Measurement(measurements=angle, time=time)).run_sleep_detection().sleep_windows
    zero = time[0]
    found[path] = [[(at - zero) / timedelta(seconds=5) for at in (one.onset, one.wakeup)] for one in windows]
print(json.dumps(found))
"""
WRITE = """
import sys
from dreem_case.events.series_files import write_series
from dreem_case.events.wearers import simulate_wearer
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


def peer() -> dict[str, float]:
    """Judge wristpy: of each noon to noon its longest window that is worn, as the rater's rule has it."""
    from dreem_case.events.heuristic import heuristic_events
    from dreem_case.events.metric import EVENTS, event_errors, event_table, joined, mean_ap
    from dreem_case.events.study import simulated
    from dreem_case.events.wear import worn_mask

    wearers = {wearer.series.name: wearer for wearer in simulated("judge", 12)}
    with tempfile.TemporaryDirectory() as folder:
        for name, wearer in wearers.items():
            start = wearer.series.start_s + float(wearer.series.offset_s[0])
            np.savez(Path(folder) / f"{name}.npz", anglez=wearer.series.channels["anglez"].astype(float), start=start)
        windows = run(WRISTPY, *(str(Path(folder) / f"{name}.npz") for name in wearers), python=str(PEER))
    rows = []
    for path, found in windows.items():
        series = wearers[Path(path).stem].series
        worn, longest = worn_mask(series), {}
        for onset, wakeup in found:
            day = int(((series.start_s + float(series.offset_s[0]) + 5 * onset) / 3600 - 12) // 24)
            if worn[int(onset) : int(wakeup)].mean() > 0.5:
                longest[day] = max(longest.get(day, (0, 0, 0)), (wakeup - onset, onset, wakeup))
        for hours, *ends in longest.values():
            rows += [(series.name, event, step, hours) for event, step in zip(EVENTS, ends, strict=True)]
    truth = joined([wearer.events for wearer in wearers.values()])
    errors = event_errors(truth, event_table(rows))
    rules = joined([heuristic_events(wearer.series) for wearer in wearers.values()])
    return {"wristpy_ap": mean_ap(truth, event_table(rows)), "hdcza_ap": mean_ap(truth, rules)} | {
        f"wristpy_{event}_mae_min": errors.mean(event) for event in EVENTS
    }


if __name__ == "__main__":
    found = month() | {"metric_s": metric()} | (peer() if PEER.is_file() else {})
    figures = {key: round(value, 3) for key, value in found.items()}
    figures |= {"load": os.getloadavg()[0], "measured": time.strftime("%Y-%m-%d")}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))
