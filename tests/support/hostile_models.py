"""Hostile model folders by seed: damaged, foreign, and made to run code or to read where nothing is.

Except where the damage is the point, the manifest agrees with the file: whoever can write the one can write the other.
"""

import hashlib
import io
import itertools
import json
import operator
import random
import re
import shutil
import zipfile
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest

from dreem_case.core import trees
from dreem_case.core.model_file import MANIFEST
from dreem_case.staging import forest
from dreem_case.staging.stagers import load_stager

ODD = [None, True, 0, -1, 2**31, 2**63, 1e308, "", "x" * 10**5, [], {}, [[]], {"content": 1}, "os.system", "..", "\0"]
class Model:
    """A model folder taken apart: its manifest, and the members of its file."""

    def __init__(self, folder: Path):
        self.manifest = json.loads((folder / MANIFEST).read_text())
        self.content = (folder / self.manifest["model_file"]).read_bytes()
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            self.schema = json.loads(archive.read("schema.json"))
            files = (node["file"] for node in self.nodes() if "file" in node)  # as named by skops: anew each time
            self.members = {name: archive.read(name) for name in ("schema.json", *files)}

    def pack(self) -> None:
        """Make a file of schema and members, and let the manifest agree with it."""
        self.members["schema.json"] = json.dumps(self.schema).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.members.items():
                archive.writestr(name, content)
        self.agree(buffer.getvalue())

    def agree(self, content: bytes) -> None:
        """Take other bytes as the file, and their hash into the manifest."""
        self.content = content
        self.manifest["model_sha256"] = hashlib.sha256(content).hexdigest()

    def write(self, folder: Path) -> None:
        """Write the folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "model.skops").write_bytes(self.content)
        self.manifest["model_file"] = self.manifest.get("model_file") and "model.skops"
        (folder / MANIFEST).write_text(json.dumps(self.manifest))

    def nodes(self) -> list[dict]:
        """List all nodes of the schema."""
        found, left = [], [self.schema]
        while left:
            part = left.pop()
            if isinstance(part, dict):
                found += [part] if "__loader__" in part else []
                left += part.values()
            elif isinstance(part, list):
                left += part
        return found


# What is done to a model: (random numbers, model)


def change_manifest(rng, model):
    """Put something odd into the manifest, or leave something out."""
    name = rng.choice(list(model.manifest))
    if rng.random() < 0.3:
        del model.manifest[name]
    else:
        model.manifest[name] = rng.choice(ODD)


def flip_bits(rng, model):
    """Flip bits of the file."""
    content = bytearray(model.content)
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    model.agree(bytes(content))


def change_nodes(rng, model):
    """Put something odd into a node of the schema, or leave something out."""
    for _ in range(rng.randint(1, 3)):
        node = rng.choice(model.nodes())
        name = rng.choice(list(node))
        if rng.random() < 0.2:
            del node[name]
        else:
            node[name] = rng.choice([*ODD, *[copy_of(rng.choice(model.nodes())) for _ in range(8)]])
        if not isinstance(model.schema, dict) or not model.nodes():
            break
    model.pack()


def copy_of(node):
    """Return a copy of a node that shares nothing with it."""
    return json.loads(json.dumps(node))


def change_arrays(rng, model):
    """Change an array's header or values."""
    name = rng.choice([name for name in model.members if name.endswith(".npy")])
    content = bytearray(model.members[name])
    what = rng.choice(["header", "values", "cut", "pickle", "shape", "other"])
    if what == "header":
        content[rng.randrange(min(len(content), 128))] = rng.randrange(256)
    elif what == "values":
        place = rng.randrange(len(content))
        content[place : place + 8] = rng.choice([b"\xff" * 8, bytes(8), rng.randbytes(8)])
    elif what == "cut":
        del content[rng.randrange(len(content)) :]
    elif what == "pickle":
        content = bytearray(pickled_array())
    elif what == "shape":
        shape = rng.choice(["(99999999999,)", "(-1,)", "(2, 3)", "()", "(9, 9, 9)", f"({'9' * 500},)"])
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(637)
        content = bytearray(b"\x93NUMPY\x01\x00\x7e\x02" + header.encode() + b"\n" + bytes(64))
    else:
        content = bytearray(model.members[rng.choice([name for name in model.members if name.endswith(".npy")])])
    model.members[name] = bytes(content)
    model.pack()


