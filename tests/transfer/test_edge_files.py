"""A network is the same network on a device, and a device is given no other file."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
onnx = pytest.importorskip("onnx", reason="devices are an extra: pip install dreem_case[edge]")
pytest.importorskip("onnxruntime", reason="devices are an extra: pip install dreem_case[edge]")

from dreem_case.core.edge import EdgeModel, parity  # noqa: E402
from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.transfer.network_stager import load_network_stager, shipped_network_folder  # noqa: E402
from dreem_case.transfer.networks import SmallSequenceNet, SpectrogramNet, TenConvolutions, TinySleepNet  # noqa: E402
from dreem_case.transfer.onnx_edge import edge_cost, export_onnx, quantize_static  # noqa: E402

torch.set_num_threads(1)


def some(n_epochs, seed=0):
    random = np.random.default_rng(seed)
    seen = np.ones((1, n_epochs), bool)
    seen[0, n_epochs // 2] = False
    return random.normal(0, 1, (1, n_epochs, 3000)).astype(np.float32), seen


@pytest.mark.parametrize("build", [SmallSequenceNet, SpectrogramNet, TinySleepNet, TenConvolutions])
def test_a_file_says_what_the_network_says_for_any_number_of_epochs(build, tmp_path):
    torch.manual_seed(0)
    network = build().eval()
    export_onnx(network, some(4), tmp_path / "a.onnx")
    if (tmp_path / "a.onnx").stat().st_size > 5_000_000:
        with pytest.raises(ModelError, match="expected at most 5000000 bytes"):
            EdgeModel(tmp_path / "a.onnx")
        return
    assert parity(network, EdgeModel(tmp_path / "a.onnx"), [some(2), some(31, 1)]) < 1e-4


def test_a_runtime_keeps_and_reports_nothing_of_its_use(tmp_path):
    file = shipped_network_folder() / "edge_int8.onnx"
    code = f"from dreem_case.core.edge import EdgeModel; EdgeModel({str(file)!r})"
    others = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", code], env=others | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())


def test_whole_numbers_are_small_and_nearly_the_same(tmp_path):
    network = load_network_stager(shipped_network_folder()).network
    export_onnx(network, some(8), tmp_path / "a.onnx")
    quantize_static(tmp_path / "a.onnx", [some(20, i) for i in range(3)], tmp_path / "b.onnx")
    plain, whole = EdgeModel(tmp_path / "a.onnx"), EdgeModel(tmp_path / "b.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    types = {one.data_type for one in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    assert whole.n_bytes <= 100_000
    assert (plain(*some(50, 9)).argmax(axis=2) == whole(*some(50, 9)).argmax(axis=2)).mean() > 0.8
    assert edge_cost(whole, some(10), n_runs=1).kb == whole.n_bytes / 1000


def test_the_shipped_files_agree_with_the_shipped_network():
    stager, folder = load_network_stager(shipped_network_folder()), shipped_network_folder()
    assert parity(stager.network, EdgeModel(folder / "edge.onnx"), [some(40)]) < 1e-4
    assert EdgeModel(folder / "edge_int8.onnx").n_bytes <= 100_000


def changed(tmp_path, change):
    model = onnx.load(shipped_network_folder() / "edge.onnx")
    change(model)
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "bad.onnx"


def outside(model):
    one = model.graph.initializer[0]
    one.ClearField("raw_data")
    one.data_location = onnx.TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../../etc/passwd")


def foreign(model):
    model.graph.node[0].domain = "com.evil"
    model.opset_import.add(domain="com.evil", version=1)


def inner(model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", body))


@pytest.mark.parametrize("change", [outside, foreign, inner])
def test_a_file_that_could_do_more_is_refused(tmp_path, change):
    with pytest.raises(ModelError, match="expected"):
        EdgeModel(changed(tmp_path, change))


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04", b"\x08\x07" * 99, bytes(5_000_001)])
def test_what_is_no_file_is_refused(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="expected"):
        EdgeModel(tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match="found none"):
        EdgeModel(tmp_path / "no.onnx")
