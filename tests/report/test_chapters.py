"""Every chapter runs on short nights, on nights without a scorer, and on one night alone."""

import shutil
from pathlib import Path

import nbformat
import pytest

from dreem_case.report.chapter import read_results
from dreem_case.report.publish import output_problems
from dreem_case.report.run import chapter_paths, run_chapter
from tests.conftest import ROOT

pytestmark = pytest.mark.smoke
CHAPTERS = chapter_paths(ROOT)
_BEST = ("kappa_per_night", "kappa_per_night_mean", "kappa_per_night_min")
_CONFIDENCE = ("macro_f1", "ece", "review_gain", "flagged_share")
_DROPS = ("one_gone", "one_gone_worst", "one_left", "gain", "sign", "part_night_failure", "no_accelerometer")
FIGURES = {  # chapter -> what it leaves in the results of simulated nights
    "3_model": {"forest.kappa_per_night_mean", "best.gain_over_forest", *(f"best.{name}" for name in _BEST)},
    "4_performance": {
        "scorers.kappa_pairwise_mean", "forest.kappa_per_night_mean", "forest.ece",
        *(f"best.{name}" for name in (*_BEST, *_CONFIDENCE)), *(f"best.kappa_drop.{name}" for name in _DROPS),
    },
}  # fmt: skip


def run(chapter: Path, data: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a chapter on a folder of nights and return its executed copy."""
    copy = folder / chapter.name
    parameters = {"data": str(data), "results": str(folder / "results.json")}
    run_chapter(chapter, copy, parameters, cwd=ROOT)
    return nbformat.read(copy, 4)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_short_nights(chapter, short_nights, tmp_path):
    executed = run(chapter, short_nights, tmp_path)
    assert output_problems(executed, chapter.stem) == []
    results = read_results(tmp_path / "results.json")
    assert all(row["data"] != "nights" for row in results.values())
    assert {f"simulated.{name}" for name in FIGURES.get(chapter.stem, ())} <= set(results)


@pytest.fixture(scope="session")
def unscored_night(short_nights, tmp_path_factory) -> Path:
    """One of the short nights, without its hypnogram and its manifest."""
    folder = tmp_path_factory.mktemp("unscored")
    (folder / "h5").mkdir()
    shutil.copy(sorted((short_nights / "h5").iterdir())[0], folder / "h5")
    return folder


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_one_night_that_nobody_scored(chapter, unscored_night, tmp_path):
    executed = run(chapter, unscored_night, tmp_path)
    assert output_problems(executed, chapter.stem) == []
