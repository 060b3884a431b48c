"""A device's network stages nights, a server is asked for the rest, and neither a night nor a server spoils a run."""

import csv
import gzip
import json
import shutil
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
onnx = pytest.importorskip("onnx", reason="devices are an extra: pip install dreem_case[edge]")
pytest.importorskip("onnxruntime", reason="devices are an extra: pip install dreem_case[edge]")

from click.testing import CliRunner  # noqa: E402

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.core.outputs import open_outputs  # noqa: E402
from dreem_case.nights.casefile import write_night  # noqa: E402
from dreem_case.nights.store import open_store  # noqa: E402
from dreem_case.simulate.nights import default_night  # noqa: E402
from dreem_case.transfer.bands import BandError  # noqa: E402
from dreem_case.transfer.cascade import Cost, ask_stages  # noqa: E402
from dreem_case.transfer.commands import transfer  # noqa: E402
from dreem_case.transfer.edge_first import EdgeFirst, stage_store  # noqa: E402
from dreem_case.transfer.edge_network import EdgeNetwork, check_edge_folder, shipped_edge_folder  # noqa: E402
from dreem_case.transfer.network_stager import load_network_stager, shipped_network_folder  # noqa: E402
from tests.support.stores import REGION, BucketPlace  # noqa: E402

torch.set_num_threads(1)
DEEP = [0.0, 0.0, 0.0, 1.0, 0.0]


