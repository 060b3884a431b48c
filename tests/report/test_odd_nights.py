"""Somebody's nights, odd and broken in every way at once: a chapter says what it lacks and loses nothing else.

Slow, so run by hand before a report is published: `pytest -m odd`. `test_study` holds the rules.
"""

import json
import re
import shutil
from pathlib import Path

import h5py
import nbformat
import pytest

from dreem_case.report.chapter import read_results
from dreem_case.report.publish import output_problems
from dreem_case.report.run import chapter_paths, run_chapter
from tests.conftest import ROOT

pytestmark = pytest.mark.odd
CHAPTERS = [path for path in chapter_paths(ROOT) if not path.stem.startswith("6")]  # it looks at its own nights


def rewrite(path: Path, change) -> None:
    """Replace every signal of a record by what `change(name, values)` makes of it; None leaves it out."""
    with h5py.File(path, "a") as file:
        for name in list(file):
            values = change(name, file[name][:])
            del file[name]
            if values is not None:
                file[name] = values


@pytest.fixture(scope="session")
def odd_nights(short_nights, tmp_path_factory) -> Path:
    """Five nights with names alike, of which one is whole and scored, beside what is no night."""
    folder = tmp_path_factory.mktemp("nächte mit Lücken")
    (folder / "h5").mkdir()
    (folder / "hypnograms").mkdir()
    sources = sorted((short_nights / "h5").iterdir())
    paths = {name: folder / "h5" / f"2026-01-{name}-s.h5" for name in ("whole", "still", "off", "part", "new")}
    for path, source in zip(paths.values(), [*sources, *sources], strict=False):
        shutil.copy(source, path)
        stages = json.loads((short_nights / "hypnograms" / f"{source.stem}.json").read_text())
        (folder / "hypnograms" / f"{path.stem}.json").write_text(json.dumps(stages[:32]))
        rewrite(path, lambda name, values: values[: len(values) * 2 // 5])  # 16 minutes
    rewrite(paths["still"], lambda name, values: None if name.startswith("acc") else values)
    rewrite(paths["off"], lambda name, values: values * 0)
    rewrite(paths["part"], lambda name, values: values[: len(values) // 16] if name != "eeg1" else None)
    (folder / "hypnograms" / f"{paths['part'].stem}.json").write_text('["WAKE"]')
    (folder / "hypnograms" / f"{paths['new'].stem}.json").rename(folder / "hypnograms" / "nwe.json")
    (folder / "h5" / "cut.h5").write_bytes(sources[0].read_bytes()[:10_000])
    (folder / "h5" / "a night.h5").touch()
    return folder


@pytest.fixture(scope="session", params=["none", "one"])
def waking_nights(request, short_nights, tmp_path_factory) -> Path:
    """The short nights, with a scorer who has seen nothing but wake, or no more than that in all nights but one."""
    folder = tmp_path_factory.mktemp("waking")
    shutil.copytree(short_nights / "h5", folder / "h5")
    (folder / "hypnograms").mkdir()
    for i, path in enumerate(sorted((folder / "h5").iterdir())):
        stages = ["WAKE"] * 30 + ["N2" if i == 0 and request.param == "one" else "WAKE"] * 30
        (folder / "hypnograms" / f"{path.stem}.json").write_text(json.dumps(stages))
    return folder


def texts(executed: nbformat.NotebookNode) -> str:
    """Return everything that a chapter says, tables included."""
    data = [output.get("data", {}) for cell in executed.cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text/markdown", one.get("text/plain", "")) for one in data)


def said_by(chapter: Path, data: Path, folder: Path) -> str:
    """Run a chapter on a folder of nights, check that it is fit to read, and return what it says."""
    results = folder / "results.json"
    run_chapter(chapter, folder / chapter.name, {"data": str(data), "results": str(results), "budget": "ci"}, cwd=ROOT)
    executed = nbformat.read(folder / chapter.name, 4)
    assert output_problems(executed, chapter.stem) == []
    assert re.findall(r".*\b(?:nan|inf|None)\b.*", texts(executed)) == []
    assert {row["data"] for row in read_results(results).values()} <= {"nights"}
    return texts(executed)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_says_what_odd_nights_lack(chapter, odd_nights, tmp_path):
    said = said_by(chapter, odd_nights, tmp_path)
    assert all(name in said for name in ("cut:", "a night.h5", "nwe.json"))


@pytest.mark.parametrize("chapter", [path for path in CHAPTERS if path.stem[0] in "34"], ids=lambda path: path.stem)
def test_nights_of_one_stage_train_and_judge_nothing(chapter, waking_nights, tmp_path):
    assert "with labels of several stages" in said_by(chapter, waking_nights, tmp_path)
