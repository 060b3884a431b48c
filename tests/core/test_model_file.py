"""Model files: what is damaged, foreign or of another installation is refused by name."""

import json
from pathlib import Path

import pytest

from dreem_case.core import model_file
from dreem_case.core.model_file import ModelError, fetch_model, from_json, read_model, to_json, write_model
from dreem_case.core.outputs import FolderOutputs


def write(folder: Path, values: list) -> None:
    write_model(folder, {"kind": "numbers", "rows_version": "1"}, to_json({"values": values}), ["numpy"])


def values(folder: Path) -> list:
    return from_json(read_model(folder)[1], folder)["values"]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "model", [0, 1, 2, 3])
    return tmp_path / "model"


def edit_manifest(folder: Path, **changes) -> None:
    path = folder / model_file.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_state_and_manifest_come_back(folder):
    manifest, content = read_model(folder, kind="numbers")
    assert manifest["kind"] == "numbers"
    assert from_json(content, folder) == {"values": [0, 1, 2, 3]}
    assert set(manifest["libraries"]) == {"numpy"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "others"}, "expected kind numbers, found others"),
        ({"rows_version": "old"}, "expected rows_version 1, found old; train the model again"),
        ({"model_sha256": "0" * 64}, "found another hash"),
        ({"model_file": "../model.json"}, "expected a model file in this folder"),
        ({"model_file": "absent.json"}, "found no such file"),
        ({"model_file": "a\0b"}, "found no such file"),
        ({"model_file": ""}, "found no such file"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, changes, message):
    edit_manifest(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_model(folder, kind="numbers", rows_version="1")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 10**5])
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / model_file.MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: expected"):
        read_model(folder, kind="numbers", rows_version="1")


def test_a_damaged_file_is_refused(folder):
    file = next(folder.glob("model.*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="another hash"):
        read_model(folder, kind="numbers", rows_version="1")


def test_writing_again_leaves_one_model_and_no_temporary_file(folder):
    write(folder, [0, 1, 2, 3, 4])
    assert len(list(folder.iterdir())) == 2
    assert len(values(folder)) == 5


def test_a_failed_write_leaves_the_old_model(folder, monkeypatch):
    def fail(path, content):
        raise OSError("disk full")

    monkeypatch.setattr(model_file, "write_whole", fail)
    with pytest.raises(OSError, match="disk full"):
        write(folder, [0, 1, 2, 3, 4])
    assert len(values(folder)) == 4


def test_a_model_file_larger_than_the_limit_is_not_read(tmp_path, monkeypatch):
    write(tmp_path, [0])
    monkeypatch.setattr(model_file, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ModelError, match="at most 10 bytes, found"):
        read_model(tmp_path)


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    def no_space(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(model_file.Path, "replace", no_space)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path, [0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"[" * 10**5, b'{"a": NaN}', b'{"a": 1e}', b"\xff"])
def test_content_that_is_no_state_is_refused(content):
    with pytest.raises(ModelError, match="model: expected a model"):
        from_json(content, "model")


def test_more_json_than_the_limit_is_not_read(monkeypatch):
    monkeypatch.setattr(model_file, "MAX_JSON_BYTES", 10)
    with pytest.raises(ModelError, match="at most 10 bytes of JSON, found 13"):
        from_json(b'{"values": 1}', "model")


def test_numbers_come_back_to_the_last_digit():
    numbers = [0.1, 1 / 3, 1e-308, 123456789.123456789]
    assert from_json(to_json({"numbers": numbers}), "model") == {"numbers": numbers}


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder with a model that stands for a bucket."""
    write_model(tmp_path / "bucket", {"kind": "test"}, b"content", ["numpy"])
    monkeypatch.setattr("dreem_case.core.model_file.open_outputs", lambda *_: FolderOutputs(tmp_path / "bucket"))
    return tmp_path / "bucket"


def test_a_model_from_a_bucket_lies_in_the_cache_as_a_whole(bucket, tmp_path):
    kept = fetch_model("s3://lab/model", tmp_path / "cache")
    assert read_model(kept, kind="test")[1] == b"content"
    assert fetch_model("s3://lab/model", tmp_path / "cache") == kept
    assert list((tmp_path / "cache" / "models").iterdir()) == [kept]
    next(kept.glob("model.*")).write_bytes(b"damaged")
    assert read_model(fetch_model("s3://lab/model", tmp_path / "cache"), kind="test")[1] == b"content"
    write_model(bucket, {"kind": "test"}, b"other", ["numpy"])
    assert read_model(fetch_model("s3://lab/model", tmp_path / "cache"), kind="test")[1] == b"other"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "absent", "manifest.json", "", 5])
def test_a_model_in_a_bucket_that_names_another_file_is_refused(name, bucket, tmp_path):
    (tmp_path / "secret").write_bytes(b"content")
    manifest = json.loads((bucket / "manifest.json").read_text())
    (bucket / "manifest.json").write_text(json.dumps(manifest | {"model_file": name}))
    with pytest.raises(ModelError, match=r"^s3://lab/model.*: expected "):
        fetch_model("s3://lab/model", tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_model_in_a_bucket_that_is_too_large_or_another_is_not_fetched(bucket, tmp_path, monkeypatch):
    (bucket / "manifest.json").rename(tmp_path / "manifest")
    with pytest.raises(ModelError, match=r"s3://lab/model/manifest\.json: expected a model's manifest, found no such"):
        fetch_model("s3://lab/model", tmp_path / "cache")
    (tmp_path / "manifest").rename(bucket / "manifest.json")
    next(bucket.glob("model.*")).write_bytes(b"another")
    with pytest.raises(ModelError, match="expected the file that the manifest describes, found another hash"):
        fetch_model("s3://lab/model", tmp_path / "cache")
    monkeypatch.setattr("dreem_case.core.model_file.MAX_MODEL_BYTES", 6)
    with pytest.raises(ModelError, match="expected at most 6 bytes, found 7"):
        fetch_model("s3://lab/model", tmp_path / "cache")
