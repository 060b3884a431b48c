"""Training on a store: the same nights give the same model, and what it was made from lies beside it."""

import json
import subprocess
import sys

import numpy as np
import pytest

import dreem_case.many.train as module
from dreem_case.core.model_file import ModelError
from dreem_case.core.outputs import FolderOutputs, OutputError
from dreem_case.many.train import (
    TrainingError,
    available_memory,
    check_model_place,
    draw_records,
    train,
    write_training,
)
from dreem_case.many.training_set import NightTables, survey_store
from dreem_case.nights.store import StorePlace, StoreUnavailable, open_store
from dreem_case.staging.feature_cache import FeatureCache
from dreem_case.staging.stagers import load_stager, new_stager
from tests.many.test_training_set import Here

SMALL = {"forest": {"n_trees": 4}, "boosted": {"n_rounds": 4, "n_folds": 2, "n_copies": 1}, "time-of-night": {}}
LEFT_OUT = [{"record": "x", "code": "unreadable_file", "detail": "no whole file"}]


def n_scored(nights):
    """Count the epochs to learn from."""
    return sum(night.n_scored for night in nights)


@pytest.fixture(scope="module")
def tables(short_nights, tmp_path_factory):
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), 10**8)
    found = survey_store(StorePlace(str(short_nights)), cache, Here())
    return NightTables(open_store(short_nights), cache, found.nights)


@pytest.mark.parametrize("name", SMALL)
def test_any_stager_is_trained_and_loaded_again(name, tables, tmp_path):
    training = train(name, tables, LEFT_OUT, seed=3, settings=SMALL[name])
    write_training(training, FolderOutputs(tmp_path))
    loaded, report = load_stager(tmp_path), json.loads((tmp_path / "training.json").read_text())
    np.testing.assert_array_equal(loaded.predict_proba(tables[0]), training.stager.predict_proba(tables[0]))
    assert report == training.report
    assert report["model_version"] == loaded.version
    assert [night["record"] for night in report["data"]["nights"]] == [night.record for night in tables.nights]
    assert [night["version"] for night in report["data"]["nights"]] == [night.version for night in tables.nights]
    assert (report["seed"], report["folds"], report["left_out"]) == (3, 0, LEFT_OUT)
    assert report["settings"].items() >= SMALL[name].items()
    assert "n_jobs" not in report["settings"]
    assert report["data"]["source"] == tables.store.source


def write_all(tables, folder, n_jobs):
    """Train each kind of stager, and write the models."""
    for name in SMALL:
        training = train(name, tables, [], seed=5, n_folds=3, n_jobs=n_jobs, settings=SMALL[name])
        write_training(training, FolderOutputs(folder / name))


def read_all(folder):
    """The files of each model, and what it was made from without the time and the memory that it took."""
    of_the_run = dict.fromkeys(("seconds", "threads", "needed_memory_mb", "peak_memory_mb"))
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/m*")}
    return found | {name: json.loads((folder / name / "training.json").read_text()) | of_the_run for name in SMALL}


def test_another_process_and_another_number_of_threads_give_the_same_files(tables, short_nights, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.many.test_train import *\n"
        "cache, place = FeatureCache(sys.argv[2], 10**8), StorePlace(sys.argv[1])\n"
        "found = survey_store(place, cache, Here(), reversed(place.open().records()))\n"
        "write_all(NightTables(place.open(), cache, found.nights), Path(sys.argv[3]), n_jobs=2)\n"
    )
    command = [sys.executable, "-c", code, str(short_nights), str(tables.cache.folder), str(tmp_path / "there")]
    subprocess.run(command, timeout=120, check=True)
    write_all(tables, tmp_path / "here", n_jobs=1)
    here = read_all(tmp_path / "here")
    assert len(here) == 3 * 3
    assert here == read_all(tmp_path / "there")


def test_the_limits_of_the_process_count_as_memory(monkeypatch):
    held = module.psutil.Process().memory_info()
    monkeypatch.setattr(module.resource, "getrlimit", lambda kind: (held.vms + 10**9, -1))
    assert available_memory() < 10**9 + 10**8
    monkeypatch.setattr(module.resource, "getrlimit", lambda kind: (1000, -1))
    assert available_memory() == 0


@pytest.mark.parametrize("kept_bytes", [0, 2_000_000])
def test_rows_that_are_not_kept_give_the_same_model(kept_bytes, tables, monkeypatch):
    whole = train("boosted", tables, [], seed=5, settings=SMALL["boosted"])
    monkeypatch.setattr("dreem_case.staging.boosted._KEPT_BYTES", kept_bytes)
    assert train("boosted", tables, [], seed=5, settings=SMALL["boosted"]).stager.version == whole.stager.version


