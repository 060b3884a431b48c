"""Estimators in a file: what is damaged, foreign or too large is refused before anything is made of it."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import skops.io

from dreem_case.core.model_file import ModelError
from dreem_case.staging import forest_file as estimator_file
from dreem_case.staging.forest_file import dump_estimators, load_estimators


class Foreign:
    """A type that is on no list."""


def test_a_foreign_type_is_refused():
    with pytest.raises(ModelError, match="Foreign"):
        load_estimators(skops.io.dumps({"values": Foreign()}), "model")


def node(loader: str, type_name: str, **parts) -> dict:
    """Return an entry of a skops schema."""
    module, _, name = type_name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **parts}


def file_of(schema: dict, members=()) -> bytes:
    """Return a file of a schema and other members."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps({**schema, "protocol": 2}))
        for name, content in dict(members).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_chain_of_lists_that_hold_the_one_before_twice_is_refused_at_once():
    chain = node("ListNode", "builtins.list", content=[], __id__=0)
    for number in range(1, 60):
        again = node("ListNode", "builtins.list", content=[1], __id__=number - 1)
        chain = node("ListNode", "builtins.list", content=[chain, again, again], __id__=number)
    content = file_of(chain)
    with pytest.raises(ModelError, match="expected entries of one object to say the same"):
        load_estimators(content, "model")


def test_an_array_counts_as_often_as_it_is_used(monkeypatch):
    np.save(array := io.BytesIO(), np.zeros(1000))
    arrays = [node("NdArrayNode", "numpy.ndarray", type="numpy", file="0.npy", __id__=i) for i in range(10)]
    content = file_of(node("ListNode", "builtins.list", content=arrays, __id__=10), {"0.npy": array.getvalue()})
    monkeypatch.setattr(estimator_file, "MAX_UNPACKED_BYTES", 20_000)
    with pytest.raises(ModelError, match="at most 20000 bytes, found 81280"):
        load_estimators(content, "model")


@pytest.mark.parametrize("outputs", ["0", "-1", "1048576", "4611686018427387904", "true", "1.0"])
def test_a_tree_of_another_number_of_outputs_is_refused_before_it_is_made(outputs):
    arguments = [
        node("JsonNode", "builtins.str", content=text, __id__=i) for i, text in enumerate(["1", "[1]", outputs])
    ]
    arguments = node("TupleNode", "builtins.tuple", content=arguments, __id__=3)
    content = file_of(node("TreeNode", "sklearn.tree._tree.Tree", __reduce__={"args": arguments}, __id__=4))
    with pytest.raises(ModelError, match="expected trees of one output"):
        load_estimators(content, "model")


@pytest.mark.parametrize(
    "loader", ["ObjectNode", "PartialNode", "FunctionNode", "MethodNode", "OperatorFuncNode", 1, None]
)
@pytest.mark.parametrize("type_name", ["os.system", "builtins.eval", "numpy.load", "sklearn.svm._classes.SVC"])
def test_types_that_skops_may_trust_are_refused_all_the_same(loader, type_name):
    content = file_of(
        node("DictNode", "builtins.dict", content={"a": node(loader, type_name, __id__=1)}, __id__=2)
    )
    with pytest.raises(ModelError, match=f"fixed list, found {type_name} as a {loader}"):
        load_estimators(content, "model")


def test_a_pickle_is_refused_and_not_run():
    class Runs:
        def __reduce__(self):
            return (exec, ("raise SystemExit('the pickle was run')",))

    content = pickle.dumps(Runs())
    with pytest.raises(ModelError, match="does not open"):
        load_estimators(content, "model")


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(monkeypatch):
    content = dump_estimators({"values": np.zeros(1_000_000)})
    assert len(content) < 100_000
    monkeypatch.setattr(estimator_file, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(ModelError, match="at most 1000000 bytes, found"):
        load_estimators(content, "model")
