"""An 8 h night from h5 to hypnogram: time, memory and start, beside YASA on one channel of the same night.

`make bench` runs this and leaves build/bench/stage_night.json. Seconds depend on the machine, whose processor the file
names; the ratios compare steps of this run. Both stagers may use two threads. YASA gets its fastest input, one channel
at 100 Hz that is already in memory; ours begins with the file, all derivations and the accelerometer in it. Warm is the
median of five runs after a first one, cold the median of five whole processes that end with the printed hypnogram,
their files being in the system's cache.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOURS = 8
SPANS_HOURS = (1, 2, 4, 8, 16, 24)
N_RUNS, N_NIGHTS = 5, 10
N_THREADS = 2
DERIVATION = "eeg1"  # what YASA is given
FOLDER = Path("build/bench")
SCORING = ("nights.casefile", "staging.score", "staging.boosted")
IMPORTS = {"package": "dreem_case", "scoring": ", ".join(f"dreem_case.{name}" for name in SCORING)}


def seconds_of(step):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def median_of_runs(step):
    """Return the median seconds of some calls after a first one."""
    step()
    return statistics.median(seconds_of(step) for _ in range(N_RUNS))


def peak_mb():
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# What is done to a night


def night_in(folder):
    """Return the h5 file in a folder of one night."""
    (path,) = Path(folder, "h5").glob("*.h5")
    return path


def hypnogram(stager, night):
    """Return a night's stages by name."""
    from dreem_case.nights.stages import format_hypnogram

    return format_hypnogram(stager.predict(stager.prepare(night)))


def stage(stager, path, hours=None):
    """Return the stages of a file's night, or of its first hours."""
    from dreem_case.nights.casefile import open_night

    night = open_night(path)
    return hypnogram(stager, night if hours is None else night.crop(0, round(hours * 120)))


def steps(stager, path):
    """Return the seconds of each step for all channels, on as many threads as the whole uses."""
    import numpy as np

    from dreem_case.nights.casefile import open_night
    from dreem_case.staging import features
    from dreem_case.staging.clean import clean_eeg, epoch_quality

    night = open_night(path)
    loaded, prepared = night.load(), stager.prepare(night)
    cleaned = {name: clean_eeg(loaded.signals[name].values, loaded.signals[name].fs_hz) for name in night.eeg_names}

    axes = np.stack([loaded.signals[name].values for name in night.accelerometer_names])
    fs_hz = loaded.signals[night.accelerometer_names[0]].fs_hz

    def read(name):
        return len(night.signals[name].values)

    def clean(name):
        clean_eeg(loaded.signals[name].values, loaded.signals[name].fs_hz)

    def describe(name):
        if name is None:
            return features.accelerometer_features(axes, fs_hz)
        return features.eeg_features(cleaned[name]), epoch_quality(cleaned[name])

    with ThreadPoolExecutor(N_THREADS) as threads:
        return {
            "read": median_of_runs(lambda: list(threads.map(read, night.signals))),
            "clean": median_of_runs(lambda: list(threads.map(clean, night.eeg_names))),
            "features": median_of_runs(lambda: list(threads.map(describe, [None, *night.eeg_names]))),
            "predict": median_of_runs(lambda: stager.predict(prepared)),
        }


