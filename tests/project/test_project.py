"""The repository as a whole: notebooks and modules agree, and nothing of a machine stands in it."""

import ast
import filecmp
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import click
import nbformat
import pytest
import yaml

from dreem_case.cli import main
from dreem_case.report.chapter import HEADLINES, headlines, read_results
from dreem_case.report.publish import fill_markers, output_problems, throughput
from dreem_case.report.run import chapter_paths
from tests.conftest import ROOT

HOW_TO = ROOT / "nbs" / "library" / "index.ipynb"
LIBRARY = sorted(path for path in HOW_TO.parent.rglob("*.ipynb") if path != HOW_TO)
CHAPTERS = chapter_paths(ROOT)
NOTEBOOKS = [*(ROOT / "nbs" / f"{page}.ipynb" for page in ("index", "glossary", "layout")), *CHAPTERS, HOW_TO, *LIBRARY]
FILES = sorted(path for path in (ROOT / "dreem_case").rglob("*.py") if not path.stem.startswith("_"))


def module_name(path: Path, folder: Path) -> str:
    """Name a module by its file or its notebook: `nights.store`."""
    return ".".join(path.relative_to(folder).with_suffix("").parts)


MODULES = [module_name(path, ROOT / "dreem_case") for path in FILES]
NAMES = [module_name(path, ROOT / "nbs" / "library") for path in LIBRARY]
OF_NETS = {"core.edge", "core.nets", "ecg.network", "ecg.network_training", "events.network", "events.networks"}
OF_NETS |= {"staging.recurrent_training", *(f"mae.{m}" for m in ("embed", "model", "night_sequences", "pretraining"))}
OF_NETS |= {f"transfer.{m}" for m in ("cascade", "edge_first", "edge_network", "fine_tuning", "network_stager")}
OF_NETS |= {f"transfer.{m}" for m in ("network_training", "networks", "sequence")}
DRAWING = {"core.figures", "nights.plots", "events.actogram"}
OUTSIDE_THE_CORE = {*DRAWING, *(name for name in MODULES if name.startswith("report."))}


def tracked_files() -> list[Path]:
    """List what git tracks, or would track: the repository as a reader gets it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory) -> Path:
    """A copy of the project, cleaned and exported anew."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("nbs", "dreem_case"):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("settings.ini", "pyproject.toml"):
        shutil.copyfile(ROOT / name, copy / name)
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    for step in ("nbdev_clean", "nbdev_export"):
        command = [str(Path(sys.executable).with_name(step))]
        subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    return copy


def test_modules_are_what_the_notebooks_export(rebuilt):
    names = [path.relative_to(ROOT) for path in sorted((ROOT / "dreem_case").rglob("*.py"))]
    assert [str(n) for n in names if not filecmp.cmp(ROOT / n, rebuilt / n, shallow=False)] == []
    assert sorted(path.relative_to(rebuilt) for path in (rebuilt / "dreem_case").rglob("*.py")) == names


def test_notebooks_are_clean(rebuilt):
    names = [path.relative_to(ROOT) for path in NOTEBOOKS]
    assert [str(n) for n in names if not filecmp.cmp(ROOT / n, rebuilt / n, shallow=False)] == []


def test_every_module_has_one_notebook():
    assert NAMES == MODULES


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES)
def test_a_library_notebook_stays_small(path):
    cells = nbformat.read(path, 4).cells
    exported = [cell.source for cell in cells if cell.source.startswith("#| export")]
    assert len(cells) <= 40
    assert exported
    assert max(len(source.splitlines()) for source in exported) <= 80  # one class is one cell
    assert "#| default_exp " + module_name(path, ROOT / "nbs" / "library") in [cell.source for cell in cells]


