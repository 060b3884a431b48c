"""The version of code: it changes with what code means, in whatever module that stands, and with nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.code_version import code_version, library_versions, package_version, result_version

FILES = {
    "core/filters.py": "ORDER = 4\n\ndef order():\n    return ORDER\n",
    "core/unused.py": "X = 1\n",
    "nights/night.py": "def read():\n    from ..core.filters import order\n    return order()\n",
    "nights/table.json": "{}",
    "nights/tables.py": "def read(folder):\n    return (folder / 'table.json').read_text()\n",
    "staging/features.py": "import numpy\nfrom dreem_case.nights.night import read\nfrom ..nights import tables\n",
    "staging/__init__.py": "",
}


def version(tmp_path, **changed):
    """Give the version of `staging.features` in a package of these files."""
    for name, text in (FILES | {name.replace("__", "/"): text for name, text in changed.items()}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code_version("staging.features", package=tmp_path)


@pytest.mark.parametrize(
    "name, text",
    [
        ("core/filters.py", "# order\nORDER = 4  # of it\n\n\ndef order():\n    'Give it.'\n    return ORDER\n"),
        ("core/filters.py", "import math\nORDER = 4\n\ndef order():\n    import json\n    return (ORDER)\n"),
        ("core/unused.py", "X = 2\n"),
        ("staging/features.py", "from ..nights import tables\nfrom dreem_case.nights.night import read\n"),
    ],
    ids=["comments and docstrings", "imports and parentheses", "a module that nobody imports", "another order"],
)
def test_what_changes_no_result_changes_no_version(tmp_path, name, text):
    assert version(tmp_path) == version(tmp_path, **{name.replace("/", "__"): text})


@pytest.mark.parametrize(
    "name, text",
    [
        ("core/filters.py", FILES["core/filters.py"].replace("4", "5")),
        ("nights/night.py", FILES["nights/night.py"].replace("order()\n", "order() + 1\n")),
        ("nights/table.json", "{ }"),
        ("staging/features.py", FILES["staging/features.py"] + "X = 1\n"),
    ],
    ids=["a constant two packages away", "a function that is imported", "a table", "the module itself"],
)
def test_what_changes_a_result_changes_the_version(tmp_path, name, text):
    assert version(tmp_path) != version(tmp_path, **{name.replace("/", "__"): text})


def test_every_python_gives_the_same_version(tmp_path):
    assert version(tmp_path) == "3c9ce681a04c"  # by 3.11, 3.12 and 3.13, whose trees hold different empty fields


@given(st.text(st.characters(exclude_characters="\r\n\f\0", exclude_categories=["Cs"])))
def test_no_comment_changes_the_version(tmp_path_factory, comment):
    folder = tmp_path_factory.mktemp("package")
    commented = FILES["core/filters.py"] + "#" + comment + "\n"
    assert version(folder) == version(folder, **{"core__filters.py": commented})


def test_the_package_has_a_version_of_its_own_and_modules_have_theirs():
    modules = ("simulate.nights", "staging.features", "nothing")
    assert len({package_version(), *map(code_version, modules)}) == 4


def test_another_library_is_another_result(monkeypatch):
    before = result_version("nights.store")
    monkeypatch.setattr("dreem_case.core.code_version.library_versions", lambda: library_versions() | {"numpy": "0"})
    assert result_version.__wrapped__("nights.store") != before
