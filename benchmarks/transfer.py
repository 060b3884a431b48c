"""Part IV: how long a day of polysomnography takes to become a night of a store, and how much memory.

`make bench PART=transfer` runs this and leaves build/bench/transfer.json. The recording is as long and as large as the
longest of Sleep-EDF, 22 hours of seven signals in 48 MB, with a hypnogram. The command imports it, so the start of
Python counts. Seconds depend on the machine and on what else it does. edfio alone, which reads the same two derivations
into memory and checks and writes nothing, is timed beside it.
"""

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
OUT = ROOT / "build" / "bench" / "transfer.json"
HOURS, TIMES = 22, 3  # of the recording; runs, of which the median counts
IMPORT = """
import json, resource, sys, time
start = time.perf_counter()
from dreem_case.cli import main
try:
    main(["edf", "import", sys.argv[1], "--out", sys.argv[2], "--json"], prog_name="dreem-case")
except SystemExit as ended:
    code = ended.code
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"code": code, "import_22h_s": seconds, "import_peak_mb": peak}))
"""
EDFIO = """
import json, sys, time
start = time.perf_counter()
import edfio
file = edfio.read_edf(sys.argv[1])
values = [file.signals[number].data for number in (0, 1)]
print(json.dumps({"edfio_s": time.perf_counter() - start}))
"""


def write_day(folder: Path) -> Path:
    """Write a recording of noise in the form of Sleep-EDF, and its hypnogram."""
    import edfio

    rng, seconds = np.random.default_rng(1), HOURS * 3600
    rates = {"EEG Fpz-Cz": 100, "EEG Pz-Oz": 100, "EOG horizontal": 100, "Resp oro-nasal": 1, "EMG submental": 1,
             "Temp rectal": 1, "Event marker": 1}  # fmt: skip
    signals = [
        edfio.EdfSignal(rng.normal(0, 20, seconds * rate), rate, label=label, physical_dimension="uV",
                        physical_range=(-192, 192), digital_range=(-2048, 2047))
        for label, rate in rates.items()
    ]  # fmt: skip
    path = folder / "SC4001E0-PSG.edf"
    edfio.Edf(signals, data_record_duration=30).write(path)
    words = [("Sleep stage W", 28800), ("Sleep stage 2", 14400), ("Sleep stage 4", 7200), ("Sleep stage W", 28800)]
    onsets = np.cumsum([0, *(length for _, length in words)])
    texts = [edfio.EdfAnnotation(at, length, word) for at, (word, length) in zip(onsets, words, strict=False)]
    edfio.Edf([], annotations=texts).write(folder / "SC4001EC-Hypnogram.edf")
    return path


def main() -> None:
    """Measure, and write the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, name], check=True)  # apart: a process inherits its parent's peak
        runs = [run(IMPORT, name, str(folder / f"store{i}")) for i in range(TIMES)]
        if any(one["code"] for one in runs):
            raise RuntimeError(f"expected an import, found {runs}")
        found = {key: float(np.median([one[key] for one in runs])) for key in ("import_22h_s", "import_peak_mb")}
        found["file_mb"] = (folder / "SC4001E0-PSG.edf").stat().st_size / 1e6
        alone = [run(EDFIO, str(folder / "SC4001E0-PSG.edf"))["edfio_s"] for _ in range(TIMES)]
        found["edfio_s"] = float(np.median(alone))
        found["import_to_edfio"] = found["import_22h_s"] / found["edfio_s"]
    found |= {"load": os.getloadavg()[0], "measured": time.strftime("%Y-%m-%d")}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else write_day(Path(sys.argv[1]))
