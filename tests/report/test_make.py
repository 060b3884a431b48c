"""Running chapters, keeping their figures, rendering and publishing them."""

import base64
import json
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from textwrap import dedent

import h5py
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dreem_case.core.code_version import code_version
from dreem_case.nights.casefile import write_night
from dreem_case.nights.folder_store import FolderStore
from dreem_case.nights.night import Night, Signal
from dreem_case.nights.store import open_store
from dreem_case.report import chapter, publish, site
from dreem_case.report import make as report
from dreem_case.report import run as book
from dreem_case.staging import embedded as defaults


def notebook(*cells, title="A chapter", parameters="data = ''"):
    """Make a small chapter: front matter, parameters, then code cells."""
    made = [nbformat.v4.new_raw_cell(f"---\ntitle: {title}\nskip_exec: true\ncode-fold: true\n---")]
    made.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made += [nbformat.v4.new_code_cell(source) for source in cells]
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=made, metadata=kernel)


@pytest.fixture
def project(tmp_path, root) -> Path:
    """A project of two chapters and a landing page, beside nights that are there."""
    (tmp_path / "nbs" / "report").mkdir(parents=True)
    (tmp_path / "nbs" / "library").mkdir()
    (tmp_path / "nights").mkdir()
    (tmp_path / "settings.ini").write_text((root / "settings.ini").read_text())
    config = "project: {type: website, render: [nbs/**/*.ipynb]}\nwebsite: {title: Case}\nformat: {html: {toc: true}}\n"
    (tmp_path / "_quarto.yml").write_text(config)
    (tmp_path / "README.md").write_text("# x\n<!-- figures -->\n<!-- /figures -->\n<!-- costs -->\n<!-- /costs -->\n")
    record = """
        from dreem_case.report.chapter import record_results
        record_results({'forest.kappa_per_night_mean': 0.71}, 'simulated', 7, results, budget)
    """
    parameters = "data = ''\nresults = ''\nbudget = 'full'"
    one = notebook("print('nights:', bool(data))", dedent(record), parameters=parameters)
    nbformat.write(one, tmp_path / "nbs" / "report" / "1_one.ipynb")
    nbformat.write(notebook("print(2)"), tmp_path / "nbs" / "report" / "2_two.ipynb")
    nbformat.write(notebook("print('home')", title="Home"), tmp_path / "nbs" / "index.ipynb")
    return tmp_path


def test_a_figure_of_numpy_becomes_plain_json(tmp_path):
    path = tmp_path / "results.json"
    chapter.record_results({"a": np.float32(0.5), "b": np.array([1.0, 2.0])}, "simulated", np.int64(2), path)
    assert json.loads(path.read_text())["simulated.b"]["value"] == [1.0, 2.0]
    assert json.loads(path.read_text())["simulated.a"] | {"date": ""} == {
        "value": 0.5, "data": "simulated", "n_nights": 2, "date": "", "budget": "full",
    }  # fmt: skip


def test_a_figure_rounds_in_the_readme_as_in_its_chapter(tmp_path):
    path, value = tmp_path / "results.json", 0.77496
    chapter.record_results({"best.kappa_per_night_mean": value}, "simulated", 7, path)
    assert f"| {value:.2f} |" in chapter.headline_table(chapter.read_results(path))


def test_a_figure_recorded_again_replaces_the_first(tmp_path):
    path = tmp_path / "results.json"
    for value in (0.1, 0.2):
        chapter.record_results({"a": value}, "simulated", 7, path)
    assert chapter.read_results(path)["simulated.a"]["value"] == 0.2
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_an_undefined_figure_stays_out_of_the_results(tmp_path):
    path = tmp_path / "results.json"
    chapter.record_results({"a": float("nan"), "b": [0.5, float("nan")], "c": 1.0}, "nights", 2, path)
    found = {name: row["value"] for name, row in chapter.read_results(path).items()}
    assert found == {"nights.b": [0.5, None], "nights.c": 1.0}


def test_a_cell_of_a_table_stays_one(monkeypatch):
    said = []
    monkeypatch.setattr(chapter, "say", said.append)
    chapter.show_table([{"night": "a|b\nc", "kappa": float("nan")}, {"night": "d", "kappa": 0.5}])
    assert said == ["| night | kappa |\n| --- | --- |\n| a\\|b c | - |\n| d | 0.5 |"]


def test_what_the_real_figure_is_stands_beside_it():
    row = {"value": 0.764, "data": "real_headband", "n_nights": 27}
    results = {"real_headband.best.kappa_per_night_mean": row}
    assert "The 0.76 on real headband nights is agreement with labels that are probably automatic" in (
        chapter.headlines(results)
    )
    assert chapter.real_caveat({}) == ""


