"""The chapters of every part run without real recordings, as `make report PART=...` has them on a new machine."""

import nbformat
import pytest

from dreem_case.report.chapter import read_results
from dreem_case.report.publish import output_problems
from dreem_case.report.run import chapter_paths, copy_path, run_chapters
from tests.conftest import ROOT
from tests.report.test_chapters import PARTS


@pytest.mark.smoke
@pytest.mark.parametrize("part", PARTS)
def test_the_chapters_of_a_part_run_without_real_recordings(part, tmp_path):
    chapters, kept = chapter_paths(ROOT, part), tmp_path / "results.json"
    run_chapters(ROOT, chapters, tmp_path, {"seed": 1, "results": str(kept), "budget": "ci"})
    executed = {path.stem: nbformat.read(copy_path(ROOT, tmp_path, path), 4) for path in chapters}
    assert [problem for name, page in executed.items() for problem in output_problems(page, name)] == []
    assert {row["budget"] for row in read_results(kept).values()} == {"ci"}
