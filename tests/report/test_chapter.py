"""Stagers that the chapters share: fitted once, never read for another fit, and gone when they are old."""

import os
from dataclasses import replace

import numpy as np
import pytest

from dreem_case.core.model_file import ModelError
from dreem_case.report import chapter
from tests.staging.test_stager import staged_night


@pytest.fixture(scope="module")
def nights():
    return [staged_night(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def kept(nights, tmp_path_factory):
    """A folder with the forest of the first two nights."""
    folder = tmp_path_factory.mktemp("kept") / "folds"
    chapter.fit_once("forest", *split(nights[:2]), folder=folder)
    return folder


def split(nights):
    prepared, labels = zip(*nights, strict=True)
    return list(prepared), list(labels)


def test_a_stager_that_is_kept_is_not_fitted_again(nights, kept, monkeypatch):
    monkeypatch.setattr(chapter, "new_stager", lambda name, **settings: pytest.fail("fitted again"))
    stager = chapter.fit_once("forest", *split(nights[:2]), folder=kept)
    assert stager.trained_on == tuple(night.record for night, _ in nights[:2])


@pytest.mark.parametrize("what", ["seed", "labels", "signal", "record", "kind", "code"])
def test_whatever_decides_a_fit_decides_where_it_is_kept(nights, what, monkeypatch):
    prepared, labels = split(nights[:2])
    before = chapter._fit_key("forest", prepared, labels, 0)
    assert chapter._fit_key("forest", prepared, labels, 0) == before
    if what == "labels":
        labels[0] = np.where(np.arange(len(labels[0])) == 3, -1, labels[0])
    elif what == "signal":
        prepared[1] = replace(prepared[1], eeg=prepared[1].eeg + np.float32(1e-3))
    elif what == "record":
        prepared[1] = replace(prepared[1], record="another")
    elif what == "code":
        monkeypatch.setattr(chapter, "result_version", lambda *given: "another")
    kind = "boosted" if what == "kind" else "forest"
    assert chapter._fit_key(kind, prepared, labels, int(what == "seed")) != before


def test_a_damaged_stager_is_fitted_again_and_replaced(nights, tmp_path):
    first = chapter.fit_once("forest", *split(nights[:2]), folder=tmp_path)
    (file,) = tmp_path.glob("forest-*/model.*")
    file.write_bytes(file.read_bytes()[:1000])
    assert chapter.fit_once("forest", *split(nights[:2]), folder=tmp_path).version == first.version
    assert [file.stat().st_size > 1000 for file in tmp_path.glob("forest-*/model.*")] == [True]


def test_every_fold_stages_nights_that_it_has_not_seen(nights, tmp_path):
    prepared, labels = split([*nights, nights[0]])
    prepared[3] = replace(prepared[3], record="fourth")
    for _ in range(2):
        folds = {tuple(test): stager.trained_on for stager, test in chapter.fold_models(
            "forest", prepared, labels, folds=[7, 7, 2, 2], folder=tmp_path
        )}  # fmt: skip
        records = [night.record for night in prepared]
        assert folds == {(0, 1): tuple(records[2:]), (2, 3): tuple(records[:2])}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_stager_that_cannot_be_fitted_leaves_nothing_behind(nights, tmp_path):
    prepared, labels = split(nights[:2])
    with pytest.raises(ModelError, match="expected scored epochs to learn from"):
        chapter.fit_once("forest", prepared, [np.full_like(given, -1) for given in labels], folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stagers_that_were_not_used_for_longest_make_room(nights, kept, monkeypatch):
    monkeypatch.setattr(chapter, "MAX_KEPT", 3)
    for age in range(5):
        folder = kept / f"old{age}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    chapter.fit_once("forest", *split(nights[1:]), folder=kept)
    assert sorted(entry.name[:6] for entry in kept.iterdir()) == ["forest", "forest", "old0"]