def test_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        chapter.write_results({"a": {"value": float("nan")}}, tmp_path / "results.json")
    assert list(tmp_path.glob("*.json")) == []


@given(st.sets(st.text("abc-012", min_size=1, max_size=12), min_size=1))
def test_no_two_nights_share_a_short_name(records):
    short = chapter.short_names(sorted(records))
    assert set(short) == records
    assert len(set(short.values())) == len(records)


def test_a_file_meant_as_a_night_is_named_where_nothing_can_be_read(tmp_path):
    (tmp_path / "night 1.h5").touch()
    with pytest.raises(chapter.ReportError, match="expected a name of"):
        chapter.open_nights(FolderStore(tmp_path))


def test_relative_results_lie_in_the_project_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "settings.ini").write_text("[DEFAULT]\nlib_name = dreem_case\n", encoding="utf-8")
    (tmp_path / "nbs").mkdir()
    monkeypatch.chdir(tmp_path / "nbs")
    chapter.record_results({"a": 1.0}, "simulated", 7)
    assert (tmp_path / "build" / "results.json").is_file()


def test_every_chapter_runs_and_the_site_shows_the_copies(project, capsys):
    committed = (project / "nbs" / "report" / "1_one.ipynb").read_bytes()
    page = report.make_report(project, data=str(project / "nights"))
    assert page == project / "build" / "site" / "index.html"
    assert "nights: True" in (project / "build" / "site" / "nbs" / "report" / "1_one.html").read_text()
    figures = chapter.read_results(project / "build" / "results.json")
    assert figures["simulated.forest.kappa_per_night_mean"]["n_nights"] == 7
    assert (project / "nbs" / "report" / "1_one.ipynb").read_bytes() == committed
    said = capsys.readouterr().out
    assert "[1/3] 1_one ..." in said and "[3/3] index done" in said


def test_chapters_of_one_name_in_two_parts_stay_apart(project):
    other = project / "nbs" / "report" / "ecg"
    other.mkdir()
    record = "from dreem_case.report.chapter import record_results\nrecord_results({'beats': 1.0}, 'mitdb', 3, results)"
    nbformat.write(notebook("print('beats')", record, parameters="results = ''"), other / "1_one.ipynb")
    nbformat.write(notebook("print('the part')", title="Part"), other / "index.ipynb")
    report.make_report(project, data=str(project / "nights"))
    case = (project / "build" / "results.json").read_text()
    page = report.make_report(project, part="ecg", budget="ci")
    assert page == project / "build" / "ecg" / "site" / "index.html"
    assert (project / "build" / "results.json").read_text() == case
    assert list(chapter.read_results(project / "build" / "ecg" / "results.json")) == ["mitdb.beats"]
    pages = project / "build" / "ecg" / "site" / "nbs" / "report"
    assert "beats" in (pages / "ecg" / "1_one.html").read_text()
    assert "beats" not in (pages / "1_one.html").read_text()
    assert "nights: True" in (project / "build/site/nbs/report/1_one.html").read_text()
    run = json.loads((project / "build" / "ecg" / "run.json").read_text())
    assert (run["part"], run["budget"], list(run["seconds_per_chapter"])) == (
        "ecg", "ci", ["report/ecg/1_one", "report/ecg/index"],
    )  # fmt: skip


def test_a_part_that_is_none_is_named_before_anything_runs(project):
    with pytest.raises(chapter.ReportError, match="part: expected one of none, as there are none, found"):
        report.make_report(project, part="../library")
    assert not (project / "build").exists()


def test_the_site_tells_no_path_of_the_machine(project):
    report.make_report(project, data=str(project / "nights"))
    pages = list((project / "build" / "site").rglob("*.html"))
    assert pages
    assert [page.name for page in pages if str(project) in page.read_text()] == []


def test_a_preview_says_that_it_is_one(project, monkeypatch):
    monkeypatch.setattr(site.shutil, "which", lambda name: None)
    _, renderer = site.build_site(project, project / "book", project / "build")
    assert renderer == "smalldocs (preview)"
    assert "Preview rendered by smalldocs" in (project / "build/site/nbs/index.html").read_text()


