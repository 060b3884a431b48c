"""Studies become examples: nothing lost, nothing twice, nobody on two sides."""

import csv
import json
import shutil
from dataclasses import replace
from datetime import datetime

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from dreem_case.core.workers import DaskWorkers, Done, Workers
from dreem_case.mae.commands import mae
from dreem_case.mae.examples import (
    BATCH,
    EVENTS,
    SPLITS,
    BatchError,
    Examples,
    batch_paths,
    read_batch,
    read_examples,
    read_original,
    split_of,
    targets,
    write_batch,
    write_original,
)
from dreem_case.mae.montage import MODALITIES, plain_label
from dreem_case.mae.prepare import Prepared, PrepareError, find_studies, make_scaling, prepare, read_scaling, survey
from dreem_case.mae.psg import open_psg
from dreem_case.mae.simulate import Column, edf_content, simulate_studies, study_list
from dreem_case.nights.edf_import import ImportPlaceError
from dreem_case.nights.safe_h5 import CaseFileError
from tests.support.stores import client


class Here(Workers):
    """This process, which may die after some items."""

    def __init__(self, dies_after=None):
        self.left = dies_after

    def run(self, function, items):
        for item in items:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left = self.left - 1 if self.left is not None else None
            yield Done(item, function(item))

    def close(self):
        pass


LONG = "10031_2"  # a second study of a patient, with two channels


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Four short simulated studies of three patients, and one of more than 128 epochs."""
    folder = tmp_path_factory.mktemp("studies")
    assert len(simulate_studies(folder, 3, 0.15, seed=1, n_jobs=1)) == len(study_list(3)) == 4
    rng = np.random.default_rng(5)
    columns = [Column(name, "uV", (-200.0, 200.0), 128, 20 * rng.standard_normal(128 * 30 * 133))
               for name in ("C3-A2", "O1-A2")]  # fmt: skip
    (folder / f"{LONG}.edf").write_bytes(edf_content(columns, datetime(2020, 1, 1)))
    (folder / f"{LONG}.tsv").write_text("onset\tduration\tdescription\n30\t3960\tSleep stage N2\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def prepared(studies, tmp_path_factory):
    """The examples of these studies."""
    folder = tmp_path_factory.mktemp("examples")
    return folder, prepare([studies], folder, Here())


def copied(studies, folder, *names):
    """Put some of the studies into a folder."""
    folder.mkdir(exist_ok=True)
    for name in names:
        for ending in ("edf", "tsv"):
            shutil.copy(studies / f"{name}.{ending}", folder)
    return folder


def contents(folder):
    """Give the bytes of all files of a folder, by their place in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_whole_epoch_is_there_once(prepared):
    folder, done = prepared
    found = [read_batch(path) for split in SPLITS for path in batch_paths(folder, split)]
    keys = [key for part in found for key in zip(part.study.tolist(), part.epoch.tolist(), strict=True)]
    assert len(keys) == len(set(keys)) == sum(done.examples.values())
    lines = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "studies").glob("*.json")]
    assert sorted(keys) == sorted((line["study"], i) for line in lines for i in range(line["n_epochs"]))


def test_all_files_but_one_of_a_split_are_full(prepared):
    for split in SPLITS:
        sizes = sorted(len(read_batch(path)) for path in batch_paths(prepared[0], split))
        assert sizes[1:] == [BATCH] * len(sizes[1:])


def test_a_patient_is_on_one_side_with_all_studies(prepared):
    files = [(split, read_batch(path)) for split in SPLITS for path in batch_paths(prepared[0], split)]
    sides = {(patient, split) for split, file in files for patient in file.patient.tolist()}
    assert sides == {(patient, split_of(patient)) for patient, _ in sides}


def test_a_killed_run_goes_on_to_the_same_files(studies, prepared, tmp_path):
    for dies_after in (3, 6, 8):
        with pytest.raises(KeyboardInterrupt):
            prepare([studies], tmp_path / "out", Here(dies_after))
    prepare([studies], tmp_path / "out", Here())
    assert contents(tmp_path / "out") == contents(prepared[0])


@pytest.mark.slow
def test_a_cluster_writes_the_same_files(studies, prepared, tmp_path):
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster,
        DaskWorkers(cluster.scheduler_address) as workers,
    ):
        prepare([studies], tmp_path / "out", workers)
    assert contents(tmp_path / "out") == contents(prepared[0])


