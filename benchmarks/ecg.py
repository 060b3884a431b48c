"""Heartbeats: a day of two leads from file, beside neurokit2 on one lead of it, and strips that are served.

`make bench PART=ecg` runs this and leaves build/bench/ecg.json. Seconds depend on the machine and on what else it does;
the ratio compares two steps of this run. All takes one thread. neurokit2 cannot be installed beside our constraints, so
it gets an environment of its own under build/; where that fails, the ratio is left out and the reason stands in its
place. It gets one lead, in memory, and an hour of it, since a day takes it minutes; ours begins with the file and has
both leads.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from apart import run

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "ecg.json"
PEER = ROOT / "build" / "peer_ecg"  # its environment
N_STRIPS, N_FIRST = 300, 20  # requests that are timed, and those before
DAY = """
import json, resource, sys, time
from dreem_case.ecg.score import score_recording
from dreem_case.ecg.wfdb_files import read_wfdb
start, start_cpu = time.perf_counter(), time.process_time()
answers = score_recording(read_wfdb(sys.argv[1], "day"))
seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"day_s": seconds, "day_cpu_s": cpu, "peak_mb": peak, "day_beats": len(answers.time_s)}))
"""
SERVED = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ecg import served_ms
print(json.dumps(served_ms()))
"""
PEER_HOUR = """
import json, sys, time
import neurokit2
import numpy as np
lead = np.load(sys.argv[1])
start, start_cpu = time.perf_counter(), time.process_time()
clean = neurokit2.ecg_clean(lead, sampling_rate=360)
_, peaks = neurokit2.ecg_peaks(clean, sampling_rate=360)
neurokit2.ecg_delineate(clean, peaks, sampling_rate=360)
found = {"hour_s": time.perf_counter() - start, "hour_cpu_s": time.process_time() - start_cpu}
print(json.dumps(found | {"version": neurokit2.__version__}))
"""


def write_long(folder: Path) -> None:
    """Write a day of two leads, of a simulated patient's ten minutes again and again, and one lead of an hour."""
    from dreem_case.ecg.recording import Recording
    from dreem_case.ecg.simulate import simulate_record
    from dreem_case.ecg.wfdb_files import write_wfdb

    recording, _ = simulate_record("part", "ventricular beats", minutes=10, seed=1)
    leads = {lead: np.tile(values, 144) for lead, values in recording.leads.items()}
    write_wfdb(folder, Recording("day", 360.0, leads))
    np.save(folder / "hour.npy", np.tile(next(iter(recording.leads.values())), 6))


def served_ms() -> dict[str, float]:
    """Time answers to strips of ten seconds, one after the other, over HTTP on this machine."""
    from flask import Flask
    from werkzeug.serving import make_server

    from dreem_case.ecg.endpoint import make_blueprint
    from dreem_case.ecg.simulate import simulate_record

    app = Flask("bench")
    app.register_blueprint(make_blueprint())
    recording, _ = simulate_record("strip", "sinus", minutes=0.5, seed=2)
    leads = {name: [round(float(value), 4) for value in lead[:3600]] for name, lead in recording.leads.items()}
    body, spent = json.dumps({"fs_hz": 360, "leads": leads}), []
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(N_FIRST + N_STRIPS):
        start = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", server.server_port)
        connection.request("POST", "/beats", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        spent.append(1000 * (time.perf_counter() - start))
        connection.close()
        if answer.status != 200:
            raise RuntimeError(content.decode())
    server.shutdown()
    timed = spent[N_FIRST:]
    return {"first_ms": spent[0], "median_ms": float(np.median(timed)), "p99_ms": float(np.quantile(timed, 0.99))}


def peer_hour(folder: Path) -> dict:
    """Have neurokit2 clean, find and delineate an hour; install it first."""
    python = str(PEER / "bin" / "python")
    if not (PEER / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True, capture_output=True, text=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "neurokit2"]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return run(PEER_HOUR, str(folder / "hour.npy"), python=python)


def main() -> None:
    """Measure, and write the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, name], check=True)  # apart: a process inherits its parent's peak
        found = run(DAY, name)
        found["beats_per_s"] = found["day_beats"] / found["day_s"]
        try:
            peer = peer_hour(folder)
            found["neurokit2"] = peer
            # of processor seconds, which other jobs disturb less; above 1: faster than the peer
            found["ratio_to_neurokit2"] = 24 * peer["hour_cpu_s"] / found["day_cpu_s"]
        except (OSError, subprocess.CalledProcessError) as error:
            found["neurokit2"] = f"not measured: {(getattr(error, 'stderr', None) or str(error)).strip()[-200:]}"
    strips = run(SERVED, str(Path(__file__).parent))
    found |= {f"served_{key}": value for key, value in strips.items()}
    found["load"] = os.getloadavg()[0]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else write_long(Path(sys.argv[1]))