def test_most_exported_cells_are_short():
    """Cells of import lines do not count."""
    sources = [cell.source for path in LIBRARY for cell in nbformat.read(path, 4).cells]
    lengths = [
        len(source.splitlines()) - 1
        for source in sources
        if source.startswith("#| export") and not source.startswith(("#| export\nimport ", "#| export\nfrom "))
    ]
    assert median(lengths) <= 20


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES)
def test_library_examples_import_in_cells_of_their_own(path):
    """The site's filter runs every cell that imports something, to document what is exported."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    mixed = []
    for cell in cells:
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        if kinds & {ast.Import, ast.ImportFrom} and kinds & {ast.Expr, ast.Assign}:
            mixed += [cell.source] * ("#| export" not in cell.source)
    assert mixed == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_declares_itself(path):
    notebook = nbformat.read(path, 4)
    front = yaml.safe_load(notebook.cells[0].source.strip().strip("-"))
    assert front["title"] and front["description"]
    assert front["skip_exec"] is True
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    declared = {node.targets[0].id for node in ast.parse(tagged[0].source).body if isinstance(node, ast.Assign)}
    real = {"headband", "raw_eeg", "sleep_edf", "hypnograms"}
    assert declared - real == {"data", "seed", "max_nights", "results", "budget"}
    assert not any(cell.source.startswith("#| export") for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_outputs_may_be_published(path):
    assert output_problems(nbformat.read(path, 4), path.stem) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_published_chapter_has_all_its_outputs(path):
    results = read_results(ROOT / "nbs" / "report" / "results.json")
    if not results or any("budget" not in row for row in results.values()):
        pytest.skip("nothing is published yet by a report that states its budget")
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    always = [cell for cell in cells if re.search(r"^(say\(|plt\.show)", cell.source, re.M)]
    assert always
    assert [cell.id for cell in always if not cell.outputs] == []
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


def sidebar(name):
    """Return what a sidebar of the site holds."""
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    (found,) = [one["contents"] for one in config["website"]["sidebar"] if one["id"] == name]
    return found


def test_the_sidebars_list_every_page():
    case = [page["href"] if isinstance(page, dict) else page for page in sidebar("case")]
    chapters = [str(path.relative_to(ROOT)) for path in CHAPTERS]
    assert case == ["nbs/index.ipynb", *chapters, "nbs/glossary.ipynb", "nbs/layout.ipynb"]
    first, *parts = sidebar("library")
    assert first["href"] == str(HOW_TO.relative_to(ROOT))
    pages = sorted(page for part in parts for page in part["contents"])
    assert pages == sorted(str(path.relative_to(ROOT)) for path in LIBRARY)


def test_the_library_opens_with_a_how_to_of_every_package():
    headings = re.findall(r"^## ([a-z]+): ", "\n".join(cell.source for cell in nbformat.read(HOW_TO, 4).cells), re.M)
    assert set(headings) == {name.partition(".")[0] for name in MODULES if "." in name}


def test_the_sidebar_follows_the_imports():
    pages = [page for part in sidebar("library")[1:] for page in part["contents"]]
    order = [module_name(ROOT / page, ROOT / "nbs" / "library") for page in pages]
    for place, module in enumerate(order):
        source = (ROOT / "dreem_case" / f"{module.replace('.', '/')}.py").read_text()
        beside = module.rpartition(".")[0] or "."
        imported = {f"{beside}.{name}" for name in re.findall(r"^from \.(\w+) import", source, re.M)} - {"."}
        imported = {name.removeprefix("..") for name in imported}
        assert imported <= set(order[:place]), f"{module} stands before {imported - set(order[:place])}"


PAGES = [*sorted((ROOT / "nbs").rglob("*.ipynb")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_link_to_another_page_leads_somewhere(path):
    links = set(re.findall(r"\]\(([^()\s:#\"]+\.(?:ipynb|md|json))", path.read_text(encoding="utf-8")))
    assert [link for link in sorted(links) if not (path.parent / link).exists()] == []


def test_the_readme_names_every_package():
    _, where = (ROOT / "README.md").read_text().split("## Four more parts")
    named = set(re.findall(r"`(\w+)`", where))
    assert {name.partition(".")[0] for name in MODULES} - named == set()


def test_readme_figures_are_the_published_ones():
    results = read_results(ROOT / "nbs" / "report" / "results.json")
    if not results:
        pytest.skip("nothing is published yet")
    readme = (ROOT / "README.md").read_text()
    assert readme == fill_markers(readme, "figures", headlines(results))


def test_the_readme_says_what_the_published_benchmark_found():
    readme, figures = (ROOT / "README.md").read_text(), json.loads((ROOT / "benchmarks" / "batch.json").read_text())
    assert readme == fill_markers(readme, "throughput", throughput(figures))


def test_published_figures_are_complete():
    results = read_results(ROOT / "nbs" / "report" / "results.json")
    if not results:
        pytest.skip("nothing is published yet")
    figures = ("kappa_per_night", "kappa_per_night_mean", "kappa_per_night_min", "macro_f1", "ece", "review_gain")
    faults = ("one_gone", "one_gone_worst", "one_left", "gain", "sign", "part_night_failure", "no_accelerometer")
    calibrated = ("wake90", "gain_fifth", "gain_five", "one_derivation", "alone_20min")
    losses = ("gain_20min", "gain_1h", "gain_3h", "gain_night", "alone_20min", "alone_60min")
    expected = {f"simulated.{name}" for name in HEADLINES} | {
        "simulated.forest.kappa_per_night",
        "real_headband.forest.kappa_per_night_mean",
        "simulated_to_real_headband.forest.kappa_per_night_mean",
        "simulated_to_real_headband.best.kappa_per_night_mean",
        *(f"{data}.best.{name}" for name in (*figures, "flagged_share") for data in ("simulated", "real_headband")),
        *(f"simulated.best.kappa_drop.{name}" for name in faults),
        *(f"simulated.odd.kappa.{kind}" for kind in ("wake90", "day24", "no_deep")),
        *(f"simulated.odd.accuracy_loss.{what}" for what in losses),
        *(f"simulated.odd.ece.{kind}" for kind in calibrated),
        *(f"simulated.structure.{name}" for name in ("overlap_mean", "spread_min", "spread_max")),
        "simulated.odd.wake_share.no_sleep",
        "sleep_edf.accuracy_loss.whole_day",
        "simulated.shipped.kappa_per_night_mean",
    }
    assert expected <= set(results)
    assert all(set(row) >= {"value", "data", "n_nights"} for row in results.values())
    assert all(name.startswith(row["data"] + ".") for name, row in results.items())


def test_no_file_names_a_path_of_this_machine():
    machine = [str(ROOT.parent) + "/", str(Path.home()) + "/"] + ["/wor" + "k/", "shared" + "/design"]
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {name}" for name in machine if len(name) > 3 and name in text]
    assert found == []


def test_no_file_is_large():
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked_files()}
    most = {name: 2_500_000 if "/models/" in name else 2_000_000 for name in sizes}
    assert {name: size for name, size in sizes.items() if size > most[name]} == {}


def test_pinned_versions_cover_every_requirement():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), list(project["dependencies"]))
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in pinned, f"{name} is not pinned"
        assert pinned[name] in requirement.specifier


def test_every_dependency_is_declared():
    """What the core imports, and nothing else, stands in the dependencies; what only some modules need, in an extra."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core, extras = project["dependencies"], project["optional-dependencies"]
    own = dict.fromkeys(OUTSIDE_THE_CORE, "report") | {"core.workers": "cluster", "ecg.wfdb_files": "ecg"}  # its extra
    own |= dict.fromkeys(("nights.edf_samples", "transfer.pairs", "transfer.recordings"), "edf")
    own |= dict.fromkeys(OF_NETS, "nets") | {"events.network_config": "events", "transfer.onnx_edge": "edge nets"}
    own |= {"core.edge": "edge nets", "ecg.network_training": "ecg nets"}
    own |= dict.fromkeys(("mae.explore", "mae.features"), "mae")
    names = {"sklearn": "scikit-learn", "yaml": "pyyaml", "IPython": "ipykernel", "PIL": "pillow"}
    names |= {"nbformat": "papermill", "traitlets": "papermill", "jupyter_client": "ipykernel"}
    names |= {"botocore": "boto3", "werkzeug": "flask"}
    names |= {"urllib3": "boto3", "hydra": "hydra-core", "omegaconf": "hydra-core"}
    never_imported = {"gunicorn", "python-dotenv", "flask-openapi3-swagger", "tzdata"}  # started, or found by others
    used = set()
    for module in MODULES:
        tree = ast.parse((ROOT / "dreem_case" / f"{module.replace('.', '/')}.py").read_text())
        found = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
        found = {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) - {"dreem_case"}
        found = {names.get(name, name.replace("_", "-")) for name in found}
        declared = core + [line for extra in own.get(module, "").split() for line in extras[extra]]
        declared = {re.split(r"[<>=!]", line)[0] for line in declared}
        assert found <= declared, module
        used |= found
    assert {re.split(r"[<>=!]", line)[0] for line in core} <= used | never_imported


