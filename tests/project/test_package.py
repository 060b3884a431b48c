"""What `import dreem_case` offers, and what an installation from a wheel can do."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

import dreem_case
from tests.conftest import ROOT

PACKAGES = sorted(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "dreem_case").rglob("__init__.py"))


def test_the_main_job_is_offered_and_nothing_else():
    assert set(dreem_case.__all__) == {"__version__", "Night", "Signal", "load_stager", "open_store", "score_night"}
    assert set(dreem_case.__all__) <= set(dir(dreem_case))
    for name in dreem_case.__all__:
        assert getattr(dreem_case, name)
    with pytest.raises(AttributeError, match="'dreem_case' has no attribute 'oracle'"):
        dreem_case.oracle  # noqa: B018


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the source archive of a copy of the project."""
    out = tmp_path_factory.mktemp("dist")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path_factory.mktemp("copy")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    code = "from setuptools import build_meta as b; import sys; o = sys.argv[1]; b.build_wheel(o); b.build_sdist(o)"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=copy, check=True, capture_output=True)
    return out


@pytest.mark.slow
def test_wheel_and_source_archive_hold_every_package_and_its_files(built):
    wheel = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as packed:
        archive = {name.partition("/")[2] for name in packed.getnames()}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dreem_case").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - wheel == set()
    assert files - archive == set()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    for_its_tests = {name for name in listed if not name.startswith(".") and (ROOT / name).is_file()}
    assert for_its_tests - archive == set()
    assert {name for name in wheel if name.endswith("__init__.py")} == {f"{name}/__init__.py" for name in PACKAGES}


@pytest.mark.slow
def test_an_installation_from_the_wheel_works_in_any_folder(built, tmp_path, short_nights, short_model):
    """The libraries are those of this environment; the package is the wheel's."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    code = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import dreem_case; print(dreem_case.__file__)\n"
        "from dreem_case import load_stager, open_store, score_night\n"
        f"store, stager = open_store({str(short_nights)!r}), load_stager({str(short_model)!r})\n"
        "print(score_night(store.open_night(store.records()[0]), stager).n_epochs)\n"
        "from dreem_case.cli import main; main(['--help'], prog_name='dreem-case', standalone_mode=False)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DREEM_CASE"))}
    run = subprocess.run([python, "-c", code], cwd=tmp_path, env=kept, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    where, n_epochs, *usage = run.stdout.splitlines()
    assert Path(where).is_relative_to(site)
    assert n_epochs == "80"
    assert any("score" in line for line in usage)
    command = [python, "-m", "flask", "--app", "dreem_case.api", "run", "--port", "0"]
    served = kept | {"HOME": str(tmp_path), "DREEM_CASE_STORE": str(short_nights)}
    with subprocess.Popen(command, cwd=tmp_path, env=served, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://[0-9.:]+", line)))
            with urlopen(f"{address}/hypnogram/{sorted(short_nights.glob('h5/*'))[0].stem}", timeout=60) as answer:
                assert len(json.load(answer)) == 80
        finally:
            server.send_signal(signal.SIGINT)
