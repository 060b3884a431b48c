"""A network is the same network on a device, and a device is given no other file."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
onnx = pytest.importorskip("onnx", reason="devices are an extra: pip install dreem_case[edge]")
onnxruntime = pytest.importorskip("onnxruntime", reason="devices are an extra: pip install dreem_case[edge]")

from dreem_case.core.edge import EdgeModel, parity  # noqa: E402
from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.simulate.nights import default_night  # noqa: E402
from dreem_case.transfer.edge_network import EdgeNetwork, edge_inputs, shipped_edge_folder  # noqa: E402
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
    assert max(largest_weights(tmp_path / "b.onnx")) <= 64
    assert whole.n_bytes <= 100_000
    assert (plain(*some(50, 9)).argmax(axis=2) == whole(*some(50, 9)).argmax(axis=2)).mean() > 0.8
    assert edge_cost(whole, some(10), n_runs=1).kb == whole.n_bytes / 1000


def test_the_shipped_files_agree_with_the_shipped_network():
    stager, folder = load_network_stager(shipped_network_folder()), shipped_network_folder()
    assert parity(stager.network, EdgeModel(folder / "edge.onnx"), [some(40)]) < 1e-4
    assert EdgeModel(folder / "edge_int8.onnx").n_bytes <= 100_000


def largest_weights(path):
    """Each layer's largest weight in whole numbers; above 64, two products do not fit into sixteen bits."""
    given = [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    return [np.abs(one.astype(int)).max() for one in given if one.dtype == np.int8 and one.ndim > 1]


def in_full(path):
    """Run a file in whole numbers as it is written, every product and sum in float."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=False)))[0]


@pytest.mark.parametrize("folder", [shipped_network_folder(), shipped_edge_folder()], ids=lambda path: path.name)
def test_shipped_whole_numbers_say_the_same_on_every_processor_and_what_float_says(folder):
    night = edge_inputs(EdgeNetwork.load(shipped_edge_folder()).prepare(default_night(2, hours=0.5).night))
    whole, plain = folder / "edge_int8.onnx", EdgeModel(folder / "edge.onnx")
    assert max(largest_weights(whole)) <= 64
    said = EdgeModel(whole)(*night)
    assert np.abs(said - in_full(whole)(*night)).max() < 0.05
    assert (said.argmax(axis=2) == plain(*night).argmax(axis=2)).mean() > 0.9


def test_products_of_eight_bits_add_up_in_full_in_a_file_from_elsewhere(tmp_path):
    def quantized(name, values, kind):
        return onnx.numpy_helper.from_array(np.asarray(values, kind), name)

    node = onnx.helper.make_node
    given = [
        quantized("w", np.full((4, 8, 1), 127), np.int8), quantized("w_0", 0, np.int8), quantized("x_0", -128, np.int8),
        quantized("w_by", 1, np.float32), quantized("x_by", 1, np.float32), quantized("y_by", 2000, np.float32),
    ]  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "x_by", "x_0"], ["xq"]), node("DequantizeLinear", ["xq", "x_by", "x_0"], ["xd"]),
        node("DequantizeLinear", ["w", "w_by", "w_0"], ["wd"]), node("Conv", ["xd", "wd"], ["y"]),
        node("QuantizeLinear", ["y", "y_by", "x_0"], ["yq"]), node("DequantizeLinear", ["yq", "y_by", "x_0"], ["z"]),
    ]  # fmt: skip
    value = onnx.helper.make_tensor_value_info
    x, z = value("x", onnx.TensorProto.FLOAT, (1, 8, 16)), value("z", onnx.TensorProto.FLOAT, (1, 4, 16))
    graph = onnx.helper.make_graph(nodes, "sums", [x], [z], given)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    (tmp_path / "sums.onnx").write_bytes(model.SerializeToString())
    said = EdgeModel(tmp_path / "sums.onnx")(np.full((1, 8, 16), 255, np.float32))
    assert set(said.flat) == {2000 * round(8 * 255 * 127 / 2000)}


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
