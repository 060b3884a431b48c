"""Time and memory of one 7 h night: simulate and write, read, features; each in a process of its own.

`make bench` runs this and leaves build/bench/night.json. Seconds depend on the machine; the ratios are what to
compare: every step is divided by the time to read the same file, taken in the same run.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOURS = 7
N_RUNS = 3
FOLDER = Path("build/bench")


def timed(step):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def simulate(folder):
    """Make one night and write it."""
    from dreem_case.simulate import write_default_nights

    return timed(lambda: write_default_nights(folder, n_nights=1, hours=HOURS))


def read(folder):
    """Read every channel of the night with all checks."""
    from dreem_case.store import open_store

    store = open_store(folder)
    return timed(lambda: store.open_night(store.records()[0]).load())


def features(folder):
    """Clean the night and compute its features, reading included."""
    from dreem_case.features import night_features
    from dreem_case.store import open_store

    store = open_store(folder)
    return timed(lambda: night_features(store.open_night(store.records()[0])))


def measure(step, folder):
    """Run one step several times in a fresh process; return its median seconds and peak memory in MB."""
    command = [sys.executable, __file__, step, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    """Measure every step and write the result."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        steps = {step: measure(step, folder) for step in ("simulate", "read", "features")}
        (night,) = Path(folder, "h5").glob("*.h5")
        size_mb = night.stat().st_size / 2**20
    figures = {"hours": HOURS, "h5_mb": round(size_mb)} | {
        f"{step}_{name}": value for step, figure in steps.items() for name, value in figure.items()
    }
    for step in ("simulate", "features"):
        figures[f"{step}_ratio_to_read"] = round(steps[step]["seconds"] / steps["read"]["seconds"], 1)
    (FOLDER / "night.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        step, folder = {"simulate": simulate, "read": read, "features": features}[sys.argv[1]], sys.argv[2]
        seconds = statistics.median(step(folder) for _ in range(N_RUNS))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": round(seconds, 2), "peak_mb": round(peak_mb)}))