def test_a_preview_numbers_figures_and_their_references(tmp_path):
    def figure(name, *outputs):
        source = f'#| label: fig-{name}\n#| fig-cap: "The {name}."\nplot()'
        return nbformat.v4.new_code_cell(source, outputs=list(outputs))

    picture = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    said = nbformat.v4.new_output("display_data", data={"text/markdown": "As @fig-second shows, and @fig-third."})
    cells = [nbformat.v4.new_markdown_cell("See @fig-first."), figure("first", picture), figure("third"),
             figure("second", picture), nbformat.v4.new_code_cell("say()", outputs=[said])]  # fmt: skip
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "page.ipynb")
    page = nbformat.reads(site.page_source(tmp_path / "page.ipynb", preview=True), 4)
    text = "\n".join(cell.source for cell in page.cells)
    assert "See Figure 1." in text
    assert '"Figure 1: The first."' in text and '"Figure 2: The second."' in text and '"The third."' in text
    assert page.cells[-1].outputs[0].data["text/markdown"] == "As Figure 2 shows, and @fig-third."
    assert "@fig-first" in site.page_source(tmp_path / "page.ipynb")


def test_a_page_asks_no_other_host(project, monkeypatch):
    monkeypatch.setattr(site.shutil, "which", lambda name: None)
    first, _ = site.build_site(project, project / "book", project / "build")
    styles = "".join(path.read_text() for path in first.parent.rglob("*.css"))
    assert "@import" not in styles
    assert site.page_problems(first.parent / "nbs" / "index.html") == []


def test_quarto_renders_where_it_is_on_the_path(project, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "quarto"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys, pathlib\nassert sys.argv[1] == 'render' and '--no-execute' in sys.argv\n"
        "site = pathlib.Path(sys.argv[2], '_site')\nsite.mkdir()\nsite.joinpath('index.html').write_text('by quarto')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    page, renderer = site.build_site(project, project / "book", project / "build")
    assert (page.read_text(), renderer) == ("by quarto", "Quarto")


def test_a_failing_chapter_stops_the_run_and_keeps_the_copies(project):
    failing = notebook("raise ValueError('no such stage: N4')")
    nbformat.write(failing, project / "nbs" / "report" / "2_two.ipynb")
    with pytest.raises(book.ChapterFailed, match="chapter 2_two failed: ValueError: no such stage: N4"):
        report.make_report(project, data=str(project / "nights"))
    assert (project / "build" / "book" / "report" / "1_one.ipynb").is_file()
    assert not (project / "build" / "book" / "index.ipynb").exists()
    assert not (project / "build" / "site").exists()


def test_a_folder_that_is_not_there_is_named_before_anything_runs(project):
    with pytest.raises(chapter.ReportError, match="data: expected a folder or file, found nothing at gone"):
        report.make_report(project, data="gone")
    assert not (project / "build").exists()


def test_the_command_ends_with_a_message_and_no_traceback(project):
    command = [sys.executable, "-m", "dreem_case.cli", "report", "--data", "gone"]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == "Error: data: expected a folder or file, found nothing at gone\n"


def test_default_nights_are_made_again_for_another_seed(tmp_path):
    folder = defaults.default_data(seed=1, n_nights=1, hours=0.1, folder=tmp_path / "nights")
    first = {path.name: path.read_bytes() for path in (folder / "h5").iterdir()}
    defaults.default_data(seed=2, n_nights=1, hours=0.1, folder=folder)
    assert {path.name: path.read_bytes() for path in (folder / "h5").iterdir()} != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nights", "nights.lock"]


def test_a_night_that_cannot_be_read_is_left_out_and_its_reason_is_no_markup(tmp_path, capsys):
    eeg = Signal(np.zeros(7500, np.float32), 250, "µV", "eeg")
    write_night(Night("good", {"eeg1": eeg}, 1), tmp_path)
    with h5py.File(tmp_path / "h5" / "bad.h5", "w") as file:
        file["<img src=x>`![x](y)"] = np.zeros(7500)
    assert list(chapter.open_nights(open_store(tmp_path))) == ["good"]
    (tmp_path / "h5" / "good.h5").unlink()
    with pytest.raises(chapter.ReportError, match="bad: expected at least one of eeg1"):
        chapter.open_nights(open_store(tmp_path))


def test_text_from_outside_is_shown_as_code():
    assert chapter._literal("a <b>`\n\n[x](y)") == "`a <b>' [x](y)`"


def test_the_default_nights_are_those_of_every_module_and_table_that_makes_them(tmp_path):
    package = tmp_path / "package"
    shutil.copytree(Path(defaults.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    found = [code_version("simulate.nights", package=package)]
    for name in ("simulate/nights.py", "simulate/eeg.py", "nights/safe_h5.py", "simulate/simulation.json"):
        package.joinpath(name).write_text(package.joinpath(name).read_text() + "\n" + "0\n" * name.endswith(".py"))
        found.append(code_version("simulate.nights", package=package))
    assert len(set(found)) == len(found)
    package.joinpath("nights/plots.py").write_text("")
    assert code_version("simulate.nights", package=package) == found[-1]


def test_a_figure_that_was_not_computed_is_not_in_the_headlines():
    row = {"value": 0.714, "data": "simulated", "n_nights": 7}
    table = chapter.headline_table({"simulated.yasa.kappa_per_night_mean": row, "simulated.other": row})
    assert [line.split(" | ")[1:] for line in table.splitlines()[2:]] == [["0.71", "simulated nights", "7 |"]]


def test_headlines_name_the_stager_whose_figure_stands_as_the_best():
    row = {"value": 0.7, "data": "real_headband", "n_nights": 27}
    names = ("simulated.best", "real_headband.best", "real_headband.boosted")
    table = chapter.headline_table({f"{name}.kappa_per_night_mean": row for name in names})
    assert [line.split()[2] for line in table.splitlines()[2:]] == ["boosted", "blended"]


def test_a_promise_that_was_not_measured_is_not_in_the_table():
    results = {
        "simulated.best.ece": {"value": 0.0123, "data": "simulated", "n_nights": 7},
        "simulated.best.kappa_drop.no_accelerometer": {"value": -0.0001, "data": "simulated", "n_nights": 7},
        "real_headband.best.ece": {"value": 0.02, "data": "real_headband", "n_nights": 27},
        "simulated.best.kappa_drop.one_gone": {"value": 0.1, "data": "simulated", "n_nights": 7},
    }
    head, _, *rows = chapter.promise_table(results).splitlines()
    assert head.split(" | ")[1:] == ["simulated nights: boosted", f"{chapter.DATA_NAMES['real_headband']}: boosted |"]
    assert [row.split(" | ")[1:] for row in rows] == [["1.2%", "2.0% |"], ["0.000", " |"]]
    assert chapter.promise_table({}) == ""


def test_pictures_are_stored_smaller_and_look_the_same(tmp_path):
    drawn = np.full((200, 300, 3), 255, np.uint8)
    drawn[50:60] = (0, 114, 178)
    content = BytesIO()
    Image.fromarray(drawn).save(content, "png", compress_level=0)
    made = nbformat.v4.new_output("display_data", data={"image/png": base64.b64encode(content.getvalue()).decode()})
    path = tmp_path / "chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot()", outputs=[made])]), path)
    book.shrink_pictures(path)
    stored = base64.b64decode(nbformat.read(path, 4).cells[0].outputs[0].data["image/png"])
    assert len(stored) < len(content.getvalue()) / 10
    assert np.array_equal(np.asarray(Image.open(BytesIO(stored)).convert("RGB")), drawn)


