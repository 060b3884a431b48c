"""Speed and memory of heartbeats, into build/bench/ecg.json: a day of two leads from file, strips that are served."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "ecg.json"
DAY = """
import json, resource, sys, time
from dreem_case.ecg.score import score_recording, shipped_model
from dreem_case.ecg.wfdb_files import read_wfdb
shipped_model()
start = time.perf_counter()
answers = score_recording(read_wfdb(sys.argv[1], "day"))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"day_s": seconds, "peak_mb": peak, "day_beats": len(answers.time_s)}))
"""
PEER = """
import json, sys, time
import neurokit2
from dreem_case.ecg.wfdb_files import read_wfdb
lead = read_wfdb(sys.argv[1], "hour").leads["MLII"]
start = time.perf_counter()
clean = neurokit2.ecg_clean(lead, sampling_rate=360)
_, peaks = neurokit2.ecg_peaks(clean, sampling_rate=360)
neurokit2.ecg_delineate(clean, peaks, sampling_rate=360)
print(json.dumps(time.perf_counter() - start))
"""


def run(code: str, *arguments: str) -> object:
    """Run code in a process of its own, on one core, and give what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def write_long(folder: Path) -> None:
    """Write a day and an hour of two leads, of a simulated patient's ten minutes again and again."""
    from dreem_case.ecg.recording import Recording
    from dreem_case.ecg.simulate import simulate_record
    from dreem_case.ecg.wfdb_files import write_wfdb

    recording, _ = simulate_record("part", "ventricular beats", minutes=10, seed=1)
    for name, n in (("day", 144), ("hour", 6)):
        leads = {lead: np.tile(values, n) for lead, values in recording.leads.items()}
        write_wfdb(folder, Recording(name, 360.0, leads))


def served_p99_ms(n: int = 300) -> float:
    """Give the 99th percentile of answers to strips of ten seconds, through the app."""
    from flask import Flask

    from dreem_case.ecg.endpoint import make_blueprint
    from dreem_case.ecg.simulate import simulate_record

    app = Flask("bench")
    app.register_blueprint(make_blueprint())
    recording, _ = simulate_record("strip", "sinus", minutes=0.5, seed=2)
    body = {"fs_hz": 360, "leads": {name: lead[:3600].tolist() for name, lead in recording.leads.items()}}
    client, spent = app.test_client(), []
    for _ in range(n + 20):
        start = time.perf_counter()
        answer = client.post("/beats", json=body)
        spent.append(time.perf_counter() - start)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
    return 1000 * float(np.quantile(spent[20:], 0.99))


def main() -> None:
    """Measure, and write the figures."""
    with tempfile.TemporaryDirectory() as folder:
        write_long(Path(folder))
        found = run(DAY, folder)
        found["beats_per_s"] = found["day_beats"] / found["day_s"]
        found["served_p99_ms"] = served_p99_ms()
        try:
            found["ratio_to_neurokit2"] = (
                24 * run(PEER, folder) / found["day_s"]
            )  # above 1: faster than the peer, on one lead
        except subprocess.CalledProcessError as error:
            print("neurokit2 is not installed or failed; no ratio:", error.stderr.splitlines()[-1:], file=sys.stderr)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
