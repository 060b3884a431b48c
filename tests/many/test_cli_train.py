"""features, train and evaluate from the command line: exit codes, what programs read, and what is never half done."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dreem_case import cli
from dreem_case.cli import main
from dreem_case.core.cache import StillComputing
from dreem_case.core.outputs import FolderOutputs, OutputError, open_outputs
from dreem_case.core.tracking import TrackingError
from dreem_case.many.train import TrainingError
from dreem_case.nights.safe_h5 import UnreadableFileError
from dreem_case.nights.store import RecordNotFound
from dreem_case.staging.feature_cache import FeatureCache
from dreem_case.staging.stagers import load_stager
from tests.conftest import until
from tests.many.test_training_set import label
from tests.staging.test_feature_cache import put_night
from tests.support.stores import REGION, client, s3_server


def run(*words):
    """Run the command as a shell would: exit code, standard output, standard error."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def place(short_nights, tmp_path_factory):
    """The options of a store of three scored nights, with their features in the cache."""
    options = ("--store", short_nights, "--cache", tmp_path_factory.mktemp("cache"), "--n-jobs", 1)
    code, said, _ = run("features", *options, "--json")
    counts = {"with features": 3, "failed": 0, "not kept": 0}
    assert (code, json.loads(said)) == (0, counts | {"problems": [], "not_used": []})
    return options


@pytest.fixture
def mixed(tmp_path):
    """A store of two scored nights, one that nobody has scored, and a file that is no night."""
    for record in ("a", "b", "c"):
        put_night(tmp_path / "nights", record, n_epochs=6, seed=ord(record))
    for record in ("a", "b"):
        label(tmp_path / "nights", record, ["WAKE", "N2", "N2", "REM", "REM", "N2"])
    (tmp_path / "nights" / "h5" / "d.h5").write_bytes(b"no night")
    label(tmp_path / "nights", "d", ["WAKE"])
    return ("--store", tmp_path / "nights", "--cache", tmp_path / "cache", "--n-jobs", 1)


def test_a_model_is_trained_and_says_what_it_was_made_from(place, short_nights, tmp_path):
    code, said, _ = run("train", *place, "--out", tmp_path / "m", "--stager", "forest", "--folds", 3, "--json")
    report = json.loads(said)
    assert code == 0
    assert report.items() >= json.loads((tmp_path / "m" / "training.json").read_text()).items()
    assert (report["n_not_scored"], report["not_used"]) == (0, [])
    assert load_stager(tmp_path / "m").version == report["model_version"]
    assert len(report["validation"]["nights"]) == 3


def test_nights_without_labels_are_counted_and_broken_files_are_named_and_do_not_stop_it(mixed, tmp_path):
    out, options = tmp_path / "m", ("--stager", "time-of-night")
    code, said, told = run("train", *mixed, "--out", out, *options)
    assert code == 1 and said.endswith(": 2 nights, 12 epochs, 1 not scored, 1 failed\n")
    assert told.startswith("d: expected") and told.endswith("\ntraining time-of-night on 2 nights\n")
    assert len(told.splitlines()) == 2
    code, said, _ = run("evaluate", *mixed, *options, "--folds", 2, "--json")
    found = json.loads(said)
    assert (code, found["n_not_scored"]) == (1, 1)
    assert [(night["record"], night["code"]) for night in found["left_out"]] == [("d", "unreadable_file")]
    code, said, _ = run("features", *mixed, "--json")
    assert (code, json.loads(said)["problems"]) == (1, found["left_out"])
    assert run("features", *mixed)[:2] == (1, "3 with features, 1 failed, 0 not kept\n")


def test_labels_that_are_numbers_are_read_where_their_numbering_is_named(mixed, tmp_path):
    for record in ("a", "b"):
        label(tmp_path / "nights", record, [0, 2, 2, 5, 5, 2])
    (tmp_path / "nights" / "h5" / "d.h5").unlink()
    words = ("train", *mixed, "--stager", "time-of-night", "--out", tmp_path / "m")
    code, _, told = run(*words)
    assert code == 2 and "--numbering" not in told
    code, said, told = run(*words, "--numbering", "aasm")
    assert code == 0 and said.endswith(": 2 nights, 12 epochs, 1 not scored, 0 failed\n")
    code, _, told = run(*words, "--numbering", "rem_last")
    assert code == 2 and "a number of 'rem_last' at epoch 3, found 5" in told