class Runs:
    """What runs code if a pickle of it is loaded."""

    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle was run')",)


def pickled_array() -> bytes:
    """Return an array file with a pickle in it."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Runs()], object), allow_pickle=True)
    return buffer.getvalue()


def change_members(rng, model):
    """Take away members, call them by paths, or put a bomb among them."""
    name = rng.choice(list(model.members))
    what = rng.choice(["away", "path", "bomb", "bomb again", "twice"])
    if what == "away":
        del model.members[name]
    elif what == "path":
        model.members[rng.choice(["../../outside", "/etc/passwd", "a\\b"])] = model.members.pop(name)
    elif what == "bomb":
        model.members["bomb.npy"] = bytes(2**25)
        rng.choice([node for node in model.nodes() if "file" in node])["file"] = "bomb.npy"
    elif what == "bomb again":
        model.members["bomb.npy"] = array_file(np.zeros(2**21))
        for node in model.nodes():
            if "file" in node:
                node["file"] = "bomb.npy"
    if "schema.json" in model.members:
        model.pack()
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in model.members.items():
            archive.writestr(name, content)
    model.agree(buffer.getvalue())


def array_file(values: np.ndarray) -> bytes:
    """Return an array in numpy's own format."""
    np.save(buffer := io.BytesIO(), values)
    return buffer.getvalue()


# What makes another forest than fitting does; test_forest and test_forest_file have the rest


NUMBERS = itertools.count(1)  # of objects; those of skops are larger


def text_node(value) -> dict:
    """Return the node of a number, a text or nothing."""
    node = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "__id__": next(NUMBERS)}
    return node | {"content": json.dumps(value), "is_json": True}


def array_node(model, values) -> dict:
    """Return the node of an array, which becomes a member of the file."""
    name = f"new{len(model.members)}.npy"
    model.members[name] = array_file(np.asarray(values))
    node = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "__id__": next(NUMBERS)}
    return node | {"type": "numpy", "file": name}


def a_tree(rng, model):
    """Return a tree of the forest: its parts by name, and the arguments it is made with."""
    tree = rng.choice([node for node in model.nodes() if node["__loader__"] == "TreeNode"])
    return tree["content"]["content"], tree["__reduce__"]["args"]["content"]


def miscount(rng, model):
    """State other numbers of nodes, outputs, classes or columns than there are."""
    parts, arguments = a_tree(rng, model)
    number = rng.choice([0, 1, 2, -1, 10**3, 2**20, 2**40, 2**62])
    what = rng.choice(["node_count", "max_depth", "n_outputs", "n_columns", "n_classes", "no nodes"])
    if what in ("node_count", "max_depth"):
        parts[what] = text_node(number)
    elif what == "n_outputs":
        arguments[2] = text_node(number)
    elif what == "n_columns":
        arguments[0] = text_node(number)
    elif what == "n_classes":
        arguments[1] = array_node(model, rng.choice([[number], [], [number] * 3, [float(abs(number))]]))
    else:
        parts["node_count"] = text_node(0)
        nodes = np.load(io.BytesIO(model.members[parts["nodes"]["file"]]))
        nodes["left_child"] = nodes["right_child"] = 2**40
        parts["nodes"] = array_node(model, nodes)
    model.pack()