@contextmanager
def serving(answer):
    """Run a server whose answer to n windows is what a function says: status, headers, content."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            n = (int(self.headers["Content-Length"]) - 128) // 6000
            asked.append(n)
            status, headers, content = answer(n)
            if status is None:  # no HTTP
                self.wfile.write(content)
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for part in [content] if isinstance(content, bytes) else content:
                self.wfile.write(part)

        def log_message(self, *words):
            pass

        def handle(self):
            with suppress(ConnectionError):  # the client has hung up
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # `server_close` waits for them
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deep_sleep(n):
    return 200, {}, json.dumps({"model_version": "large-1", "probabilities": [DEEP] * n}).encode()


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nights")
    for i in range(2):
        write_night(default_night(i, hours=0.5).night, folder)
    (folder / "hypnograms" / f"{open_store(folder).records()[1]}.json").unlink()
    return folder


@pytest.fixture(scope="module")
def edge():
    return EdgeNetwork.load(shipped_edge_folder())


def run(nights, out, edge, url, budget=0.5, wait_s=5.0):
    said = []
    found = stage_store(open_store(nights), open_outputs(out), EdgeFirst(edge, url, budget, wait_s), said.append)
    return (*found, said)


def test_the_server_answers_for_what_the_device_is_unsure_of_and_a_table_says_what_it_cost(nights, edge, tmp_path):
    with serving(deep_sleep) as (url, asked):
        rows, n_there, said = run(nights, tmp_path, edge, url)
        assert n_there == 0 and said == []
        assert len(asked) == 3  # each night, and the scored one as a whole
        scored, unscored = rows
        found = json.loads((tmp_path / "stages" / f"{scored['record']}.json").read_text())
        by = np.array(found["by"])
        assert set(by) == {"edge", "server"} and scored["asked"] == round((by == "server").mean(), 4)
        assert set(np.array(found["stages"])[by == "server"]) == {"DEEP"} and found["server_model"] == "large-1"
        assert asked[0] == round(scored["sent"] * scored["epochs"]) and scored["bytes"] == 128 + 6000 * asked[0]
        assert None not in (scored["kappa_edge"], scored["kappa_both"]) and unscored["kappa_edge"] is None
        with (tmp_path / "nights.csv").open() as file:
            table = list(csv.DictReader(file))
        assert [row["record"] for row in table] == [row["record"] for row in rows]
        again, n_there, _ = run(nights, tmp_path, edge, url)
        assert (again, n_there, len(asked)) == (rows, 2, 3)
        run(nights, tmp_path, edge, url, budget=0.2)
        assert len(asked) > 3  # another budget is another result


def test_the_devices_answer_stands_when_the_server_is_away_and_the_next_run_asks_again(nights, edge, tmp_path):
    rows, _, said = run(nights, tmp_path, edge, "http://127.0.0.1:9")
    found = json.loads((tmp_path / "stages" / f"{rows[0]['record']}.json").read_text())
    assert found["by"].count("edge, unsure") == rows[0]["unanswered"] > 0 and len(said) == 2
    assert rows[0]["kappa_both"] == rows[0]["kappa_edge"] and rows[0]["kappa_server"] is None
    with serving(deep_sleep) as (url, _):
        pass
    rows, n_there, _ = run(nights, tmp_path, edge, url)  # another address, where nobody is any more
    assert n_there == 0 and rows[0]["bytes"] == rows[0]["sent"] == 0
    assert run(nights, tmp_path, edge, url)[1] == 0


def test_nights_of_a_bucket_are_staged_into_a_bucket(nights, edge, server, credentials):
    place = BucketPlace(server, "edge-first")
    for path in nights.rglob("*.*"):
        place.write(str(path.relative_to(nights)), path.read_bytes())
    outputs = open_outputs("s3://edge-first/staged", server, REGION)
    with serving(deep_sleep) as (url, _):
        found = [stage_store(place.open(), outputs, EdgeFirst(edge, url, 0.5), pytest.fail) for _ in range(2)]
    assert [n_there for _, n_there in found] == [0, 2] and found[0][0] == found[1][0]
    assert outputs.read("nights.csv").count(b"\n") == 3 and len(outputs.names("stages")) == 2


def test_a_network_of_a_bucket_is_written_for_a_device(nights, tmp_path, server, credentials, monkeypatch):
    monkeypatch.setenv("DREEM_CASE_S3_ENDPOINT", server)
    place, network = BucketPlace(server, "networks"), shipped_network_folder()
    for path in network.iterdir():
        place.write(f"small/{path.name}", path.read_bytes())
    known = load_network_stager(network).trained_on[0]
    place.write(f"nights/h5/{known}.h5", next(nights.glob("h5/*.h5")).read_bytes())
    command = ["edge", "--store", "s3://networks/nights", "--out", str(tmp_path), "--json", "--model"]
    found = CliRunner().invoke(transfer, [*command, "s3://networks/small"])
    assert found.exit_code == 0 and json.loads(found.stdout)["parity"] < 1e-4
    assert EdgeNetwork.load(tmp_path).version.startswith(load_network_stager(network).version)
    absent = CliRunner().invoke(transfer, [*command, "s3://networks/none"])
    assert absent.exit_code == 1 and "s3://networks/none/manifest.json: expected a model's manifest" in absent.output


def of(value):
    return lambda n: (200, {}, json.dumps({"probabilities": value(n)}).encode())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (of(lambda n: [DEEP] * (n + 1)), "shape"),
        (of(lambda n: [[1.0]] * n), "shape"),
        (of(lambda n: [[float("nan"), 1, 0, 0, 0]] * n), "numbers that are none"),
        (of(lambda n: [[1e400, 1, 0, 0, 0]] * n), "numbers that are none"),
        (of(lambda n: [[2, -1, 0, 0, 0]] * n), "numbers that are none"),
        (of(lambda n: [[10**400, 1, 0, 0, 0]] * n), "int too large"),
        (of(lambda n: [DEEP] * n + ["x" * 1000] * 2 * n), "more than"),
        (lambda n: (200, {}, b"[" * 9000), "probabilities"),
        (lambda n: (200, {}, b'{"probabilities": null}'), "shape"),
        (lambda n: (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(30_000_000))), "probabilities"),
        (lambda n: (200, {"Content-Encoding": "gzip"}, gzip.compress(deep_sleep(n)[2])), "probabilities"),
        (lambda n: (422, {}, b'{"detail": "\\u001b[2J not that"}'), "not that"),
        (of(lambda n: [[None, 1, 0, 0, 0]] * n), "numbers that are none"),
        (of(lambda n: [["x", 1, 0, 0, 0]] * n), "could not convert"),
        (lambda n: (503, {}, b""), "503"),
        (lambda n: (None, {}, b"SSH-2.0-x\r\n"), "SSH-2.0-x"),
        (lambda n: (None, {}, b""), "closed connection"),
        (lambda n: (200, {"Content-Length": "100000"}, b"{}"), "probabilities"),
    ],
)
def test_a_hostile_answer_is_refused_and_the_devices_stands(answer, reason, nights, edge, tmp_path):
    with serving(answer) as (url, _):
        rows, _, said = run(nights, tmp_path, edge, url)
    assert all(row["unanswered"] > 0 and not row["error"] for row in rows)
    assert all(reason in line and line.isprintable() and len(line) < 400 for line in said)


def test_a_night_is_not_sent_on_to_where_a_server_points(nights, edge, tmp_path):
    with (
        serving(deep_sleep) as (elsewhere, asked),
        serving(lambda n: (307, {"Location": f"{elsewhere}/stage"}, b"")) as (url, _),
    ):
        rows, _, said = run(nights, tmp_path, edge, url)
    assert asked == [] and rows[0]["unanswered"] > 0 and "307" in said[0]


def test_an_answer_that_comes_in_drops_ends_with_the_time_for_a_whole_one():
    done = threading.Event()

    def drops(n):
        while not done.wait(0.02):
            yield b" "

    with serving(lambda n: (200, {}, drops(n))) as (url, _):
        with pytest.raises(OSError, match=r"whole answer within 0\.2 s"):
            ask_stages(url, np.zeros((5, 3000)), "Fpz-Cz", Cost(), wait_s=0.2)
        done.set()


def test_a_night_that_cannot_be_staged_does_not_cost_the_others(nights, edge, tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    shutil.copytree(nights, store)
    good = open_store(store).records()
    (store / "h5" / "a-bad-one.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    shutil.copyfile(store / "h5" / f"{good[1]}.h5", store / "h5" / "silent.h5")
    with h5py.File(store / "h5" / "silent.h5", "r+") as file:
        file.visititems(lambda _, one: one.write_direct(np.zeros(one.shape)) if isinstance(one, h5py.Dataset) else None)
    (store / "hypnograms" / f"{good[0]}.json").write_text('{"a": 1}')
    with serving(deep_sleep) as (url, _):
        command = ["stage", "--store", str(store), "--server", url, "--out", str(out), "--json"]
        found = CliRunner().invoke(transfer, command)
    assert found.exit_code == 1 and found.stderr.count("\n") == 2
    assert "a-bad-one: expected" in found.stderr and "silent: expected an epoch with signal" in found.stderr
    figures = json.loads(found.stdout)
    assert (figures["nights"], figures["failed"], figures["not_answered"]) == (4, 2, 0)
    assert "expected a JSON list" in json.loads((out / "stages" / f"{good[0]}.json").read_text())["notes"][0]
    assert len(list((out / "stages").iterdir())) == 2


def test_a_store_without_nights_ends_the_command(tmp_path):
    (tmp_path / "store" / "h5").mkdir(parents=True)
    command = ["stage", "--store", str(tmp_path / "store"), "--server", "http://127.0.0.1:9"]
    found = CliRunner().invoke(transfer, [*command, "--out", str(tmp_path / "o")])
    assert found.exit_code == 1 and "expected nights, found none" in found.output and not (tmp_path / "o").exists()


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://me:secret@host", "http://host/?a=b", "http://h\n"])
def test_an_address_that_is_none_ends_the_command_before_any_night(url, nights, tmp_path):
    command = ["stage", "--store", str(nights), "--server", url, "--out", str(tmp_path / "o")]
    found = CliRunner().invoke(transfer, command)
    assert found.exit_code == 1 and "expected an address such as" in found.output and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": "x"}, {"temperature": 0}, {"low_pass_hz": 1e9}, {"confidences": [0.5]}, {"kind": "small"},
        {"confidences": [1.0] + [0.0] * 100}, {"confidences": [float("nan")] * 101}, {"model_file": "../edge.onnx"},
        {"model_sha256": "0" * 64}, {"model_sha256": None},
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_together_is_no_edge_network(change, tmp_path):
    shutil.copytree(shipped_edge_folder(), tmp_path / "edge")
    manifest = tmp_path / "edge" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(ModelError, match="expected"):
        EdgeNetwork.load(tmp_path / "edge")


def test_a_manifest_of_another_model_is_not_overwritten(tmp_path):
    with pytest.raises(ModelError, match=r"found its manifest\.json"):
        check_edge_folder(shipped_network_folder())
    check_edge_folder(shipped_edge_folder())
    check_edge_folder(tmp_path)


def test_the_shipped_network_of_a_device_is_smaller_than_the_one_that_taught_it():
    about = json.loads((shipped_edge_folder() / "training.json").read_text())
    teacher = json.loads((shipped_network_folder() / "manifest.json").read_text())
    assert about["taught_by"] == teacher["version"] and about["parameters"] < 22_925 / 3
    manifest = json.loads((shipped_edge_folder() / "manifest.json").read_text())
    assert manifest["trained_on"] == teacher["trained_on"]
    assert about["edge"]["points_lost"] < 1 and about["edge"]["files"]["int8"]["kb"] < 100


def test_a_share_outside_0_and_1_is_no_budget(edge):
    assert edge.threshold(0.1) < edge.threshold(0.5)
    with pytest.raises(BandError, match="budget"):
        EdgeFirst(edge, "http://host", 1.5)