def floor(path):
    """Return the seconds to read the file's bytes, and of one Fourier transform over all its samples."""
    import numpy as np
    from scipy import fft

    from dreem_case.nights.casefile import read_night

    n_bytes, signals = path.stat().st_size, read_night(path).signals
    content, cuts = memoryview(bytearray(n_bytes)), [i * n_bytes // N_THREADS for i in range(N_THREADS + 1)]

    def read(part):
        with path.open("rb", buffering=0) as file:
            file.seek(cuts[part])
            file.readinto(content[cuts[part] : cuts[part + 1]])

    def transform(name):
        minutes = np.array_split(signals[name].values, 8 * HOURS)  # 7.5 minutes each, which fit the processor's cache
        for part in minutes:
            fft.rfft(part[: len(part) // 4 * 4].reshape(4, -1), axis=1)

    with ThreadPoolExecutor(N_THREADS) as threads:
        return {
            "read": median_of_runs(lambda: list(threads.map(read, range(N_THREADS)))),
            "fft": median_of_runs(lambda: list(threads.map(transform, signals))),
        }


def peer(channel):
    """Return a function that stages one channel at 100 Hz by YASA."""
    warnings.simplefilter("ignore")
    import mne
    import numpy as np
    import yasa

    volts = np.load(channel)[None].astype(float) * 1e-6
    raw = mne.io.RawArray(volts, mne.create_info([DERIVATION], 100, ["eeg"], verbose="ERROR"), verbose="ERROR")
    return lambda: yasa.SleepStaging(raw, eeg_name=DERIVATION).predict()


# What runs in a process of its own and prints JSON


def simulate(folder, hours):
    """Make one night in the case's layout, and the channel that YASA is given."""
    import numpy as np
    from scipy.signal import resample_poly

    from dreem_case.nights.casefile import open_night, write_night
    from dreem_case.simulate.nights import DEFAULT_PLANS, NightPlan, simulate_night

    n_epochs, first = int(hours) * 120, DEFAULT_PLANS[0]
    plan = NightPlan(n_epochs, tuple(int(count * n_epochs / first.n_epochs) for count in first.stage_counts))
    found = {"seconds": seconds_of(lambda: write_night(simulate_night("night", plan=plan).night, folder))}
    found["peak_mb"] = peak_mb()
    np.save(Path(folder, "channel.npy"), resample_poly(open_night(night_in(folder)).signals[DERIVATION].values, 2, 5))
    return found


def warm(folder, model):
    """Stage the night again and again, then step by step; say how far from the floor that is."""
    from dreem_case.staging.stagers import load_stager

    stager, path = load_stager(model), night_in(folder)
    found = {"warm_s": median_of_runs(lambda: stage(stager, path))}
    found["warm_20_minutes_s"] = median_of_runs(lambda: stage(stager, path, 1 / 3))
    found["steps_s"], found["floor_parts_s"] = steps(stager, path), floor(path)
    found["floor_s"] = sum(found["floor_parts_s"].values())
    found["ratio_to_floor"] = {name: value / found["floor_s"] for name, value in found["steps_s"].items()}
    found["ratio_to_floor"]["whole"] = found["warm_s"] / found["floor_s"]
    return found


def peer_warm(folder):
    """Stage the channel again and again by YASA."""
    return {"warm_s": median_of_runs(peer(Path(folder, "channel.npy")))}


def spans(folder, model):
    """Stage first parts of a long night; fit a line through seconds over hours."""
    import numpy as np

    from dreem_case.staging.stagers import load_stager

    stager, path = load_stager(model), night_in(folder)
    seconds = {hours: median_of_runs(lambda hours=hours: stage(stager, path, hours)) for hours in SPANS_HOURS}
    slope, start = np.polyfit(list(seconds), list(seconds.values()), 1)
    off = {hours: value / (start + slope * hours) - 1 for hours, value in seconds.items()}
    return {
        "seconds_by_hours": seconds, "seconds_per_hour": slope, "seconds_at_no_hours": start,
        "largest_distance_from_line_percent": 100 * max(map(abs, off.values())),
    }


def nights(folder, model):
    """Stage a night ten times in one process that has just started."""
    from dreem_case.staging.stagers import load_stager

    stager, path, found = load_stager(model), night_in(folder), []
    for _ in range(N_NIGHTS):
        found.append((seconds_of(lambda: stage(stager, path)), peak_mb()))
    (first_s, first_mb), (tenth_s, tenth_mb) = found[0], found[-1]
    return {"first_s": first_s, "tenth_s": tenth_s, "first_peak_mb": first_mb, "tenth_peak_mb": tenth_mb}


def cold(folder, model):
    """Print the hypnogram of a night."""
    from dreem_case.staging.stagers import load_stager

    return stage(load_stager(model), night_in(folder))


def peer_cold(folder):
    """Print YASA's hypnogram of the channel."""
    return [str(stage) for stage in peer(Path(folder, "channel.npy"))().hypno]


# All together


def run(name, *arguments):
    """Run one of the functions above in a process of its own; return what it prints, its seconds and its peak."""
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(libraries, str(N_THREADS))
    start = time.perf_counter()
    command = [sys.executable, __file__, name, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}")
    return json.loads(printed), time.perf_counter() - start, usage.ru_maxrss / 1024


def whole_processes(name, *arguments):
    """Return the median seconds and the largest peak of some processes after a first one."""
    run(name, *arguments)
    found = [run(name, *arguments)[1:] for _ in range(N_RUNS)]
    return statistics.median(seconds for seconds, _ in found), max(peak for _, peak in found)


def import_seconds(modules):
    """Return the median seconds that an import takes in processes of their own."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    return statistics.median(float(subprocess.check_output(command)) for _ in range(N_RUNS + 1))


def measure(folder, long_folder, model):
    """Return all figures."""
    from dreem_case.core.workers import processor

    made = run("simulate", folder, HOURS)[0]
    run("simulate", long_folder, max(SPANS_HOURS))
    found = run("warm", folder, model)[0]
    found["cold_s"], found["peak_mb"] = whole_processes("cold", folder, model)
    missing = [name for name in ("yasa", "mne") if importlib.util.find_spec(name) is None]
    if missing:
        found["peer"] = f"not measured: {', '.join(missing)} not installed"
    else:
        theirs = {"warm_s": run("peer_warm", folder)[0]["warm_s"]}
        theirs["cold_s"], theirs["peak_mb"] = whole_processes("peer_cold", folder)
        found["peer"] = {"version": importlib.metadata.version("yasa"), "threads": N_THREADS} | theirs
        found["warm_ratio_to_yasa_one_channel"] = found["warm_s"] / theirs["warm_s"]
        found["cold_ratio_to_yasa"] = found["cold_s"] / theirs["cold_s"]
    found["import_s"] = {name: import_seconds(modules) for name, modules in IMPORTS.items()}
    found["nights"] = run("nights", folder, model)[0]
    found |= run("spans", long_folder, model)[0]
    return {
        "hours": HOURS, "threads": N_THREADS, "cores": os.cpu_count(), "processor": processor(),
        "simulate": made, "h5_mb": night_in(folder).stat().st_size / 1e6,
    } | found


def rounded(value):
    """Round all numbers in a structure to four digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main():
    """Measure everything and write the result."""
    from dreem_case.staging.stagers import shipped_model_folder

    FOLDER.mkdir(parents=True, exist_ok=True)
    model = str(shipped_model_folder())
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        figures = rounded(measure(Path(folder, "night"), Path(folder, "long"), model))
    text = json.dumps(figures, indent=1)
    (FOLDER / "stage_night.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        functions = [simulate, warm, peer_warm, spans, nights, cold, peer_cold]
        chosen = {function.__name__: function for function in functions}[sys.argv[1]]
        with contextlib.redirect_stdout(sys.stderr):
            answer = chosen(*sys.argv[2:])
        print(json.dumps(answer))