def state_the_version(folder: Path) -> None:
    """Let the manifest state the version that the forged model has, if it gets that far."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest, "_check_trees", lambda *_: None)
        patch.setattr(forest, "_try_out", lambda *_: None)
        patch.setattr(trees, "_check", lambda *_: None)
        patch.setattr(trees, "_open", lambda *_: None)
        try:
            load_stager(folder)
        except Exception as error:
            if found := re.search(r"found ((forest|boosted|blended)-\w+)$", str(error)):
                manifest = json.loads((folder / MANIFEST).read_text())
                (folder / MANIFEST).write_text(json.dumps(manifest | {"version": found[1]}))


# What is done to boosted trees, whose file is plain JSON


class JsonModel(Model):
    """A folder of boosted trees taken apart: its manifest and its state."""

    def __init__(self, folder: Path):
        self.manifest = json.loads((folder / MANIFEST).read_text())
        self.content = (folder / self.manifest["model_file"]).read_bytes()
        self.state = json.loads(self.content)

    def pack(self) -> None:
        """Make a file of the state, and let the manifest agree with it."""
        self.agree(json.dumps(self.state).encode())

    def places(self) -> list[tuple]:
        """List the places of all values: what holds each, and its name or number there."""
        found, left = [], [self.state]
        while left:
            holder = left.pop()
            names = holder if isinstance(holder, dict) else range(len(holder))
            for name in list(names)[:50]:
                found.append((holder, name))
                left += [holder[name]] if isinstance(holder[name], dict | list) else []
        return found


def change_json_text(rng, model):
    """Change bytes of the JSON."""
    content = bytearray(model.content)
    for _ in range(rng.randint(1, 3)):
        content[rng.randrange(len(content))] = rng.choice(b'"{}[],:0123456789ntfe-.\xff')
    model.agree(bytes(content))


def change_values(rng, model):
    """Put something odd, or another part of the model, in the place of values; or leave some out."""
    for _ in range(rng.randint(1, 3)):
        holder, name = rng.choice(model.places())
        if rng.random() < 0.2:
            del holder[name]
        else:
            elsewhere = copy_of(operator.getitem(*rng.choice(model.places())))
            holder[name] = rng.choice([*ODD, -(2**62), 1e-320, [0] * 10**5, elsewhere])
    model.pack()


class BlendedModel(JsonModel):
    """A folder of trees and networks taken apart; its state is the trees', beside it all the rest."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.whole, self.state = self.state, self.state["boosted"]

    def pack(self) -> None:
        """Make a file of all, and let the manifest agree with it."""
        self.agree(json.dumps(self.whole).encode())


def change_networks(rng, model):
    """Change bytes of the weights, cut them off, or say something else of the networks."""
    weights = bytearray(b64decode(model.whole["weights"]))
    what = rng.choice(["bytes", "header", "length", "huge", "state", "text"])
    if what in ("bytes", "header"):
        for _ in range(rng.randint(1, 20)):
            weights[rng.randrange(len(weights) if what == "bytes" else 2000)] = rng.randrange(256)
    elif what == "length":
        del weights[rng.randrange(len(weights)) :]
    elif what == "huge":
        weights[-400:] = rng.choice([b"\xff\xff\x7f\x7f", b"\x00\x00\xc0\x7f", b"\x00\x00\x70\x44"]) * 100
    elif what == "state":
        name = rng.choice(sorted(model.whole["recurrent"]))
        model.whole["recurrent"][name] = rng.choice([None, -1, 0, 0.5, 10**9, "1", [], [[0.0], [0.0]], {}, 1e300])
    model.whole["weights"] = rng.choice(["", "=", "é", [1], None]) if what == "text" else b64encode(weights).decode()
    model.pack()


DAMAGES = {
    "forest": [change_manifest, flip_bits, change_nodes, change_arrays, change_members],
    "boosted": [change_manifest, flip_bits, change_json_text, change_values],
}
DAMAGES["blended"] = DAMAGES["boosted"]
FORGERIES = {  # whose version is stated; those of states that no fit gives are in test_boosted and test_blended, too
    "forest": [miscount],
    "boosted": [change_values],
    "blended": [change_values, change_networks],
}
PARTS = {"forest": Model, "boosted": JsonModel, "blended": BlendedModel}


def write_hostile_model(folder: Path, seed: int, good: Path) -> str:  # what was done
    """Write a model folder that was a good one before it was tampered with."""
    kind = json.loads((good / MANIFEST).read_text())["kind"]
    rng, model, n_damages = random.Random(seed), PARTS[kind](good), len(DAMAGES[kind])
    changes = DAMAGES[kind] + FORGERIES[kind] * 2
    place = seed % len(changes)
    changes[place](rng, model)
    model.write(folder)
    if place >= n_damages:
        state_the_version(folder)
    elif rng.random() < 0.05:
        (folder / MANIFEST).write_bytes(rng.choice([b"", b"{", b"[" * 10**5, b"\xff", b"null", b'{"kind": 1e999}']))
    return changes[place].__name__