WEB = ("api", "serving.metrics", "ecg.endpoint", "events.endpoint", "transfer.endpoint")
ITS_JOB = {f"dreem_case.{name}": {"flask"} for name in WEB} | {
    f"dreem_case.{name}": {"boto3"} for name in ("nights.s3_store", "core.s3", "core.s3_outputs")
}


HEAVY = {"flask", "boto3", "matplotlib", "papermill", "nbdev", "yasa", "mne"}
LIGHT = ["dreem_case", *(f"dreem_case.{m}" for m in MODULES if m not in OUTSIDE_THE_CORE)]


def loaded_by(modules: list[str]) -> dict[str, set[str]]:
    """Import modules one after the other in a new process, and tell which heavy packages each one loads."""
    code = (
        "import importlib, json, sys\nfound = {}\nheavy = set(sys.argv[1].split())\n"
        "for name in sys.argv[2:]:\n"
        "    before = heavy & set(sys.modules)\n    importlib.import_module(name)\n"
        "    found[name] = sorted(heavy & set(sys.modules) - before)\n"
        "print(json.dumps(found))"
    )
    command = [sys.executable, "-c", code, " ".join(HEAVY), *modules]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: set(own) for name, own in json.loads(run.stdout).items()}


@pytest.mark.slow
def test_core_imports_are_light():
    """One process is enough as long as none loads anything heavy: the first that does is named."""
    nets = {f"dreem_case.{name}" for name in OF_NETS} if importlib.util.find_spec("torch") is None else set()
    found = loaded_by([module for module in LIGHT if module not in ITS_JOB and module not in nets])
    assert {name: own for name, own in found.items() if own} == {}