def finish(project, given, budget="full"):
    """Leave a finished report of the project, as if it had been given these inputs."""
    report.make_report(project, data=str(project / "nights"), budget=budget)
    run = json.loads((project / "build" / "run.json").read_text())
    run["given"] = given
    (project / "build" / "run.json").write_text(json.dumps(run))


FULL = {"data": False, "headband": True, "raw_eeg": True, "sleep_edf": True, "hypnograms": True}


def test_publishing_takes_outputs_figures_and_costs(project, monkeypatch):
    finish(project, FULL)
    monkeypatch.setattr(publish.sys, "prefix", str(project))
    (project / "nets.json").write_text('{"seconds": 50, "megabytes": 900}')
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    publish.publish(project)
    page = nbformat.read(project / "nbs" / "report" / "1_one.ipynb", 4)
    assert [cell.metadata for cell in page.cells] == [{}, {"tags": ["parameters"]}, {}, {}]
    assert page.cells[2].outputs[0].text == "nights: True\n"
    assert "| 0.71 | simulated nights | 7 |" in (project / "README.md").read_text()
    assert "0.9 GB" in (project / "README.md").read_text()
    assert "simulated.forest.kappa_per_night_mean" in chapter.read_results(project / "nbs/report/results.json")
    assert str(project) not in "".join(p.read_text() for p in (project / "nbs").rglob("*.ipynb"))


