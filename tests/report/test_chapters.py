"""Every chapter runs on short nights; what odd nights lack is tested in `test_study`."""

import nbformat
import pytest

from dreem_case.report.chapter import read_results
from dreem_case.report.publish import output_problems
from dreem_case.report.run import chapter_paths, run_chapter
from tests.conftest import ROOT

pytestmark = pytest.mark.smoke
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


@pytest.mark.parametrize("chapter", chapter_paths(ROOT), ids=lambda path: path.stem)
def test_a_chapter_runs_on_short_nights(chapter, short_nights, tmp_path):
    copy, kept = tmp_path / chapter.name, tmp_path / "results.json"
    run_chapter(chapter, copy, {"data": str(short_nights), "results": str(kept), "budget": "ci"}, cwd=ROOT)
    executed = nbformat.read(copy, 4)
    assert output_problems(executed, chapter.stem) == []
    results = read_results(kept)
    assert all(row["data"] != "nights" and row["budget"] == "ci" for row in results.values())
    assert {f"simulated.{name}" for name in FIGURES.get(chapter.stem, ())} <= set(results)