def test_files_that_are_not_used_are_among_what_programs_read(mixed, tmp_path):
    (tmp_path / "nights" / "h5" / "E.H5").touch()
    by_time = ("--stager", "time-of-night")
    for words in ("features",), ("train", "--out", tmp_path / "m", *by_time), ("evaluate", "--folds", 2, *by_time):
        _, said, _ = run(words[0], *mixed, *words[1:], "--json")
        assert json.loads(said)["not_used"] == ["'E.H5': expected the ending .h5, found .H5"]


def test_some_nights_are_drawn_and_the_model_is_judged_on_the_others(place, tmp_path):
    out = tmp_path / "m"
    code, said, _ = run("train", *place, "--out", out, "--stager", "forest", "--nights", 2, "--json")
    trained = {night["record"] for night in json.loads(said)["data"]["nights"]}
    assert (code, len(trained)) == (0, 2)
    code, said, _ = run("evaluate", *place, "--model", out, "--json", "--out", tmp_path / "figures")
    found = json.loads(said)
    assert code == 0
    assert set(found["trained_on"]) == trained
    assert len(found["nights"]) == 1 and found["nights"][0]["record"] not in trained
    assert found == json.loads((tmp_path / "figures" / "evaluation.json").read_text())
    code, said, _ = run("evaluate", *place, "--model", out)
    assert set(re.search("was trained on them or their people: (.*)", said)[1].split(", ")) == trained
    assert said.splitlines()[0].split() == ["record", "kappa", "macro_f1", "ece", "review_gain", "flagged_share"]


def test_a_model_is_not_judged_on_the_nights_it_was_trained_on(place, tmp_path):
    run("train", *place, "--out", tmp_path, "--stager", "forest")
    code, said, told = run("evaluate", *place, "--model", tmp_path)
    assert (code, said) == (2, "")
    assert "was not trained on, found none" in told


def test_a_kind_of_stager_is_judged_by_folds(place):
    code, said, _ = run("evaluate", *place, "--stager", "time-of-night", "--folds", 3, "--json")
    assert (code, len(json.loads(said)["nights"])) == (0, 3)
    for words, found in [((), "neither"), (("--model", ""), "neither"), (("--model", "m", "--folds", 2), "both")]:
        code, _, told = run("evaluate", *place, *words)
        assert code == 2 and f"expected --model or --folds, found {found}" in told
    for words in ("--stager", "forest"), ("--seed", 0):
        code, _, told = run("evaluate", *place, "--model", "m", *words)
        assert code == 2
        assert "expected --stager and --seed with --folds" in told


