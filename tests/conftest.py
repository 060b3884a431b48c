"""What several test modules share: the project's folder, waiting, short nights, the real data where it is."""

import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def until(condition, limit_s: float = 60):
    """Wait until a condition holds, and return what it gives."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise TimeoutError(f"waited {limit_s} s")


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
    from dreem_case.simulate import write_default_nights

    folder = tmp_path_factory.mktemp("nights")
    write_default_nights(folder, n_nights=3, seed=1, hours=2 / 3)
    return folder


@pytest.fixture(scope="session")
def short_model(short_nights, tmp_path_factory) -> Path:
    """A folder with a small forest, trained on the short nights."""
    from dreem_case.forest import ForestStager
    from dreem_case.store import open_store

    store, stager = open_store(short_nights), ForestStager(n_trees=8)
    nights = [store.open_night(record) for record in store.records()]
    stager.fit([stager.prepare(night) for night in nights], [night.hypnogram for night in nights])
    folder = tmp_path_factory.mktemp("model")
    stager.save(folder)
    return folder
