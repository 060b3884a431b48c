"""A process of its own for hostile files: it may die, hang or grow, and somebody else says so."""

import ctypes
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path

import psutil


class Sandbox:
    """A process that judges files, one after the other, and is started again when it dies.

    Its verdict on a file is an outcome, the seconds and the memory in MB that it took. Outcomes are "scored", the
    name of the error that refused the file, "hang" for more than `time_limit_s` of processor time, or ten times that on
    the clock, or "died".
    """

    def __init__(self, kind: str, model: Path, time_limit_s: float):
        self._command = [sys.executable, __file__, kind, str(model)]
        self._time_limit_s, self._process = time_limit_s, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def judge(self, path: Path) -> dict:
        """Return the verdict on a file."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._answer(60, 600)  # it says when it is ready
        self._process.stdin.write(f"{path}\n".encode())
        self._process.stdin.flush()
        start = time.monotonic()
        verdict = self._answer(self._time_limit_s, 10 * self._time_limit_s)
        if verdict["outcome"] in ("hang", "died"):
            verdict |= {"seconds": round(time.monotonic() - start, 3), "status": self._stop()}
        return verdict

    def _answer(self, time_limit_s: float, wait_s: float) -> dict:
        begun, end = self._processor_s(), time.monotonic() + wait_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not selector.select(0.1):
                if self._processor_s() - begun > time_limit_s or time.monotonic() > end:
                    return {"outcome": "hang"}
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"outcome": "died"}

    def _processor_s(self) -> float:
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    def _stop(self) -> int | None:
        if (process := self._process) is None:
            return None
        self._process = None
        status = process.poll()
        process.kill()
        process.stdin.close()
        process.stdout.close()
        ended = process.wait()
        return ended if status is None else status


class Untouched:
    """A look at a folder that nobody may open: `touched` names what was opened in it since."""

    OPENED, ACCESSED = 0x20, 0x1  # inotify(7)

    def __init__(self, folder: Path):
        library = ctypes.CDLL(None, use_errno=True)
        self._events = library.inotify_init1(os.O_NONBLOCK)
        if library.inotify_add_watch(self._events, os.fsencode(folder), self.OPENED | self.ACCESSED) < 0:
            raise OSError(ctypes.get_errno(), "no watch")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._events)

    @property
    def touched(self) -> bytes:
        """Return the events as the system gives them, file names among them."""
        try:
            return os.read(self._events, 2**16)
        except BlockingIOError:
            return b""


def memory_mb(name: str) -> float:
    """Return a figure of this process's memory by its name in /proc; 0 where there is no such place."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def serve(judge) -> None:
    """Answer each path on standard input with a verdict on standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    print(json.dumps({"outcome": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, start = memory_mb("VmRSS"), time.perf_counter()
        outcome = judge(Path(line.rstrip("\n")))
        figures = {"seconds": time.perf_counter() - start, "peak_mb": memory_mb("VmHWM") - before}
        verdict = outcome | {name: round(value, 3) for name, value in figures.items()}
        print(json.dumps(verdict), file=answers, flush=True)


def night_judge(model: Path):
    """Return what opens and scores a night."""
    from dreem_case.nights.casefile import CaseFileError, open_night
    from dreem_case.staging.score import NoUsableEEG, score_night
    from dreem_case.staging.stagers import load_stager

    stager = load_stager(model)

    def judge(path):
        try:
            night = open_night(path)
            score = score_night(night, stager)
        except (CaseFileError, NoUsableEEG) as error:
            return {"outcome": type(error).__name__, "message": str(error)}
        except BaseException as error:
            return {"outcome": f"raised {type(error).__name__}", "message": str(error)}
        well = len(score.stage_names) == night.n_epochs and bool(
            (abs(score.probabilities.sum(axis=1) - 1) < 1e-6).all()
        )
        return {"outcome": "scored" if well else "scored badly", "n_epochs": night.n_epochs}

    return judge


def model_judge(good: Path):
    """Return what loads a model, and predicts with it if it was not refused."""
    import numpy as np

    from dreem_case.core.model_file import ModelError
    from dreem_case.nights.night import Night, Signal
    from dreem_case.staging.features import night_features
    from dreem_case.staging.stagers import load_stager

    noise = np.random.default_rng(0).normal(0, 20, (2, 15_000)).astype(np.float32)
    signals = {name: Signal(values, 250, "µV", "eeg") for name, values in zip(("eeg1", "eeg7"), noise, strict=True)}
    prepared = night_features(Night("night", signals, 2))
    stager = load_stager(good)  # whatever these import only now is no deed of a hostile model
    stager.predict_proba(prepared)
    repr(stager)

    watched = Watched()
    sys.addaudithook(watched)

    def judge(folder):
        with watched:
            try:
                stager = load_stager(folder)
            except ModelError as error:
                verdict = {"outcome": "ModelError", "message": str(error)}
            except BaseException as error:
                verdict = {"outcome": f"raised {type(error).__name__}", "message": str(error)}
            else:
                verdict = {"outcome": "loaded"}
        if watched.deeds:
            return {"outcome": "did " + ", ".join(sorted(watched.deeds))}
        if verdict["outcome"] == "loaded":
            try:
                if stager.predict_proba(prepared).shape != (2, 5):
                    verdict = {"outcome": "predicts another shape"}
            except Exception as error:
                verdict = {"outcome": f"predicting raised {type(error).__name__}", "message": str(error)}
        return verdict

    return judge


class Watched:
    """An audit hook that keeps what a model has no business to do, between entry and exit."""

    FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class")
    FORBIDDEN += ("socket.connect", "ctypes.dlopen", "import", "os.remove", "os.rename")

    def __init__(self):
        self.on, self.deeds = False, set()

    def __enter__(self):
        self.on, self.deeds = True, set()
        return self

    def __exit__(self, *_):
        self.on = False

    def __call__(self, event, arguments):
        if self.on and (event in self.FORBIDDEN or (event == "open" and self._is_outside(*arguments))):
            self.deeds.add(f"{event} {str(arguments[0])[:60]}")

    @staticmethod
    def _is_outside(path, mode, flags) -> bool:
        own = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2] / "dreem_case"))
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return writes or not (str(path).startswith(own) or Path(str(path)).parent.name == "model")


if __name__ == "__main__":
    serve({"night": night_judge, "model": model_judge}[sys.argv[1]](Path(sys.argv[2])))
