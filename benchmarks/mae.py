"""Part V: how long ten hours of polysomnography take to become examples, and how fast these are read and learned from.

`make bench PART=mae` runs this and leaves build/bench/mae.json. The study has 25 channels at 256 Hz, in a file of
0.46 GB, and is prepared in a process of its own on one core, both rounds and all files. Seconds are the processor's,
since the machine may be busy. Examples are read from files of 128 as this package writes them, and in the original
(HDF5 of float64), from memory rather than from the disk.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from apart import run

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "mae.json"
HOURS, RATE, TIMES = 10, 256, 3  # of the study; runs, of which the median counts
OTHERS = ("ECG", "Leg L", "Leg R", "Pleth", "Position", "Light", "T3-A2", "T4-A1", "Pz")
PREPARE = """
import json, resource, sys
from dreem_case.core.workers import Done, Workers
from dreem_case.mae.prepare import Scaling, prepare

class Here(Workers):
    def run(self, function, items):
        for item in items:
            yield Done(item, function(item))

    def close(self):
        pass

done = prepare([sys.argv[1]], sys.argv[2], Here(), Scaling((0.0,) * 16, (20.0,) * 16, 0))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"examples": sum(done.examples.values()), "prepare_10h_cpu_s": used.ru_utime + used.ru_stime,
                  "prepare_peak_mb": used.ru_maxrss / 1024}))
"""
READ = """
import json, sys, time
from pathlib import Path
from dreem_case.mae.examples import batch_paths, read_batch, write_batch
from dreem_case.mae.examples import read_original, write_original

paths = [path for split in ("train", "valid", "test") for path in batch_paths(sys.argv[1], split)]
apart = Path(sys.argv[2])
for path in paths[:1]:
    batch = read_batch(path)
    write_original(apart / "batch.h5", batch)
    write_original(apart / "half.h5", batch, "float16")
    for i in range(64):
        write_original(apart / f"one-{i:03}.h5", batch.take(slice(i, i + 1)))

def speed(read, paths, n):
    times = []
    for _ in range(3):
        start = time.process_time()
        for path in paths:
            read(path)
        times.append(time.process_time() - start)
    return n / sorted(times)[1]

n = sum(len(read_batch(path)) for path in paths)
print(json.dumps({
    "read_examples_per_s": speed(read_batch, paths, n),
    "read_original_batch_per_s": speed(read_original, [apart / "batch.h5"] * 4, 4 * len(batch)),
    "read_original_float16_per_s": speed(read_original, [apart / "half.h5"] * 4, 4 * len(batch)),
    "read_original_single_per_s": speed(read_original, sorted(apart.glob("one-*.h5")), 64),
}))
"""


def write_study(folder: Path) -> None:
    """Write ten hours of noise in 25 channels, with stages and some events."""
    from datetime import datetime

    from dreem_case.mae.montage import MODALITIES
    from dreem_case.mae.simulate import Column, edf_content

    tile = 20 * np.random.default_rng(1).standard_normal(RATE * 3600)
    values = np.tile(tile, HOURS)
    names = [*(modality.name for modality in MODALITIES), *OTHERS]
    columns = [Column(name, "uV", (-400.0, 400.0), RATE, values) for name in names if name != "SPO2"]
    columns.append(Column("SPO2", "%", (0.0, 127.0), RATE, np.clip(96 + values / 20, 0, 100)))
    (folder / "1_1.edf").write_bytes(edf_content(columns, datetime(2020, 1, 1)))
    lines = [f"{30 * i}\t30\tSleep stage N2" for i in range(HOURS * 120)]
    lines += [f"{300 * i}\t15\tObstructive Apnea" for i in range(HOURS * 12)]
    (folder / "1_1.tsv").write_text("\n".join(["onset\tduration\tdescription", *lines]), encoding="utf-8")


def main() -> None:
    """Measure, and write the figures."""
    with tempfile.TemporaryDirectory() as name:
        studies, apart = Path(name) / "studies", Path(name) / "apart"
        studies.mkdir()
        apart.mkdir()
        subprocess.run(
            [sys.executable, __file__, str(studies)], check=True
        )  # apart: a process inherits its parent's peak
        runs = [run(PREPARE, str(studies), str(Path(name) / f"out{i}")) for i in range(TIMES)]
        found = {key: float(np.median([one[key] for one in runs])) for key in runs[0]}
        found["file_mb"] = (studies / "1_1.edf").stat().st_size / 1e6
        found |= run(READ, str(Path(name) / "out0"), str(apart))
    found |= training()
    found |= {"load": os.getloadavg()[0], "measured": time.strftime("%Y-%m-%d")}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def training() -> dict:
    """Measure steps of the laptop's network on one core, where torch is installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    from dreem_case.mae.model import CONFIGS
    from dreem_case.mae.pretraining import step_cost

    return {"train_examples_per_s": step_cost(CONFIGS["laptop"], batch=64, steps=5, warm=2)["examples_per_s"]}


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else write_study(Path(sys.argv[1]))