def test_a_benchmark_is_published_unless_it_was_cut_short(project, root):
    assert publish.publish_benchmark(project) == []
    for folder in ("build/bench", "benchmarks"):
        (project / folder).mkdir(parents=True)
    (project / "README.md").write_text("<!-- throughput -->\n<!-- /throughput -->\n")
    figures = json.loads((root / "benchmarks/batch.json").read_text()) | {
        "n_nights": 20, "hours": 8.0, "n_cores": 2, "processor": "Quick 9",
    }
    (project / "build/bench/batch.json").write_text(json.dumps(figures))
    publish.publish_benchmark(project)
    assert json.loads((project / "benchmarks/batch.json").read_text()) == figures
    assert publish.throughput(figures).startswith("On 2 cores (Quick 9), one worker")
    assert publish.throughput(figures) in (project / "README.md").read_text()
    (project / "build/bench/batch.json").write_text(json.dumps(figures | {"n_nights": 6}))
    with pytest.raises(chapter.ReportError, match=r"expected a benchmark of 20 nights of 8 h, found 6 of 8 h"):
        publish.publish_benchmark(project)


@pytest.mark.parametrize("missing", ["headband", "raw_eeg", "sleep_edf", "hypnograms"])
def test_a_run_without_the_real_data_is_not_published(project, missing):
    finish(project, FULL | {missing: False})
    with pytest.raises(chapter.ReportError, match="with HEADBAND, RAW_EEG, SLEEP_EDF, HYPNOGRAMS given"):
        publish.publish(project)


def test_a_run_of_the_short_budget_is_not_published(project):
    finish(project, FULL, budget="ci")
    with pytest.raises(chapter.ReportError, match="expected a report of the full budget"):
        publish.publish(project)
    run = json.loads((project / "build" / "run.json").read_text())
    (project / "build" / "run.json").write_text(json.dumps(run | {"budget": "full"}))
    with pytest.raises(chapter.ReportError, match="expected a report of the full budget"):
        publish.publish(project)


def test_a_figure_of_no_known_budget_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match="budget: expected one of ci, full, found 'half'"):
        chapter.record_results({"a": 1.0}, "simulated", 7, tmp_path / "results.json", "half")
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_published_into_its_folder_and_leaves_the_readme_alone(project, monkeypatch):
    other = project / "nbs" / "report" / "ecg"
    other.mkdir()
    nbformat.write(notebook("print('beats')"), other / "1_one.ipynb")
    report.make_report(project, part="ecg")
    with pytest.raises(chapter.ReportError, match="with ECG given"):
        publish.publish(project, "ecg")
    report.make_report(project, part="ecg", ecg=str(project / "nbs"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    before = (project / "README.md").read_text(), (project / "nbs" / "report" / "1_one.ipynb").read_text()
    assert publish.publish(project, "ecg") == [other / "1_one.ipynb", other / "results.json"]
    assert nbformat.read(other / "1_one.ipynb", 4).cells[-1].outputs[0].text == "beats\n"
    assert before == ((project / "README.md").read_text(), (project / "nbs" / "report" / "1_one.ipynb").read_text())


def test_a_run_on_other_nights_is_not_published(project):
    finish(project, FULL | {"data": True})
    with pytest.raises(chapter.ReportError, match="on the default data"):
        publish.publish(project)


def test_an_output_with_a_path_is_not_published(project):
    nbformat.write(notebook("print('/home/ann/nights')"), project / "nbs" / "report" / "2_two.ipynb")
    finish(project, FULL)
    before = (project / "nbs" / "report" / "1_one.ipynb").read_bytes()
    with pytest.raises(chapter.ReportError, match="2_two: a path of this machine in an output: /home/ann"):
        publish.publish(project)
    assert (project / "nbs" / "report" / "1_one.ipynb").read_bytes() == before


def test_an_output_in_html_is_not_published():
    made = nbformat.v4.new_output("execute_result", data={"text/html": "<table></table>", "text/plain": "x"})
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("table", outputs=[made])])
    assert publish.output_problems(page, "1_one") == ["1_one: an output in HTML; show_table writes Markdown"]


def test_a_large_output_is_not_published():
    made = nbformat.v4.new_output("display_data", data={"image/png": "A" * (publish.MAX_OUTPUT_BYTES + 1)})
    large = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot()", outputs=[made])])
    assert len(publish.output_problems(large, "1_one")) == 1


def test_two_runs_of_one_folder_do_not_meet_in_their_sockets(tmp_path):
    nbformat.write(notebook("from pathlib import Path", "print(list(Path().iterdir()))"), tmp_path / "one.ipynb")
    (tmp_path / "empty").mkdir()
    book.run_chapter(tmp_path / "one.ipynb", tmp_path / "copy.ipynb", {}, cwd=tmp_path / "empty")
    assert nbformat.read(tmp_path / "copy.ipynb", 4).cells[-1].outputs[0].text == "[]\n"
