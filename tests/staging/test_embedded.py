"""The project's folder, from wherever a run begins."""

import pytest

from dreem_case.staging import embedded as defaults


@pytest.mark.parametrize("content", [b"", b"[DEFAULT]\nlib_name = other\n", b"no settings at all", b"\xff\xfe"])
def test_settings_of_another_project_are_passed_over(content, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "settings.ini").write_bytes(content)
    with pytest.raises(defaults.ProjectNotFound, match=r"settings\.ini of dreem_case in 'inner'"):
        defaults.project_root(inner)
    (tmp_path / "settings.ini").write_text("[DEFAULT]\nlib_name = dreem_case\n", encoding="utf-8")
    assert defaults.project_root(inner) == tmp_path
