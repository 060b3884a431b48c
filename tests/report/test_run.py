"""Running a chapter, whatever the machine's environment says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dreem_case.report.publish import publish_examples
from dreem_case.report.run import ChapterFailed, run_chapter

DRAWING = "import matplotlib.pyplot as plt\nimport sys\nplt.plot([1, 2])\nplt.show()\nprint(sys.executable)"


def chapter(folder: Path, source: str = DRAWING) -> Path:
    """Write a chapter with one cell that draws."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    parameters = nbformat.v4.new_code_cell("data = ''", metadata={"tags": ["parameters"]})
    nbformat.write(
        nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)], metadata=kernel),
        folder / "1_one.ipynb",
    )
    return folder / "1_one.ipynb"


RUN = """
import sys
from pathlib import Path
from dreem_case.report.run import run_chapter
run_chapter(Path(sys.argv[1]), Path(sys.argv[2]), {}, Path.cwd())
"""


def long_folder(folder: Path) -> str:
    long = folder / ("x" * 100)
    long.mkdir()
    return str(long)


def somebody_elses_kernel(folder: Path) -> str:
    spec = {"argv": ["/bin/false", "-f", "{connection_file}"], "display_name": "other", "language": "python"}
    (folder / "kernels" / "python3").mkdir(parents=True)
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return str(folder)


ENVIRONMENTS = {
    "MPLBACKEND": lambda folder: "Agg",
    "TMPDIR": long_folder,
    "JUPYTER_PATH": somebody_elses_kernel,
    "HOME": lambda folder: "/proc/1/nowhere",
    "LC_ALL": lambda folder: "C",
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_chapter_runs_on_this_python_with_its_pictures_whatever_the_environment_says(name, tmp_path):
    environment = {**os.environ, name: ENVIRONMENTS[name](tmp_path)}
    command = [sys.executable, "-c", RUN, str(chapter(tmp_path)), str(tmp_path / "copy.ipynb")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    outputs = nbformat.read(tmp_path / "copy.ipynb", 4).cells[-1].outputs
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert [output.text.strip() for output in outputs if output.get("name") == "stdout"] == [sys.executable]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_a_chapter_without_its_pictures_has_failed(tmp_path):
    path = chapter(tmp_path, f"import matplotlib\nmatplotlib.use('Agg')\n{DRAWING}")
    with pytest.raises(ChapterFailed, match="chapter 1_one failed: expected pictures of 1 cells, found 0"):
        run_chapter(path, tmp_path / "copy.ipynb", {}, tmp_path)


def test_a_user_without_a_name_or_a_home_is_told_to_name_a_cache(tmp_path):
    code = (
        "import os, pwd; os.environ.pop('HOME', None)\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from dreem_case.cli import main\n"
        f"main(['features', '--store', {str(tmp_path)!r}])"
    )
    (tmp_path / "a.h5").touch()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, "Traceback" in run.stderr) == (2, False)
    assert "expected a folder for the cache, found ~/.cache/dreem-case for a user without a home" in run.stderr


def test_a_chapter_whose_only_picture_is_of_data_that_it_was_not_given_is_whole(tmp_path):
    path = chapter(tmp_path, "import matplotlib.pyplot as plt\nif data:\n    plt.plot([1, 2])\n    plt.show()")
    assert run_chapter(path, tmp_path / "copy.ipynb", {}, tmp_path) > 0


def test_the_examples_of_the_library_keep_what_they_give_and_nothing_of_this_machine(tmp_path):
    to_stderr = "import sys; print('odd', file=sys.stderr)"
    shown = ["1 + 1", "print('/tmp/a-place')", "object()", to_stderr, "#| hide\n2 + 2"]
    texts = {"good": shown, "bad": ["1 / 0"]}
    for name, sources in texts.items():
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        path = tmp_path / "nbs" / "library" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    failed = publish_examples(tmp_path)
    assert list(failed) == ["nbs/library/bad.ipynb"] and "ZeroDivisionError" in failed["nbs/library/bad.ipynb"]
    kept = [cell.outputs for cell in nbformat.read(tmp_path / "nbs" / "library" / "good.ipynb", 4).cells]
    assert [len(outputs) for outputs in kept] == [1, 0, 0, 0, 0]
    assert kept[0][0].data["text/plain"] == "2"
