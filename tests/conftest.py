"""What several test modules share: the project's folder, waiting, short nights, the real data where it is."""

import os
import resource
import time
from pathlib import Path

import h5py
import pytest
from hypothesis import settings

from tests.support.browser import ARGUMENTS, CHROMIUM

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("any machine", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("any machine")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # a test may import the runtime before the package does


# Most that a test may take without the mark `slow`. Tests stay below a third of it where they are written, since a
# second of processor time does less on another machine, and on cores that share their units.
PROCESSOR_S = 60
MAY_TAKE_LONGER = ("slow", "smoke", "odd", "built")


def processor_s() -> float:
    """Give the processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(of.ru_utime + of.ru_stime for of in used)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a slow test that does not say so."""
    before = processor_s()
    result = yield
    spent = processor_s() - before
    if spent > PROCESSOR_S and not any(item.get_closest_marker(name) for name in MAY_TAKE_LONGER):
        expected = f"expected at most {PROCESSOR_S} s of processor time"
        pytest.fail(f"{expected}, found {spent:.0f}: be quicker, or be marked slow")
    return result


def until(condition, limit_s: float = 60):
    """Wait until a condition holds, and return what it gives."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise TimeoutError(f"waited {limit_s} s")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium or Chrome is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that need it skip where it is not at hand."""
    folder = Path(os.environ.get("DREEM_CASE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real recordings are not at hand (set DREEM_CASE_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def short_nights(tmp_path_factory) -> Path:
    """Three simulated nights of 40 minutes in the case's layout."""
    from dreem_case.simulate.nights import write_default_nights

    folder = tmp_path_factory.mktemp("nights")
    write_default_nights(folder, n_nights=3, seed=1, hours=2 / 3)
    return folder


@pytest.fixture(scope="session")
def short_training(short_nights) -> tuple[list, list]:
    """Features and labels of the short nights."""
    from dreem_case.nights.store import open_store
    from dreem_case.staging.features import night_features

    store = open_store(short_nights)
    nights = [store.open_night(record) for record in store.records()]
    return [night_features(night) for night in nights], [night.hypnogram for night in nights]


SMALL = {"boosted": {"n_rounds": 8, "n_folds": 2, "n_copies": 1, "n_jobs": 1}, "forest": {"n_trees": 8}}
SMALL["blended"] = {**SMALL["boosted"], "n_networks": 2, "passes": 1}
SMALL["recurrent"] = {"n_networks": 1, "passes": 1}


def saved_model(name: str, training: tuple[list, list], folder: Path) -> Path:
    """Fit a small stager, and return the folder it is saved in."""
    from dreem_case.staging.stagers import new_stager

    new_stager(name, **SMALL[name]).fit(*training).save(folder, {"kappa": 0.5})
    return folder


@pytest.fixture(scope="session")
def short_blend(short_training, tmp_path_factory) -> Path:
    """A folder with small trees and networks, fitted to the short nights."""
    pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")
    return saved_model("blended", short_training, tmp_path_factory.mktemp("blend"))


@pytest.fixture(scope="session")
def short_model(short_training, tmp_path_factory) -> Path:
    """A folder with small boosted trees, fitted to the short nights."""
    return saved_model("boosted", short_training, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def six_minutes(short_nights, tmp_path_factory) -> Path:
    """A folder with the first six minutes of the short nights."""
    folder = tmp_path_factory.mktemp("six_minutes")
    for path in (short_nights / "h5").glob("*.h5"):
        with h5py.File(path) as whole, h5py.File(folder / path.name, "w") as part:
            for name in whole:
                part[name] = whole[name][: len(whole[name]) * 6 // 40]
    return folder


@pytest.fixture(scope="session")
def short_forest(short_training, tmp_path_factory) -> Path:
    """A folder with a small forest, fitted to the short nights."""
    return saved_model("forest", short_training, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def server():
    """The address of an S3 server on loopback."""
    from tests.support.stores import s3_server

    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def credentials(monkeypatch):
    """Those of whoever may write to that server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")


@pytest.fixture
def between(server):
    """A server before that one, which can be told to fail."""
    from tests.support.faulty_server import Between

    between = Between(server)
    yield between
    between.close()


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> bytes:
    """The h5 file of a night of ten minutes."""
    from tests.support.stores import h5_content

    return h5_content(tmp_path_factory.mktemp("made"), n_epochs=20)