def test_cross_validation_goes_into_the_manifest(tables, tmp_path):
    steps = []
    training = train("forest", tables, [], n_folds=3, on_step=steps.append, settings={"n_trees": 4})
    write_training(training, FolderOutputs(tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["metrics"]["kappa_per_night_mean"] == training.report["validation"]["kappa_per_night_mean"]
    assert manifest["metrics"]["data"] == tables.store.source
    assert len(training.report["validation"]["nights"]) == 3
    done = [f"{n} of 3 folds done" for n in (1, 2, 3)]
    assert steps == ["judging forest by 3 folds of 3 nights", *done, "training forest on 3 nights"]


def test_a_store_that_does_not_tell_its_source_is_found_out_before_the_fit(tables):
    def away(record):
        raise StoreUnavailable("no answer")

    silent = type("Silent", (), {"source": property(away)})()
    steps = []
    with pytest.raises(StoreUnavailable, match="no answer"):
        train("forest", NightTables(silent, tables.cache, tables.nights), [], on_step=steps.append)
    assert steps == []


def test_of_many_nights_there_is_a_hash_that_any_change_changes(tables, monkeypatch):
    whole = module._data(tables)
    monkeypatch.setattr(module, "MAX_LISTED", 2)
    many = module._data(tables)
    assert many["nights"] is None
    assert many["sha256"] == whole["sha256"]
    relabelled = tables.nights[0]._replace(labels=np.where(tables.nights[0].labels == 2, 3, tables.nights[0].labels))
    changed = NightTables(tables.store, tables.cache, [relabelled, *tables.nights[1:]])
    assert module._data(changed)["sha256"] != many["sha256"]


def test_a_store_without_scored_nights_is_refused_with_the_reasons(tables):
    with pytest.raises(TrainingError, match="found none in 1 records; x: no whole file"):
        train("forest", tables.subset([]), LEFT_OUT)
    with pytest.raises(ModelError, match="at least two scored nights"):
        train("boosted", tables.subset([0]), [], settings=SMALL["boosted"])


@pytest.mark.parametrize("name", ["forest", "boosted"])
def test_too_little_memory_is_said_before_the_fit(name, tables, monkeypatch):
    stager = new_stager(name, **SMALL[name])
    needed = stager.needed_memory(n_scored(tables.nights), tables[0])
    monkeypatch.setattr(type(stager), "fit", lambda *_, **__: pytest.fail("the fit began"))
    with pytest.raises(TrainingError, match=r"MB of memory to train on 3 nights, found .* MB; train on about [0-2]"):
        train(name, tables, [], available=needed - 1, settings=SMALL[name])


@pytest.mark.parametrize("name", ["forest", "boosted"])
def test_needed_memory_grows_with_the_nights(name, tables):
    stager = new_stager(name)
    first = stager.needed_memory(n_scored(tables.nights), tables[0])
    many = stager.needed_memory(n_scored(tables.nights * 2000), tables[0])
    more = stager.needed_memory(n_scored(tables.nights * 4000), tables[0])
    most = stager.needed_memory(n_scored(tables.nights * 6000), tables[0])
    assert first < 10**9 < many
    assert most - more == pytest.approx(more - many, rel=0.01)


def test_a_cache_that_cannot_hold_the_features_is_refused(tables, tmp_path):
    small = NightTables(tables.store, FeatureCache(tmp_path, 10_000), tables.nights)
    with pytest.raises(TrainingError, match=r"room in the cache for the features of 3 nights, .* found 0.01 MB"):
        train("forest", small, [])


def test_the_drawn_records_do_not_depend_on_the_order_of_the_list():
    records = [f"night-{i}" for i in range(20)]
    assert draw_records(records, 5, seed=1) == draw_records(records[::-1], 5, seed=1)
    assert draw_records(records, 5, seed=1) != draw_records(records, 5, seed=2)
    assert len(set(draw_records(records, 5))) == 5


def test_a_new_model_removes_the_file_of_the_old_one_and_no_other(tables, tmp_path):
    (tmp_path / "model.onnx").touch()
    (tmp_path / "other.onnx").touch()
    for seed in (1, 2):
        write_training(train("forest", tables, [], seed=seed, settings={"n_trees": 2}), FolderOutputs(tmp_path))
    assert len(list(tmp_path.glob("model.*"))) == 2
    assert (tmp_path / "model.onnx").exists() and (tmp_path / "other.onnx").exists()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for name in ("../other.onnx", "other.onnx", "model.x/../other.onnx", 5):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"model_file": name}))
        write_training(train("forest", tables, [], settings={"n_trees": 2}), FolderOutputs(tmp_path))
        assert (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize("content", ['{"source": "real nights"}', "[]", "no JSON", "[" * 10**5])
def test_a_place_with_another_manifest_is_refused(content, tables, tmp_path):
    (tmp_path / "manifest.json").write_text(content)
    out = FolderOutputs(tmp_path)
    with pytest.raises(OutputError, match=r"found a manifest\.json that is no model's"):
        check_model_place(out)
    with pytest.raises(OutputError, match=r"found a manifest\.json that is no model's"):
        write_training(train("forest", tables, [], settings={"n_trees": 2}), out)
    assert (tmp_path / "manifest.json").read_text() == content


def test_of_two_trainings_at_once_one_leaves_a_whole_model(tables, tmp_path, monkeypatch):
    one, other = (train("forest", tables, [], seed=seed, settings={"n_trees": 2}) for seed in (1, 2))
    write = FolderOutputs.write

    def meanwhile(self, name, content):
        if name == "manifest.json":
            monkeypatch.setattr(FolderOutputs, "write", write)
            write_training(other, FolderOutputs(tmp_path))
        write(self, name, content)

    for _ in range(2):  # with nothing there, and over a model
        monkeypatch.setattr(FolderOutputs, "write", meanwhile)
        write_training(one, FolderOutputs(tmp_path))
        assert load_stager(tmp_path).version == one.stager.version


@pytest.mark.parametrize(
    ("limit", "used", "name"),
    [("memory.max", "memory.current", "inactive_file"),
     ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file")],
)
def test_memory_that_the_kernel_would_free_counts_as_available(limit, used, name, tmp_path):
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("1000000\n")
    (tmp_path / used).write_text("900000\n")
    (tmp_path / used).with_name("memory.stat").write_text(f"anon 100000\n{name} 700000\nactive_file 100000\n")
    assert available_memory(tmp_path) == 800_000
    (tmp_path / limit).write_text("max\n")
    assert available_memory(tmp_path) > 10**6