def test_a_file_that_was_lost_or_cut_is_written_again(studies, prepared, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(prepared[0], out)
    paths = sorted(out.rglob("*.h5"))
    paths[0].unlink()
    paths[-1].write_bytes(paths[-1].read_bytes()[:1000])
    prepare([studies], out, Here())
    assert contents(out) == contents(prepared[0])


def test_files_of_what_was_left_over_before_go_once_it_is_packed_anew(studies, prepared, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(prepared[0], out)
    told = next((out / "packed").glob("*.json"))
    (out / told.stem / "packed-099.h5").write_bytes(told.read_bytes())
    told.write_text("{}")  # of other studies
    prepare([studies], out, Here())
    assert contents(out) == contents(prepared[0])


def test_a_finished_run_writes_nothing_anew(studies, prepared):
    times = {path: path.stat().st_mtime_ns for path in prepared[0].rglob("*.h5")}
    assert prepare([studies], prepared[0], Here()).n_new == 0
    assert {path: path.stat().st_mtime_ns for path in prepared[0].rglob("*.h5")} == times


def test_scaling_is_made_of_training_patients_alone(studies, prepared):
    found, _ = find_studies([studies])
    own = [survey(open_psg(studies / f"{name}.edf", studies / f"{name}.tsv")) for name in found]
    train = [one for one in own if split_of(one.patient) == "train"]
    stored = read_scaling((prepared[0] / "scaling.json").read_bytes())
    assert stored == make_scaling(train) != make_scaling(own)


def test_a_later_study_is_scaled_as_the_first_ones(studies, tmp_path):
    names = [name for name in find_studies([studies])[0] if split_of(name.partition("_")[0]) == "train"]
    assert len(names) > 2
    place = copied(studies, tmp_path / "early", *names[:2])
    prepare([place], tmp_path / "out", Here())
    scaling = (tmp_path / "out" / "scaling.json").read_bytes()
    done = prepare([copied(studies, place, names[2])], tmp_path / "out", Here())
    assert done.n_new == 1
    assert (tmp_path / "out" / "scaling.json").read_bytes() == scaling


def test_studies_that_come_from_another_folder_join_those_that_are_there(studies, prepared, tmp_path):
    first, out = copied(studies, tmp_path / "first", "10031_1", "10150_1"), tmp_path / "out"
    second = copied(studies, tmp_path / "second", "10269_1", "10150_2", LONG)
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    prepare([first], out, Here(), scaling)
    done = prepare([second], out, Here())
    assert done.examples == prepared[1].examples
    ours, theirs = read_examples(out, "test"), read_examples(prepared[0], "test")
    assert np.array_equal(ours.signals, theirs.signals) and np.array_equal(ours.study, theirs.study)
    with pytest.raises(PrepareError, match="another one"):
        prepare([second], out, Here(), replace(scaling, size=(1.0,) * 16))


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "1e999", "-1", "0", '"x"', "[1]", "null", "1" + "0" * 400])
def test_a_scaling_of_odd_numbers_is_refused_by_name(odd):
    with pytest.raises(PrepareError, match=r"scaling\.json: expected"):
        read_scaling(f'{{"middle": {[0.0] * 16}, "size": [{"1," * 7}{odd}{",1" * 8}], "n_studies": 3}}'.encode())
    with pytest.raises(PrepareError, match=r"scaling\.json: expected"):
        read_scaling(f'{{"middle": {[0.0] * 16}, "size": {[1.0] * 16}, "n_studies": Infinity}}'.encode())


def test_without_a_training_patient_a_scaling_has_to_be_given(studies, prepared, tmp_path):
    name = next(name for name in find_studies([studies])[0] if split_of(name.partition("_")[0]) == "test")
    (copied(studies, tmp_path, name) / "9_1.edf").write_bytes(b"none")
    with pytest.raises(PrepareError, match=r"a training patient.*1 studies of other patients and 1 left out \(9_1: "):
        prepare([tmp_path], tmp_path / "out", Here())
    (tmp_path / "9_1.edf").unlink()
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    done = prepare([tmp_path], tmp_path / "out", Here(), scaling)
    assert done.problems == {}
    ours, theirs = read_examples(tmp_path / "out", "test"), read_examples(prepared[0], "test")
    assert np.array_equal(ours.signals, theirs.signals[theirs.study == name])


