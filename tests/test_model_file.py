"""Model files: what is damaged, foreign or of another installation is refused by name."""

import io
import json
import pickle
import zipfile
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


def node(loader: str, type_name: str, **parts) -> dict:
    """Return an entry of a skops schema."""
    module, _, name = type_name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **parts}


def replace_schema(folder: Path, schema: dict, members=()) -> None:
    """Put a file of another schema and other members in place."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps({**schema, "protocol": 2}))
        for name, content in dict(members).items():
            archive.writestr(name, content)
    replace_file(folder, buffer.getvalue())


def test_a_chain_of_lists_that_hold_the_one_before_twice_is_refused_at_once(folder):
    chain = node("ListNode", "builtins.list", content=[], __id__=0)
    for number in range(1, 60):
        again = node("ListNode", "builtins.list", content=[1], __id__=number - 1)
        chain = node("ListNode", "builtins.list", content=[chain, again, again], __id__=number)
    replace_schema(folder, chain)
    with pytest.raises(ModelError, match="expected entries of one object to say the same"):
        read_model(folder, "numbers")


def test_an_array_counts_as_often_as_it_is_used(folder, monkeypatch):
    np.save(array := io.BytesIO(), np.zeros(1000))
    arrays = [node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy", __id__=i) for i in range(10)]
    replace_schema(folder, node("ListNode", "builtins.list", content=arrays, __id__=10), {"0.npy": array.getvalue()})
    monkeypatch.setattr(model_file, "MAX_UNPACKED_BYTES", 20_000)
    with pytest.raises(ModelError, match="at most 20000 bytes, found 81280"):
        read_model(folder, "numbers")


@pytest.mark.parametrize("outputs", ["0", "-1", "1048576", "4611686018427387904", "true", "1.0"])
def test_a_tree_of_another_number_of_outputs_is_refused_before_it_is_made(folder, outputs):
    arguments = [
        node("JsonNode", "builtins.str", content=text, __id__=i) for i, text in enumerate(["1", "[1]", outputs])
    ]
    arguments = node("TupleNode", "builtins.tuple", content=arguments, __id__=3)
    replace_schema(folder, node("TreeNode", "sklearn.tree._tree.Tree", __reduce__={"args": arguments}, __id__=4))
    with pytest.raises(ModelError, match="expected trees of one output"):
        read_model(folder, "numbers")


@pytest.mark.parametrize(
    "loader", ["ObjectNode", "PartialNode", "FunctionNode", "MethodNode", "OperatorFuncNode", 1, None]
)
@pytest.mark.parametrize("type_name", ["os.system", "builtins.eval", "numpy.load", "sklearn.svm._classes.SVC"])
def test_types_that_skops_may_trust_are_refused_all_the_same(folder, loader, type_name):
    replace_schema(
        folder, node("DictNode", "builtins.dict", content={"a": node(loader, type_name, __id__=1)}, __id__=2)
    )
    with pytest.raises(ModelError, match=f"fixed list, found {type_name} as a {loader}"):
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
