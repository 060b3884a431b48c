"""Every chapter runs on short nights, and reads well; what odd nights lack is tested in `test_study`."""

import re

import nbformat
import pytest

from dreem_case.report.chapter import read_results
from dreem_case.report.publish import output_problems
from dreem_case.report.run import chapter_paths, run_chapter
from tests.conftest import ROOT

CHAPTERS = chapter_paths(ROOT)
PARTS = sorted(folder.name for folder in (ROOT / "nbs" / "report").iterdir() if any(folder.glob("*.ipynb")))
OF_PARTS = [path for part in PARTS for path in chapter_paths(ROOT, part)]
PAGES = [*CHAPTERS, *OF_PARTS, ROOT / "nbs" / "index.ipynb"]
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


def page_id(path):
    """Name a page by its part and number."""
    return "/".join(path.relative_to(ROOT / "nbs").with_suffix("").parts[-2:])


def code_cells(page):
    """Return a page's code cells, and what each says of itself behind `#|`."""
    cells = [cell for cell in nbformat.read(page, 4).cells if cell.cell_type == "code"]
    return [(cell, dict(re.findall(r"^#\| ([\w-]+): (.*)$", cell.source, re.M))) for cell in cells]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_figure_has_a_label_a_caption_and_a_text_for_those_who_cannot_see_it(page):
    figures = [own for cell, own in code_cells(page) if re.search(r"plt\.show\(|display\(", cell.source)]
    assert figures or page in OF_PARTS
    assert [own for own in figures if not {"label", "fig-cap", "fig-alt"} <= set(own)] == []
    assert [own for own in figures if own.get("echo") != "false" and "code-summary" not in own] == []
    labels = [own["label"] for own in figures]
    assert len(set(labels)) == len(labels)
    text = "\n".join(cell.source for cell in nbformat.read(page, 4).cells)
    assert set(re.findall(r"@(fig-[\w-]+)", text)) <= set(labels)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_code_stands_before_the_answer_and_none_that_only_says_something(page):
    seen = [own for _, own in code_cells(page)]
    shown = [own for cell, own in code_cells(page) if own.get("echo") != "false"]
    assert [own for own in shown if "code-summary" not in own and own.get("code-fold") != "false"] == []
    assert seen[0]["echo"] == "false"
    cells = nbformat.read(page, 4).cells
    answer = next((i for i, cell in enumerate(cells) if "answer in" in cell.source or "findings in" in cell.source), 4)
    before = [cell for cell in cells[:answer] if cell.cell_type == "code"]
    assert [cell.source[:60] for cell in before if "#| echo: false" not in cell.source] == []
    prose = [cell.source for cell, own in code_cells(page) if re.search(r"^ *say\(", cell.source, re.M)]
    assert [source[:60] for source in prose if "#| echo: false" not in source and "plt.show" not in source] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_line_of_code_fits_its_box_and_no_table_needs_scripts(page):
    shown = [cell.source for cell, own in code_cells(page) if own.get("echo") != "false"]
    lines = [line for source in shown for line in source.splitlines() if not line.startswith("#|")]
    assert [line for line in lines if len(line) > 120] == []
    assert [line for line in lines if ".style." in line] == []


@pytest.mark.parametrize("chapter", [*CHAPTERS, *OF_PARTS], ids=page_id)
def test_every_chapter_has_one_box_of_what_to_take_away(chapter):
    said = [cell.source for cell, _ in code_cells(chapter) if re.search(r"^ *take_away\(", cell.source, re.M)]
    assert len(said) == 1


@pytest.mark.smoke
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_on_short_nights(chapter, short_nights, tmp_path):
    copy, kept = tmp_path / chapter.name, tmp_path / "results.json"
    run_chapter(chapter, copy, {"data": str(short_nights), "results": str(kept), "budget": "ci"}, cwd=ROOT)
    executed = nbformat.read(copy, 4)
    assert output_problems(executed, chapter.stem) == []
    results = read_results(kept)
    assert all(row["data"] != "nights" and row["budget"] == "ci" for row in results.values())
    assert {f"simulated.{name}" for name in FIGURES.get(chapter.stem, ())} <= set(results)
