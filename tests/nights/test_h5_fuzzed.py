"""Hostile h5 files: scored or refused by name, quickly, in little memory, and with no look at another file."""

import os
import sys

import h5py
import pytest

from dreem_case.api import make_app
from dreem_case.core.cache import ResultCache
from dreem_case.nights.store import open_store
from dreem_case.serving.answers import Answers
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import CODES, NO_USABLE_EEG, ScoringPool
from tests.support.hostile_nights import fill, write_hostile_night
from tests.support.sandbox import Sandbox, Untouched

N_FILES = 72 * int(os.environ.get("FUZZ_TIMES", "1"))  # each structure four times, and as many broken files
TIME_LIMIT_S, MEMORY_LIMIT_MB = 10, 200  # of processor time
REFUSALS = {error.__name__: code for error, code in CODES.items()} | {"NoUsableEEG": NO_USABLE_EEG}


@pytest.fixture(scope="module")
def bait(tmp_path_factory):
    """A night outside the store."""
    path = tmp_path_factory.mktemp("outside") / "bait.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return path


@pytest.fixture
def client(short_model, tmp_path):
    (tmp_path / "h5").mkdir()
    with ScoringPool(short_model, time_limit_s=TIME_LIMIT_S) as pool:
        answers = Answers(open_store(tmp_path), ResultCache(tmp_path / "cache", 10**8), pool)
        yield make_app(answers, Metrics()).test_client()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory and opened files are looked up as Linux tells them")
def test_a_hostile_file_is_scored_or_refused_by_name_and_nothing_else_is_read(short_model, tmp_path, bait, client):
    path, outcomes = tmp_path / "h5" / "night.h5", set()
    with Sandbox("night", short_model, TIME_LIMIT_S) as sandbox, Untouched(bait.parent) as outside:
        for seed in range(N_FILES):
            done = write_hostile_night(path.with_suffix(".part"), seed, bait)
            path.with_suffix(".part").replace(path)
            verdict, told = sandbox.judge(path), f"seed {seed}: {done}"
            assert verdict["outcome"] in {"scored", *REFUSALS}, f"{told}: {verdict}"
            assert verdict["peak_mb"] < MEMORY_LIMIT_MB, f"{told}: {verdict}"
            assert str(tmp_path) not in verdict.get("message", ""), f"{told}: {verdict}"
            assert outside.touched == b"", told
            response = client.get("/hypnogram/night")
            if verdict["outcome"] == "scored":
                assert response.status_code == 200, f"{told}: {response.json}"
                assert len(response.json) == verdict["n_epochs"], told
            else:
                assert response.status_code == 422, told
                assert response.json["code"] == REFUSALS[verdict["outcome"]], f"{told}: {response.json}"
                assert str(tmp_path) not in response.text, told
            outcomes.add(verdict["outcome"])
    assert len(outcomes) > 3  # what is wrong with one channel leaves it out, and refuses no night


def test_a_file_that_crashes_hdf5_ends_a_process_of_the_pool_and_nothing_else(tmp_path, client):
    good, crashing = tmp_path / "h5" / "good.h5", tmp_path / "h5" / "crashing.h5"
    with h5py.File(good, "w") as file:
        fill(file)
    content = bytearray(good.read_bytes())
    root = content.index(b"TREE")  # of the group's members: a node that holds itself, over and over
    content[root + 5] = 1
    content[root + 32 : root + 40] = root.to_bytes(8, "little")
    crashing.write_bytes(content)
    for _ in range(2):
        response = client.get("/hypnogram/crashing")
        assert response.status_code == 422
        assert client.get("/hypnogram/good").status_code == 200
