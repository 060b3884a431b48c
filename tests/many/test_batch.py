"""Scoring a store: the endpoint's own bytes, done once, whatever happens in between."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from socket import gethostname

import h5py
import numpy as np
import pytest
from pyarrow import parquet

from dreem_case.api import make_app
from dreem_case.core.cache import ResultCache
from dreem_case.core.model_file import ModelError
from dreem_case.core.outputs import FolderOutputs, OutputError
from dreem_case.core.workers import DaskWorkers, Done, ThreadWorkers, Workers
from dreem_case.many import batch
from dreem_case.many.batch import BatchError, ScoringJob, score_store
from dreem_case.many.training_set import compute_features
from dreem_case.nights.folder_store import FolderStore
from dreem_case.nights.store import GIVE_UP, StorePlace, StoreUnavailable, open_store
from dreem_case.serving.answers import Answers, result_key
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import ScoringPool
from dreem_case.staging.feature_cache import FeatureCache
from tests.conftest import until
from tests.support.stores import REGION, client


class Here(Workers):
    """A worker that is this process, so that a test can put something in its way."""

    def run(self, function, items):
        for item in items:
            yield Done(item, function(item))

    def close(self):
        batch._Scorer.close(None)


@pytest.fixture(scope="module")
def pool(short_model):
    with ScoringPool(short_model) as pool:
        yield pool


@pytest.fixture
def here(pool, monkeypatch):
    """A worker here, with one pool for all that the test does."""
    with monkeypatch.context() as kept, Here() as workers:
        kept.setattr(pool, "close", lambda: None)
        kept.setattr(batch, "ScoringPool", lambda *_: pool)
        yield workers


@pytest.fixture
def nights(six_minutes, tmp_path):
    """Three nights of six minutes each, and one that never had a signal."""
    shutil.copytree(six_minutes, tmp_path / "nights")
    with h5py.File(tmp_path / "nights" / "silent.h5", "w") as file:
        file["eeg1"] = np.zeros(15_000, np.float32)
    return tmp_path / "nights"


@pytest.fixture
def job(nights, short_model, tmp_path):
    return ScoringJob(StorePlace(str(nights)), str(short_model), str(tmp_path / "out"), str(tmp_path / "cache"))


def table(job):
    """The rows of the table, by record."""
    rows = parquet.read_table(BytesIO(job.open_outputs().read(batch.TABLE))).to_pylist()
    return {row["record"]: row for row in rows}


def files(folder):
    """Everything that lies in a folder, with its content."""
    found = Path(folder).rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


def but_the_table(job):
    return {name: content for name, content in files(job.out).items() if name != batch.TABLE}


def test_a_store_is_scored_as_the_endpoint_answers(job, nights, here, pool, tmp_path):
    summary = score_store(job, here)
    assert (summary.n_scored, summary.n_refused, summary.n_failed, summary.n_left) == (3, 1, 0, 0)
    assert summary.problems[0]["code"] == "no_usable_eeg"
    assert not summary.whole
    outputs, rows = job.open_outputs(), table(job)
    answers = Answers(open_store(nights), ResultCache(tmp_path / "own", 10**8), pool)
    endpoint = make_app(answers, Metrics()).test_client()
    for record in sorted(set(rows) - {"silent"}):
        answer = answers.get(record)
        assert outputs.read(f"{record}.json") == endpoint.get(f"/hypnogram/{record}").data
        assert outputs.read(f"details/{record}.json") == endpoint.get(f"/hypnogram/{record}/details").data
        document, row = json.loads(answer.details), rows[record]
        key = result_key(pool, record, answer.version)
        assert (row["status"], row["key"], row["version"]) == ("scored", key, answer.version)
        assert row["sleep_min"] == document["statistics"]["sleep_min"]
        assert row["n_epochs"] == 12
        assert row["confidence"] == pytest.approx(np.mean(document["confidence"]), abs=1e-4)
        assert row["weight_eeg1"] == pytest.approx(np.mean(document["channels"][0]["weight"]), abs=1e-4)
        assert row["seconds"] > 0
    hypnograms = {f"{record}.json" for record in rows} - {"silent.json"}
    assert {path.name for path in Path(job.out).iterdir()} == {"details", "rows", "store.txt", batch.TABLE} | hypnograms
    assert (rows["silent"]["status"], rows["silent"]["error_code"]) == ("refused", "no_usable_eeg")
    assert endpoint.get("/hypnogram/silent").json["detail"] == rows["silent"]["error"]
    assert outputs.read("silent.json") is None


def test_features_are_computed_once_for_whoever_asks(job, nights, here, monkeypatch):
    score_store(job, here)
    cached = replace(job, out=f"{job.out}-2", cache=f"{job.cache}-2")
    n, _ = compute_features(job.store, FeatureCache(f"{cached.cache}/features", 10**9), here)
    assert n == 4
    monkeypatch.setattr(FolderStore, "fetched", None)  # no file is looked into
    assert score_store(cached, here).n_scored == 3
    of_the_run = {"rows", batch.TABLE}
    found, expected = (
        {name: content for name, content in files(place).items() if name.split("/")[0] not in of_the_run}
        for place in (cached.out, job.out)
    )
    assert found == expected


def test_features_that_are_none_are_computed_again(job, nights, here):
    score_store(job, here)
    before = files(job.out)
    for entry in Path(job.cache, "features").glob("*.entry"):
        ResultCache(f"{job.cache}/features", 10**9).put(entry.stem, b"no features")
    shutil.rmtree(job.out)
    assert score_store(job, here).n_scored == 3
    for name in (name for name in before if not name.startswith(("rows", batch.TABLE))):
        assert Path(job.out, name).read_bytes() == before[name]


def test_the_table_is_of_the_nights_that_the_store_has_now(job, nights, here):
    score_store(job, here)
    gone, stays, *_ = open_store(nights).records()
    before = files(job.out)
    (nights / f"{gone}.h5").unlink()
    Path(job.out, batch.TABLE).unlink()
    assert score_store(job, here).n_records == 3
    assert set(table(job)) == {*open_store(nights).records()}
    assert stays in table(job)
    assert but_the_table(job) == {name: content for name, content in before.items() if name != batch.TABLE}
    (nights / f"{stays}.h5").unlink()
    score_store(job, here)
    assert set(table(job)) == {*open_store(nights).records()}


@pytest.mark.parametrize("knows", [True, False], ids=["known to the table", "unknown to the table"])
def test_details_that_somebody_removed_are_made_again(job, nights, here, knows):
    score_store(job, here)
    before = but_the_table(job)
    record = open_store(nights).records()[0]
    Path(job.out, "details", f"{record}.json").unlink()
    if not knows:
        Path(job.out, batch.TABLE).unlink()
    assert score_store(job, here).n_scored == 1
    assert set(but_the_table(job)) == set(before)
    assert files(f"{job.out}/details")[f"{record}.json"] == before[f"details/{record}.json"]


def test_workers_elsewhere_are_told_whole_addresses(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    near = ScoringJob(StorePlace("nights", region="x"), "model", "out", "cache").from_anywhere()
    model, out, cache = (str(tmp_path / name) for name in ("model", "out", "cache"))
    assert near == ScoringJob(StorePlace(f"{tmp_path}/nights", region="x"), model, out, cache)
    far = ScoringJob(StorePlace("s3://lab/nights"), str(tmp_path), "s3://lab/out", "~/cache")
    assert far.from_anywhere() == far  # whose home it is, each worker knows


def test_what_is_done_and_current_is_left_alone(job, nights, here):
    score_store(job, here)
    before = files(job.out)
    again = score_store(job, here)
    assert (again.n_current, again.n_scored, again.n_refused) == (3, 0, 1)
    assert files(job.out) == before
    records = open_store(nights).records()
    shutil.copyfile(nights / f"{records[1]}.h5", nights / f"{records[0]}.h5")
    Path(job.out, f"{records[2]}.json").unlink()
    changed = score_store(job, here)
    assert (changed.n_current, changed.n_scored) == (1, 2)
    assert job.open_outputs().read(f"{records[0]}.json") == job.open_outputs().read(f"{records[1]}.json")


def test_a_file_that_became_unusable_takes_its_old_hypnogram_along(job, nights, here):
    score_store(job, here)
    record = open_store(nights).records()[0]
    (nights / f"{record}.h5").write_bytes(b"no HDF5")
    assert score_store(job, here).n_refused == 2
    assert job.open_outputs().read(f"{record}.json") is None
    assert table(job)[record]["error_code"] == "unreadable_file"
    assert table(job)[record]["sleep_min"] is None


def test_what_failed_for_the_moment_keeps_its_old_files_and_is_tried_again(job, nights, here, monkeypatch):
    score_store(job, here)
    before = but_the_table(job)
    record = open_store(nights).records()[0]
    shutil.copyfile(nights / f"{record}.h5", nights / "copy")
    (nights / "copy").replace(nights / f"{record}.h5")  # another version

    def fail(*_):
        raise RuntimeError("a fault in the code")

    with monkeypatch.context() as broken:
        broken.setattr(batch, "score_record", fail)
        summary = score_store(job, here)
    assert (summary.n_current, summary.n_failed) == (2, 1)
    row = table(job)[record]
    assert (row["status"], row["error_code"]) == ("failed", "unexpected")
    assert row["error"] == "RuntimeError: a fault in the code"
    assert row["seconds"] is not None
    assert {name for name, value in row.items() if value is not None} == {
        "record", "status", "error_code", "error", "seconds"
    }  # fmt: skip
    assert but_the_table(job) == before
    assert score_store(job, here).n_scored == 1
    assert table(job)[record]["status"] == "scored"


def test_a_file_that_cannot_be_read_now_fails_and_is_tried_again(job, nights, here):
    """What the system refuses is no verdict on the night, in rows and caches neither."""
    paths = sorted(nights.glob("*.h5"))[:GIVE_UP]
    with ExitStack() as held:
        for path in paths:  # as somebody who writes them
            fcntl.flock(held.enter_context(path.open("rb")), fcntl.LOCK_EX)
        summary = score_store(job, here)
    assert (summary.n_failed, summary.n_refused, summary.stopped) == (GIVE_UP, 1, "")
    assert {problem["code"] for problem in summary.problems} == {"file_unavailable", "no_usable_eeg"}
    detail = next(p["detail"] for p in summary.problems if p["record"] == paths[0].stem)
    assert detail.startswith(f"{paths[0].stem}: ") and detail.endswith(f"temporarily unavailable, at {gethostname()}")
    assert table(job)[paths[0].stem]["status"] == "failed"
    again = score_store(job, here)
    assert (again.n_scored, again.n_failed, again.n_refused) == (GIVE_UP, 0, 1)


def test_a_store_that_goes_away_ends_the_run_and_costs_nothing(job, nights, here, monkeypatch):
    score_store(job, here)
    for record in open_store(nights).records():
        shutil.copyfile(nights / f"{record}.h5", nights / "copy")
        (nights / "copy").replace(nights / f"{record}.h5")
    before = but_the_table(job)
    summary = score_store(job, here, lambda summary, row: nights.exists() and nights.rename(nights.with_name("away")))
    assert (summary.n_failed, summary.n_left) == (GIVE_UP, 1)
    assert summary.stopped.startswith("given up: expected an answer from the store")
    assert {problem["code"] for problem in summary.problems} == {"store_unavailable"}
    assert but_the_table(job) == before


def test_a_full_disk_ends_the_run_and_costs_nothing(job, here, monkeypatch):
    write, n_writes = FolderOutputs.write, iter(range(100))

    def full(self, name, content):
        if next(n_writes) >= 6:  # the store's name, the table, and the first night
            raise OutputError("a full disk", lasting=True)
        write(self, name, content)

    with monkeypatch.context() as broken:
        broken.setattr(FolderOutputs, "write", full)
        summary = score_store(job, here)
    assert (summary.n_scored, summary.n_failed, summary.n_left) == (1, 1, 2)
    assert summary.stopped == f"given up: expected a place that takes results, found a full disk, at {gethostname()}"
    assert parquet.read_table(BytesIO(job.open_outputs().read(batch.TABLE))).num_rows == 0
    again = score_store(job, here)
    assert (again.n_current, again.n_scored) == (1, 2)
    assert len(table(job)) == 4


@pytest.mark.parametrize("method", ["write", "remove"])
def test_a_hypnogram_of_before_is_never_taken_for_a_new_one(method, job, nights, here, monkeypatch):
    score_store(job, here)
    record = open_store(nights).records()[0]
    other = "silent" if method == "remove" else open_store(nights).records()[1]
    shutil.copyfile(nights / f"{other}.h5", nights / f"{record}.h5")
    real = getattr(FolderOutputs, method)

    def fail(self, name, *content):
        if name == f"{record}.json":
            raise OutputError("a place that is away", lasting=False)
        real(self, name, *content)

    with monkeypatch.context() as broken:
        broken.setattr(FolderOutputs, method, fail)
        assert score_store(job, here).n_failed == 1
    again = score_store(job, here)
    assert (again.n_scored, again.n_refused) == ((1, 1) if method == "write" else (0, 2))
    assert job.open_outputs().read(f"{record}.json") == job.open_outputs().read(f"{other}.json")


def test_a_table_that_is_lost_or_damaged_is_made_again(job, here):
    score_store(job, here)
    whole = table(job)
    for content in (None, b"nonsense"):
        job.open_outputs().remove(batch.TABLE) if content is None else job.open_outputs().write(batch.TABLE, content)
        summary = score_store(job, here)
        assert (summary.n_current, summary.n_scored) == (3, 0)
        assert table(job) == whole


LINE = {"record": "night-1", "status": "refused", "key": "k", "error_code": "too_long", "error": "expected less"}


def line(**changed):
    """The line of a refused night, changed."""
    return json.dumps(LINE | changed).encode()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, line(record="other"), line(status="odd"), line(status=[]), line(key=7),
     line(error_code=None), line(status="failed"), line(n_epochs="many"), line(status="scored")],
)  # fmt: skip
def test_a_line_that_is_damaged_is_none(tmp_path, damage):
    outputs = FolderOutputs(tmp_path)
    outputs.write("rows/night-1.json", damage)
    assert batch.read_row(outputs, "night-1") == batch.read_row(outputs, "night-2") == {}
    outputs.write("rows/night-1.json", line())
    assert batch.read_row(outputs, "night-1") == LINE


@pytest.mark.parametrize("knows", [True, False], ids=["known to the table", "unknown to the table"])
@pytest.mark.parametrize("place", ["", "details"])
@pytest.mark.parametrize("size", [0, 20])
def test_a_file_that_is_cut_short_is_made_again(place, size, knows, job, nights, here):
    score_store(job, here)
    record = open_store(nights).records()[0]
    path = Path(job.out, place, f"{record}.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    if not knows:
        Path(job.out, batch.TABLE).unlink()
    assert score_store(job, here).n_scored == 1
    assert path.read_bytes() == whole
    assert score_store(job, here).n_current == 3


@pytest.mark.parametrize("lost", ["all", "one"])
def test_a_place_that_lost_its_lines_is_still_known_by_its_table(lost, job, nights, here):
    score_store(job, here)
    record = open_store(nights).records()[0]
    shutil.rmtree(f"{job.out}/rows") if lost == "all" else Path(job.out, "rows", f"{record}.json").unlink()
    assert score_store(job, here).n_current == 3
    shutil.copyfile(nights / f"{record}.h5", nights / "copy")
    (nights / "copy").replace(nights / f"{record}.h5")
    assert score_store(job, here).n_scored == 1


def test_the_results_of_one_store_are_not_replaced_by_those_of_another(job, nights, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    score_store(job, here)
    before = files(job.out)
    shutil.copytree(nights, tmp_path / "other" / "nights")
    other = replace(job, store=StorePlace(str(tmp_path / "other" / "nights")))
    with pytest.raises(BatchError, match=rf"found those of {nights}; if .* remove store\.txt"):
        score_store(other, here)
    assert files(job.out) == before
    assert score_store(replace(job, store=StorePlace("nights/")), here).n_current == 3
    Path(job.out, "store.txt").unlink()
    assert score_store(other, here).n_scored == 3


def test_a_store_may_lie_in_a_folder_whose_name_is_no_utf_8(job, nights, here, tmp_path):
    shutil.copytree(nights, tmp_path / os.fsdecode(b"M\xfcller"))
    job = replace(job, store=StorePlace(str(tmp_path / os.fsdecode(b"M\xfcller"))))
    assert [score_store(job, here).n_scored, score_store(job, here).n_current] == [3, 3]


@pytest.mark.parametrize("fault", ["store", "out"])
def test_a_worker_that_cannot_reach_a_place_says_where_it_is(fault, job, nights, here, monkeypatch):
    class Elsewhere(Here):
        def run(self, function, items):
            def gone(*_):
                raise StoreUnavailable("status 403") if fault == "store" else OutputError("a 403", lasting=False)

            with monkeypatch.context() as there:
                there.setattr(*((batch, "score_record") if fault == "store" else (FolderOutputs, "read")), gone)
                yield from super().run(function, items)

    summary = score_store(job, Elsewhere())
    assert summary.n_failed == GIVE_UP
    assert all(problem["detail"].endswith(f"403, at {gethostname()}") for problem in summary.problems)


def test_a_run_that_cannot_begin_leaves_nothing(job, here, tmp_path):
    with pytest.MonkeyPatch.context() as broken, pytest.raises(ModelError):
        broken.setattr(ScoringJob, "start_pool", lambda *_: ScoringPool(tmp_path))
        score_store(job, here)
    assert not Path(job.out).exists()


@pytest.mark.slow
def test_a_night_that_takes_too_much_memory_fails_alone(job, nights):
    values = np.resize(np.arange(-50, 50, dtype=np.int8), 24 * 3600 * 250)
    with h5py.File(nights / "long.h5", "w") as file:  # a day
        for i in range(1, 8):
            file.create_dataset(f"eeg{i}", data=values, chunks=500_000, compression=1)
    little = replace(job, memory_mb=300)
    with ThreadWorkers(1) as workers:
        summary = score_store(little, workers)
    assert (summary.n_scored, summary.n_refused, summary.n_failed) == (3, 1, 1)
    assert [p["code"] for p in summary.problems if p["record"] == "long"] == ["too_expensive"]
    assert "300 MB" in table(job)["long"]["error"]


def test_an_empty_store_cannot_begin(job, nights, here):
    for path in nights.glob("*.h5"):
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(BatchError, match="expected nights, found none"):
        score_store(job, here)
    assert not Path(job.out, batch.TABLE).exists()


def test_two_records_that_differ_in_case_need_a_place_that_keeps_them_apart(job, nights, here, monkeypatch):
    record = open_store(nights).records()[0]
    shutil.copyfile(nights / "silent.h5", nights / f"{record.upper()}.h5")
    with monkeypatch.context() as small:
        small.setattr(FolderOutputs, "keeps_case", False)
        with pytest.raises(BatchError, match=f"expected a place for each record, found {record.upper()} and {record}"):
            score_store(job, here)
    assert score_store(job, here).n_refused == 2
    assert table(job)[record]["status"] == "scored"
    assert table(job)[record.upper()]["status"] == "refused"


def test_hypnograms_of_somebody_else_are_not_overwritten(job, nights, here):
    record = open_store(nights).records()[0]
    job.open_outputs().write(f"{record}.json", b'["WAKE"]')
    with pytest.raises(BatchError, match=rf"found {record}\.json that this command did not write"):
        score_store(job, here)
    job.open_outputs().write("silent.json", b'["WAKE"]')
    with pytest.raises(BatchError, match=r"json and 1 more that this command did not write"):
        score_store(job, here)
    assert files(job.out) == dict.fromkeys((f"{record}.json", "silent.json"), b'["WAKE"]')


@pytest.mark.parametrize("store", ["nights", "link", "s3://lab/nights", "s3://lab/nights/"])
@pytest.mark.parametrize("inner", ["/hypnograms", "/hypnograms/", "/h5/x", "/scored/../hypnograms"])
def test_results_do_not_lie_among_the_files_that_the_store_reads(
    job, nights, here, tmp_path, monkeypatch, store, inner
):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(nights)
    monkeypatch.setattr(batch.StorePlace, "open", lambda place: open_store(nights))
    if "://" in store:
        inner = inner.replace("/scored/..", "")
    within = replace(job, store=StorePlace(store), out=f"{store.rstrip('/')}{inner}")
    with pytest.raises(BatchError, match="expected a place for results apart from the files of the store"):
        score_store(within, here)
    assert sorted(path.name for path in nights.iterdir()) == sorted(f"{r}.h5" for r in open_store(nights).records())


@pytest.mark.parametrize("out", ["{}-scored", "{}/scored", "{}/scored/hypnograms"])
def test_results_may_lie_beside_the_files_of_the_store(job, nights, here, out):
    scored = replace(job, out=out.format(nights))
    assert [score_store(scored, here).n_scored for _ in range(2)] == [3, 0]
    assert open_store(nights).scored() == []


COMMAND = [sys.executable, "-c", "from dreem_case.cli import main; main()", "score", "--json"]


def command(job, *more):
    return [*COMMAND, "--store", job.store.uri, "--model", job.model, "--out", job.out, "--cache", job.cache, *more]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(job, number):
    def begun():
        return any(Path(job.out).glob("night*.json")) or any(Path(job.out).glob("rows/*.json"))

    with subprocess.Popen(
        command(job, "--n-jobs", "1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        until(lambda: process.poll() is not None or begun())
        os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
        said, beside = process.communicate(timeout=60)
    done = len(list(Path(job.out).glob("rows/*.json")))
    if number == signal.SIGINT:
        assert process.returncode == 1, beside
        assert json.loads(said)["stopped"] == "interrupted"
        assert b"KeyboardInterrupt" not in beside
        assert len(table(job)) == done
    with ThreadWorkers(1) as workers:
        summary = score_store(job, workers)
    assert (summary.n_scored + summary.n_current, summary.n_refused, summary.n_left) == (3, 1, 0)
    assert summary.n_current + summary.n_refused >= done - 1
    assert len(table(job)) == 4
    for content in (c for n, c in files(job.out).items() if n.endswith(".json")):
        json.loads(content)


@pytest.mark.slow
def test_two_runs_at_a_time_do_no_harm(job, here):
    runs = [subprocess.Popen(command(job, "--n-jobs", "1"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
    assert all(one["scored"] + one["there already"] == 3 and one["refused"] == 1 for one in said)
    assert len(table(job)) == 4
    before = files(job.out)
    assert score_store(job, here).n_current == 3
    assert files(job.out) == before


def test_a_bucket_is_scored_into_a_bucket(job, nights, server, here, tmp_path, credentials):
    client(server).create_bucket(Bucket="lab")
    for path in nights.glob("*.h5"):
        client(server).upload_file(str(path), "lab", f"nights/h5/{path.name}")
    far = ScoringJob(StorePlace("s3://lab/nights", server, REGION), job.model, "s3://lab/nights-scored", job.cache)
    assert (score_store(far, here).n_scored, score_store(far, here).n_current) == (3, 3)
    score_store(job, here)
    record = open_store(nights).records()[0]
    assert far.open_outputs().read(f"{record}.json") == job.open_outputs().read(f"{record}.json")
    of_the_place = dict.fromkeys(("seconds", "source", "version", "key", "details_bytes"))
    assert table(far)[record] | of_the_place == table(job)[record] | of_the_place


@pytest.mark.slow
def test_a_cluster_scores_and_loses_nothing_when_a_worker_is_killed(job):
    from distributed import LocalCluster

    killed = []

    def kill_one(summary, row):
        if row is not None and not killed:
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        DaskWorkers(cluster.scheduler_address) as workers,
    ):
        summary = score_store(job, workers, kill_one)
    assert killed
    assert (summary.n_scored, summary.n_refused, summary.n_failed, summary.n_left) == (3, 1, 0, 0)
    assert len(table(job)) == 4
