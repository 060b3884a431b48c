"""The default model: fitted when it is asked for, kept, and fitted again when what it was made from has changed."""

import json

import pytest

from dreem_case.core.model_file import MANIFEST
from dreem_case.staging import embedded as defaults
from dreem_case.staging.stager import TimeOfNightStager


@pytest.fixture
def fits(short_nights, monkeypatch):
    """Count the fits; the nights are short ones."""
    found = []
    fit = defaults._fit_default
    monkeypatch.setattr(defaults, "default_data", lambda: short_nights)
    monkeypatch.setattr(defaults, "_fit_default", lambda *given: found.append(given) or fit(*given))
    return found


def ask(folder):
    return defaults.default_model_folder("time-of-night", folder)


def test_a_default_model_is_fitted_once(fits, tmp_path):
    assert ask(tmp_path / "model") == ask(tmp_path / "model") == tmp_path / "model"
    assert len(fits) == 1
    assert isinstance(defaults.default_model("time-of-night", tmp_path / "model"), TimeOfNightStager)
    assert len(fits) == 1


def test_it_is_fitted_again_when_what_it_was_made_from_has_changed(fits, tmp_path, monkeypatch):
    ask(tmp_path / "model")
    monkeypatch.setattr(defaults, "made_from", lambda name: "something else")
    ask(tmp_path / "model")
    ask(tmp_path / "model")
    assert len(fits) == 2


@pytest.mark.parametrize("damage", ["manifest", "file", "another kind", "no note of what it was made from"])
def test_it_is_fitted_again_when_it_is_damaged(fits, tmp_path, damage):
    manifest = ask(tmp_path / "model") / MANIFEST
    said = json.loads(manifest.read_text())
    if damage == "manifest":
        manifest.write_text("{")
    elif damage == "file":
        (manifest.parent / said["model_file"]).write_bytes(b"{}")
    elif damage == "another kind":
        manifest.write_text(json.dumps(said | {"kind": "forest"}))
    else:
        manifest.write_text(json.dumps(said | {"metrics": None}))
    assert ask(tmp_path / "model") == manifest.parent
    assert len(fits) == 2


def test_what_a_model_is_made_from_holds_the_simulator_and_the_stagers_code(monkeypatch):
    asked = []
    monkeypatch.setattr(defaults, "result_version", lambda *modules: asked.extend(modules) or modules)
    assert len({defaults.made_from(name) for name in ("boosted", "forest", "time-of-night")}) == 3
    assert {"simulate.nights", "staging.boosted", "staging.forest", "staging.stager"} <= set(asked)


@pytest.mark.parametrize("content", [b"", b"[DEFAULT]\nlib_name = other\n", b"no settings at all", b"\xff\xfe"])
def test_settings_of_another_project_are_passed_over(content, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "settings.ini").write_bytes(content)
    with pytest.raises(defaults.ProjectNotFound, match=r"settings\.ini of dreem_case in 'inner'"):
        defaults.project_root(inner)
    (tmp_path / "settings.ini").write_text("[DEFAULT]\nlib_name = dreem_case\n", encoding="utf-8")
    assert defaults.project_root(inner) == tmp_path
