"""Model files: what is damaged, foreign or of another installation is refused by name."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import skops.io

from dreem_case import model_file
from dreem_case.model_file import ModelError, read_model, write_model


class Foreign:
    """A type that is on no list."""


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "model", {"kind": "numbers"}, {"values": np.arange(4.0)})
    return tmp_path / "model"


def edit_manifest(folder: Path, **changes) -> None:
    path = folder / model_file.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_state_and_manifest_come_back(folder):
    manifest, state = read_model(folder, "numbers")
    assert manifest["kind"] == "numbers"
    assert state["values"].tolist() == [0, 1, 2, 3]
    assert set(manifest["libraries"]) == {"numpy", "scikit-learn", "skops"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "others"}, "expected kind numbers, found others"),
        ({"features_version": "old"}, "expected features_version .* found old"),
        ({"stages": ["REM"]}, "expected stages"),
        ({"scikit_learn": "0.1"}, "expected scikit_learn .* found 0.1"),
        ({"model_sha256": "0" * 64}, "found another hash"),
        ({"model_file": "../model.skops"}, "expected a model file in this folder"),
        ({"model_file": "absent.skops"}, "found no such file"),
        ({"model_file": "a\0b"}, "found no such file"),
        ({"model_file": ""}, "found no such file"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, changes, message):
    edit_manifest(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_model(folder, "numbers")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 10**5])
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / model_file.MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: expected"):
        read_model(folder, "numbers")


def test_a_damaged_file_is_refused(folder):
    file = next(folder.glob("*.skops"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="another hash"):
        read_model(folder, "numbers")


def replace_file(folder: Path, content: bytes) -> None:
    """Put other content in place, with a manifest that agrees with it."""
    import hashlib

    file = next(folder.glob("*.skops"))
    file.write_bytes(content)
    edit_manifest(folder, model_sha256=hashlib.sha256(content).hexdigest())


def test_a_foreign_type_is_refused_even_if_the_hash_is_right(folder):
    replace_file(folder, skops.io.dumps({"values": Foreign()}))
    with pytest.raises(ModelError, match="Foreign"):
        read_model(folder, "numbers")


def test_a_pickle_is_refused_and_not_run(folder):
    class Runs:
        def __reduce__(self):
            return (exec, ("raise SystemExit('the pickle was run')",))

    replace_file(folder, pickle.dumps(Runs()))
    with pytest.raises(ModelError, match="does not open"):
        read_model(folder, "numbers")


def test_writing_again_leaves_one_model_and_no_temporary_file(folder):
    write_model(folder, {"kind": "numbers"}, {"values": np.arange(5.0)})
    assert len(list(folder.iterdir())) == 2
    assert len(read_model(folder, "numbers")[1]["values"]) == 5


def test_a_failed_write_leaves_the_old_model(folder, monkeypatch):
    def fail(path, content):
        raise OSError("disk full")

    monkeypatch.setattr(model_file, "_write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        write_model(folder, {"kind": "numbers"}, {"values": np.arange(5.0)})
    assert len(read_model(folder, "numbers")[1]["values"]) == 4


def test_a_model_that_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    model_file.write_model(tmp_path, {"kind": "numbers"}, {"values": np.zeros(1_000_000)})
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 100_000
    monkeypatch.setattr(model_file, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(model_file.ModelError, match="at most 1000000 bytes, found"):
        model_file.read_model(tmp_path, "numbers")


def test_a_model_file_larger_than_the_limit_is_not_read(tmp_path, monkeypatch):
    model_file.write_model(tmp_path, {"kind": "numbers"}, {"values": np.zeros(1)})
    monkeypatch.setattr(model_file, "MAX_MODEL_BYTES", 10)
    with pytest.raises(model_file.ModelError, match="at most 10 bytes, found"):
        model_file.read_model(tmp_path, "numbers")


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    def no_space(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(model_file.Path, "replace", no_space)
    with pytest.raises(OSError, match="no space left"):
        model_file.write_model(tmp_path, {"kind": "numbers"}, {"values": np.zeros(1)})
    assert list(tmp_path.iterdir()) == []