def test_a_broken_study_is_named_and_the_others_are_written(studies, prepared, tmp_path):
    (copied(studies, tmp_path, LONG) / "55555_1.edf").write_bytes(b"0" * 700)
    whole = (studies / f"{LONG}.edf").read_bytes()
    (tmp_path / "55556_1.edf").write_bytes(whole[:4000])
    (tmp_path / "55557_1.edf").write_bytes(whole[: len(whole) // 2])  # truncated: what is there is used
    done = prepare([tmp_path], tmp_path / "out", Here())
    assert sorted(done.problems) == ["55555_1", "55556_1"]
    assert all("expected" in why and "found" in why for why in done.problems.values())
    assert done.n_new == 2


def test_a_study_of_one_name_in_two_folders_is_taken_once_and_said(studies, tmp_path):
    shutil.copy(studies / "10031_1.edf", tmp_path)
    found, notes = find_studies([studies, tmp_path])
    assert found["10031_1"].place == str(studies)
    assert len(notes) == 1 and "10031_1" in notes[0]


def test_annotations_without_a_recording_are_said(studies, tmp_path):
    shutil.copy(studies / "10031_1.tsv", tmp_path)
    assert find_studies([tmp_path]) == ({}, ["10031_1.tsv: annotations without a recording"])


def test_a_table_that_is_not_read_is_said(studies, tmp_path):
    shutil.copy(studies / "10031_1.edf", tmp_path)
    for name in ("10031_1.csv", "health_record.csv"):
        (tmp_path / name).write_text("onset,duration,description\n")
    assert find_studies([tmp_path])[1] == ["10031_1.csv: not read, annotations are a .tsv"]


def test_hidden_files_are_no_studies(tmp_path):
    for name in ("._10031_1.edf", "._10031_1.tsv"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7Mac OS X")
    assert find_studies([tmp_path]) == ({}, [])


def test_studies_come_from_a_bucket_and_go_to_one(studies, prepared, server, tmp_path, credentials):
    client(server).create_bucket(Bucket="psg")
    for path in sorted(studies.glob("10031_1.*")):
        client(server).upload_file(str(path), "psg", f"studies/{path.name}")
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    done = prepare(["s3://psg/studies"], "s3://psg/examples", Here(), scaling, server)
    assert done.problems == {}
    split = split_of("10031")
    client(server).download_file("psg", f"examples/{split}/packed-000.h5", str(tmp_path / "one.h5"))
    ours, theirs = read_batch(tmp_path / "one.h5"), read_examples(prepared[0], split)
    assert np.array_equal(ours.signals, theirs.signals[theirs.study == "10031_1"])


def test_the_simulated_patients_have_a_health_record(studies):
    with (studies / "health_record.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(1 < float(row["age"]) < 18 and row["sex"] in "FM" and row["diagnosis"] for row in rows)


def some(n=5, seed=0):
    """Make examples of noise."""
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0, 10, (n, len(EVENTS))).astype(np.float32)
    present = rng.random((n, len(MODALITIES))) > 0.2
    signals = rng.normal(0, 3, (n, len(MODALITIES), 3840)).astype(np.float32) * present[:, :, None]
    who = [f"1000{i % 2}" for i in range(n)]
    return Examples(signals, present, rng.integers(-1, 5, n).astype(np.int8), seconds, np.array(who),
                    np.array([f"{patient}_1" for patient in who]), np.arange(n, dtype=np.int32))  # fmt: skip


def test_simulated_studies_of_other_settings_are_not_taken_for_those_asked_for(tmp_path):
    simulate_studies(tmp_path, 1, 0.1, n_jobs=1)
    with pytest.raises(ImportPlaceError, match=r"hours 0\.2, seed 1, found simulated studies, hours 0\.1"):
        simulate_studies(tmp_path, 1, 0.2, n_jobs=1)
    with pytest.raises(ImportPlaceError, match="seed 2"):
        simulate_studies(tmp_path, 1, 0.1, seed=2, n_jobs=1)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ImportPlaceError, match="found nights without"):
        simulate_studies(tmp_path, 1, 0.1, n_jobs=1)


def test_a_batch_comes_back_as_it_was(tmp_path):
    before = some()
    write_batch(tmp_path / "a.h5", before)
    after = read_batch(tmp_path / "a.h5")
    assert np.abs(after.signals - before.signals).max() <= 1 / 2048 + 1e-6
    for name in ("present", "stage", "seconds", "patient", "study", "epoch"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def test_the_original_layout_keeps_signals_and_labels(tmp_path):
    before = some(20)
    write_original(tmp_path / "a.h5", before)
    after = read_original(tmp_path / "a.h5")
    assert np.array_equal(before.signals, after.signals)
    assert np.array_equal(before.present, after.present)
    ours, theirs = targets(before), targets(after)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    single = before.take(slice(0, 1))
    write_original(tmp_path / "b.h5", single)
    assert np.array_equal(read_original(tmp_path / "b.h5").signals, single.signals)


def test_an_alias_is_written_as_labels_are_compared_and_stands_for_one_modality():
    aliases = [alias for modality in MODALITIES for alias in dict.fromkeys(modality.aliases)]
    assert [alias for alias in aliases if plain_label(alias) != alias or aliases.count(alias) > 1] == []


@pytest.mark.parametrize("damage", ["text", "cut", "other montage", "other version", "floats", "stranger", "link"])
def test_a_batch_that_is_none_is_refused_by_name(damage, tmp_path):
    path = tmp_path / "bad.h5"
    write_batch(path, some())
    if damage == "text":
        path.write_bytes(b"hello")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:50_000])
    else:
        with h5py.File(path, "r+") as file:
            about = json.loads(file["about"][:].tobytes())
            if damage == "other montage":
                about["modalities"][0] = "EEG Fpz"
            if damage == "other version":
                about["version"] = 99
            if damage == "floats":
                values = file["signals"][:].astype(np.float64)
                del file["signals"]
                file["signals"] = values
            if damage == "stranger":
                file["who"][0] = 7
            if damage == "link":
                file["more"] = h5py.ExternalLink("/etc/passwd", "/")
            del file["about"]
            file["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with pytest.raises(CaseFileError, match=r"bad\.h5: expected"):
        read_batch(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("stage", 9, "stage from -1 to 4, found 9"), ("seconds", 1e30, "found 1e"), ("seconds", -5, "0 to 30")],
)
def test_labels_that_cannot_be_are_refused(name, value, words, tmp_path):
    write_batch(tmp_path / "bad.h5", some())
    with h5py.File(tmp_path / "bad.h5", "r+") as file:
        file[name][2] = value
    with pytest.raises(CaseFileError, match=rf"bad\.h5: expected .*{words}"):
        read_batch(tmp_path / "bad.h5")


@pytest.mark.parametrize(("name", "value"), [("sleep", 260), ("sleep", 5), ("apnea", 4), ("arousal", b"no")])
def test_labels_of_the_original_layout_that_cannot_be_are_refused(name, value, tmp_path):
    write_original(tmp_path / "bad.h5", some(3))
    with h5py.File(tmp_path / "bad.h5", "r+") as file:
        del file[name]
        file[name] = np.array([value] * 3)
    with pytest.raises(CaseFileError, match=rf"bad\.h5: expected .*{name}"):
        read_original(tmp_path / "bad.h5")


def test_every_nth_epoch_of_some_splits_is_read(prepared):
    splits = [split for split in SPLITS if batch_paths(prepared[0], split)]
    whole, some = read_examples(prepared[0], *splits), read_examples(prepared[0], *splits, every=3)
    kept = whole.take(whole.epoch % 3 == 0)
    assert len(splits) > 1 and set(map(split_of, some.patient.tolist())) == set(splits)
    assert some.epoch.tolist() == kept.epoch.tolist() and np.array_equal(some.signals, kept.signals)


def test_no_more_than_128_examples_go_into_a_file(tmp_path):
    with pytest.raises(ValueError, match="1 to 128"):
        write_batch(tmp_path / "a.h5", some(1).take(np.zeros(129, int)))


def test_a_patient_on_the_wrong_side_is_found(tmp_path):
    (tmp_path / "test").mkdir()
    one = some(1)
    name = next(str(i) for i in range(100) if split_of(str(i)) == "train")
    write_batch(tmp_path / "test" / "a.h5", replace(one, patient=np.array([name])))
    with pytest.raises(BatchError, match="patients of test"):
        read_examples(tmp_path, "test")


def test_a_sliver_of_an_event_makes_no_epoch_positive():
    def of(seconds, stage=2):
        return replace(some(1), stage=np.array([stage], np.int8), seconds=np.array([seconds], np.float32))

    positive = {name: int(values[0]) for name, values in targets(of([0, 0.001, 0, 2.9, 0.2, 4.9, 1.4])).items()}
    assert positive == {"stage": 2, "apnea": 0, "hypopnea": 1, "desaturation": 0, "arousal": 0}
    assert targets(of([0, 3, 0, 0, 0, 5, 1.5]))["apnea"] == 1
    assert targets(of([9] * 7, stage=-1))["apnea"] == -1
    assert targets(of([np.nan] * 7))["arousal"] == -1


def test_a_study_without_a_known_channel_is_left_out_by_name(tmp_path):
    column = Column("Temperature", "C", (0.0, 50.0), 1, np.full(120, 36.0))
    (tmp_path / "1_1.edf").write_bytes(edf_content([column], datetime(2020, 1, 1)))
    with pytest.raises(CaseFileError, match="a channel of the montage"):
        open_psg(tmp_path / "1_1.edf")


def test_channels_are_counted_by_modality_and_name(studies, prepared):
    folder, done = prepared
    assert done.channels["EEG C3-M2"] == {"EEG C3-M2": 4, "C3-A2": 1}
    assert done.channels["SPO2"][""] == 1  # the study of two channels has none
    assert sum(done.channels["EEG C3-M2"].values()) == done.n_studies
    assert json.loads((folder / "prepared.json").read_text())["channels"] == done.channels
    assert prepare([studies], folder, Here()).channels == done.channels


def test_the_command_says_under_which_names_channels_were_found_and_which_studies_have_no_labels(monkeypatch, tmp_path):
    many = {f"X{i}": 1 for i in range(15)}
    unlabelled = {f"{i}_1": "no annotations: kept without labels" for i in range(15)}
    done = Prepared(15, channels={"SPO2": {"SaO2": 7, "": 1}, "": many}, unlabelled=unlabelled)
    monkeypatch.setattr("dreem_case.mae.prepare.prepare", lambda *_: done)
    said = CliRunner().invoke(mae, ["prepare", str(tmp_path), "--out", str(tmp_path), "--jobs", "1"]).output
    assert "SPO2: 7 x SaO2, missing in 1\n" in said
    assert "no modality: 1 x X0, " in said and "1 x X11, and 3 other names, all in prepared.json\n" in said
    assert said.count(": no annotations: kept without labels\n") == 12
    assert "and 3 other studies without labels, all in prepared.json\n" in said


def test_studies_without_labels_are_named_with_their_words(studies, prepared, tmp_path):
    assert prepared[1].unlabelled == {}
    (copied(studies, tmp_path, "10031_1") / "10031_1.tsv").write_text(
        "onset\tduration\tdescription\n0\t30\tStade 2\n", encoding="utf-8"
    )
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    done = prepare([tmp_path], tmp_path / "out", Here(), scaling)
    assert done.unlabelled == {"10031_1": "no stage is scored: kept without labels"} and done.unknown == {"Stade 2": 1}


def test_lost_events_and_lines_are_counted_over_studies(studies, prepared, tmp_path):
    for name in ("10031_1", "10269_1"):
        (copied(studies, tmp_path / "in", name) / f"{name}.tsv").write_text(
            "onset\tduration\tdescription\n0\t30\tN2\n9\t0\tArousal\n10:05\t9\tApnea\n", encoding="utf-8"
        )
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    done = prepare([tmp_path / "in"], tmp_path / "out", Here(), scaling)
    assert sorted(done.notes) == [
        "2 x events without a duration, left out", "2 x lines without an onset in seconds are left out"
    ]  # fmt: skip


def test_a_unit_that_is_not_known_is_said(prepared, tmp_path):
    column = Column("C3-A2", "counts", (-200.0, 200.0), 128, np.sin(np.arange(128 * 30)))
    (tmp_path / "1_1.edf").write_bytes(edf_content([column], datetime(2020, 1, 1)))
    scaling = read_scaling((prepared[0] / "scaling.json").read_bytes())
    done = prepare([tmp_path], tmp_path / "out", Here(), scaling)
    assert done.notes == ["1 x EEG C3-M2 in counts, which is no unit known here: taken as µV"]


def test_names_of_channels_are_those_of_the_file_and_none_is_forgotten(tmp_path):
    columns = [Column(name, "uV", (-200.0, 200.0), 128, np.sin(np.arange(128 * 30)))
               for name in ("C3", "M2", "O1-A2", "Heart Rate")]  # fmt: skip
    (tmp_path / "1_1.edf").write_bytes(edf_content(columns, datetime(2020, 1, 1)))
    names = open_psg(tmp_path / "1_1.edf").names
    assert {("EEG C3-M2", "C3 - M2"), ("EEG O1-M2", "O1-A2"), ("SPO2", ""), ("", "Heart Rate")} <= set(names)
    assert len(names) == len(MODALITIES) + 1