@pytest.mark.parametrize("module", [module for module in LIGHT if module in ITS_JOB])
def test_a_module_loads_nothing_heavy_but_what_its_job_needs(module):
    if module.removeprefix("dreem_case.") in OF_NETS:
        pytest.importorskip("torch", reason="networks are an extra")
    assert loaded_by([module])[module] <= ITS_JOB[module]


def text_without_encoding(path: Path) -> list[int]:
    """Name the lines that read or write text in whatever encoding the locale has."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        name = getattr(call.func, "attr", "") or getattr(call.func, "id", "")
        binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in call.args[:2])
        mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
        is_text = isinstance(call.func, ast.Name) or mode in ("r", "w", "a", "x", "r+", "w+")
        if name in ("read_text", "write_text") or (name == "open" and is_text and not binary):
            found += [call.lineno] * (not any(keyword.arg == "encoding" for keyword in call.keywords))
    return found


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_text_has_the_same_encoding_in_every_locale(path):
    assert text_without_encoding(path) == []


def test_the_commands_that_make_calls_are_there():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = re.findall(r"\$\(BIN\)/dreem-case ((?:[a-z][a-z-]* )*[a-z][a-z-]*)", text)
    assert len(called) > 4
    for words in map(str.split, called):
        command = main
        while words and isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, called
    modules = re.findall(r"python(?: -m |:)(dreem_case[\w.]+)", text)
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_lower_bounds_are_named():
    """A requirement without one is met by versions of ten years ago."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [line for line in project["dependencies"] if ">=" not in line] == []