def test_too_many_folds_are_refused_before_the_nights_are_read(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.many.training_set.survey_store", lambda *_: pytest.fail("nights were read"))
    for words in ("evaluate",), ("train", "--out", tmp_path / "m"):
        code, _, told = run(*words, *mixed, "--folds", 4)
        assert code == 2
        assert "expected 2 to 3 folds of 3 nights, found 4" in told


def test_nights_are_drawn_among_the_scored_ones(mixed, tmp_path):
    (tmp_path / "nights" / "h5" / "d.h5").unlink()
    for seed in range(4):
        options = ("--out", tmp_path / "m", "--stager", "time-of-night", "--nights", 2, "--seed", seed)
        assert run("train", *mixed, *options)[0] == 0


def test_folds_are_fitted_with_as_many_threads_as_asked_for(place, monkeypatch):
    used = []
    made = "dreem_case.many.validate.new_stager"
    monkeypatch.setattr(made, lambda *_, **settings: used.append(settings) or sys.exit(9))
    assert run("evaluate", *place, "--stager", "forest", "--folds", 2)[0] == 9
    assert used == [{"n_jobs": 1}]


def test_a_cache_that_is_too_small_is_said(mixed, tmp_path, monkeypatch):
    (tmp_path / "nights" / "h5" / "d.h5").unlink()
    assert run("features", *mixed)[:2] == (0, "3 with features, 0 failed, 0 not kept\n")
    size = max(path.stat().st_size for path in (tmp_path / "cache" / "features").glob("*.entry"))
    monkeypatch.setattr(cli, "_feature_cache", lambda *_: FeatureCache(tmp_path / "small", round(2.5 * size)))
    code, said, told = run("features", *mixed, "--cache-mb", 7)
    assert (code, said) == (1, "2 with features, 0 failed, 1 not kept\n")
    assert "expected room in the cache for all nights, found 7 MB" in told


def test_a_model_judged_with_too_small_a_cache_says_that_features_are_computed_twice(place, tmp_path, monkeypatch):
    run("train", *place, "--out", tmp_path, "--stager", "forest", "--nights", 2)
    monkeypatch.setattr("dreem_case.many.train.check_room", refuse_room)
    code, _, told = run("evaluate", *place, "--model", tmp_path)
    assert code == 0
    assert "expected room; features are computed twice" in told


def refuse_room(nights):
    raise TrainingError("expected room")


@pytest.mark.parametrize("error", [RecordNotFound("a"), UnreadableFileError("a", "one", "none"), StillComputing("x")])
def test_a_night_that_goes_away_meanwhile_is_said(error, place, tmp_path, monkeypatch):
    def gone(*_):
        raise error

    monkeypatch.setattr("dreem_case.many.training_set.NightTables.__getitem__", gone)
    for words in ("train", "--out", tmp_path / "m"), ("evaluate", "--folds", 2):
        code, said, told = run(words[0], *place, *words[1:], "--stager", "forest")
        assert (code, said) == (2, "")
        assert told.splitlines()[-1] == f"Error: {error}"


def test_a_model_goes_to_a_bucket_and_is_used_from_there(place, tmp_path, credentials, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with s3_server() as endpoint:
        client(endpoint).create_bucket(Bucket="lab")
        options = (*place, "--endpoint", endpoint, "--stager", "forest", "--json")
        code, said, _ = run("train", *options, "--nights", 2, "--out", "s3://lab/models/july")
        outputs = open_outputs("s3://lab/models/july", endpoint)
        assert code == 0
        for name in outputs.names():
            (tmp_path / name).write_bytes(outputs.read(name))
        assert run("train", *options, "--out", "s3://other")[0] == 2
        options = (*place, "--cache", tmp_path / "cache", "--endpoint", endpoint, "--model", "s3://lab/models/july")
        found = json.loads(run("evaluate", *options, "--json")[1])
        assert found["model_version"] == json.loads(said)["model_version"]
        counts = "3 scored, 0 there already, 0 refused, 0 failed, 0 left\n"
        assert run("score", *options, "--out", tmp_path / "scored")[:2] == (0, counts)
        code, _, told = run("evaluate", *place, "--endpoint", endpoint, "--model", "s3://lab/absent")
        assert code == 2
        assert "s3://lab/absent/manifest.json: expected a model's manifest, found no such file" in told
    assert load_stager(tmp_path).version == json.loads(said)["model_version"]


COMMAND = [sys.executable, "-c", "from dreem_case.cli import main; main()"]


@pytest.fixture(scope="module")
def cluster(root):
    """A Dask scheduler and a worker as processes of their own: the address, and the scheduler's process."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    begin = partial(subprocess.Popen, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    options = ["--host", "127.0.0.1", "--dashboard-address", ":0"]
    scheduler = begin([sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--port", "0"])
    address = next(found[0] for line in scheduler.stderr if (found := re.search(r"tcp://127.0.0.1:\d+", line)))
    worker = begin([sys.executable, "-m", "distributed.cli.dask_worker", address, *options, "--no-nanny"])
    with scheduler, worker:
        yield address, scheduler
        for process in worker, scheduler:
            process.kill()


@pytest.mark.slow
def test_a_cluster_computes_features_until_its_scheduler_dies(cluster, place, short_nights, tmp_path):
    address, scheduler = cluster
    options = ("--store", short_nights, "--cache", tmp_path / "cache", "--dask", address)
    here = run("train", *place, "--stager", "forest", "--out", tmp_path / "here")
    assert run("train", *options, "--stager", "forest", "--out", tmp_path / "there")[:2] == here[:2]
    assert len(list((tmp_path / "cache" / "features").glob("*.entry"))) == 3
    assert run("features", *options, "--n-jobs", 1)[0] == 2
    many = tmp_path / "many"
    for i in range(200):
        put_night(many, f"night-{i}", seed=i)
    words = ["features", "--store", many, "--cache", tmp_path / "other", "--dask", address]
    with subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any((tmp_path / "other").glob("features/*.entry")))
        scheduler.kill()
        told = process.communicate(timeout=60)[1]
    assert (process.returncode, told) == (2, f"Error: expected the scheduler {address}, found that it has gone\n")
    assert any((tmp_path / "other").glob("features/*.entry"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number"),
    [("features", signal.SIGINT), ("train", signal.SIGINT), ("score", signal.SIGINT), ("score", signal.SIGTERM)],
)
def test_an_interrupt_ends_a_command_without_a_word_too_much(command, number, short_nights, short_forest, tmp_path):
    out = ["--out", tmp_path]
    more = {"features": [], "train": out, "score": [*out, "--model", short_forest]}[command]
    words = [command, "--store", short_nights, "--cache", tmp_path / "cache", "--n-jobs", "2", *more]
    with subprocess.Popen(
        [*COMMAND, *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until(lambda: any((tmp_path / "cache").glob("features/*.entry")))
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert told.strip() == ("interrupted; the same command goes on" if command == "score" else "Aborted!")
    until(lambda: not alive_in(process.pid))


def alive_in(session):
    """The processes of a session that have not ended."""
    stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [stat for stat in stats if int(stat[3]) == session and stat[0] not in "ZX"]


def test_an_empty_store_and_a_store_without_labels_are_refused(tmp_path, mixed):
    (tmp_path / "empty").mkdir()
    rest = ("--cache", tmp_path / "cache", "--n-jobs", 1)
    for command in (("features",), ("train", "--out", tmp_path / "m"), ("evaluate", "--folds", 2)):
        code, said, told = run(command[0], "--store", tmp_path / "empty", *rest, *command[1:])
        assert (code, said) == (2, "")
        assert "expected nights, found none" in told
    for path in (tmp_path / "nights" / "hypnograms").iterdir():
        path.unlink()
    code, _, told = run("train", *mixed, "--out", tmp_path / "m")
    assert code == 2
    assert "expected scored nights, found none with a hypnogram in 4" in told
    label(tmp_path / "nights", "d", ["WAKE"])
    code, _, told = run("train", *mixed, "--out", tmp_path / "m")
    assert code == 2
    assert "expected scored nights to train on, found none in 1 records; d: expected" in told


def full(self, name, content):
    raise OutputError("a full disk", lasting=True)


def test_a_place_that_takes_no_model_is_found_out_before_the_training(place, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(FolderOutputs, "write", full)
    monkeypatch.setattr("dreem_case.many.train.train", lambda *_, **__: pytest.fail("the training began"))
    for out, found in ("file", "a file where a folder should be"), ("folder", "a full disk"):
        code, said, told = run("train", *place, "--out", tmp_path / out)
        assert (code, said) == (2, "")
        assert f"{tmp_path / out}: expected a place that takes results, found {found}" in told


def test_a_disk_that_fills_up_during_the_fit_costs_neither_the_old_model_nor_the_new_one(place, tmp_path, monkeypatch):
    out, elsewhere, write = tmp_path / "m", tmp_path / "elsewhere", FolderOutputs.write
    assert run("train", *place, "--out", out, "--stager", "forest", "--seed", 1)[0] == 0
    before = load_stager(out).version

    def fills_up(self, name, content):
        (write if name == "training.probe" else full)(self, name, content)

    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr(FolderOutputs, "write", fills_up)
    code, said, told = run("train", *place, "--out", out, "--stager", "forest", "--seed", 2)
    assert (code, said) == (1, "")
    assert f"{out}: expected a place that takes results, found a full disk; the model is at {elsewhere}" in told
    (kept,) = elsewhere.iterdir()
    assert json.loads((kept / "training.json").read_text())["model_version"] == load_stager(kept).version != before
    assert load_stager(out).version == before


def test_mlflow_is_asked_for_before_the_training_and_told_after_it(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    options = ("train", *place, "--out", tmp_path / "m", "--stager", "time-of-night", "--mlflow")
    code, said, told = run(*options)
    assert (code, said) == (2, "")
    assert "expected MLflow to log to (pip install 'dreem_case[tracking]'), found none" in told
    assert not (tmp_path / "m").exists()
    logged = []
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    monkeypatch.setattr("dreem_case.many.tracking.log_training", logged.append)
    assert run(*options)[0] == 0
    assert [report["stager"] for report in logged] == ["time-of-night"]

    def refuse(report):
        raise TrackingError("no answer")

    monkeypatch.setattr("dreem_case.many.tracking.log_training", refuse)
    code, _, told = run(*options)
    assert code == 1
    assert "the model is at" in told and "not logged: no answer" in told
