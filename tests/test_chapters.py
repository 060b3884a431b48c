"""Every chapter runs on short nights, on nights without a scorer, and on one night alone."""

import shutil
from pathlib import Path

import nbformat
import pytest

from dreem_case.book import chapter_paths, run_chapter
from dreem_case.chapter import read_results
from dreem_case.publish import output_problems
from tests.conftest import ROOT

pytestmark = pytest.mark.smoke
CHAPTERS = chapter_paths(ROOT)


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
