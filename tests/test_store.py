import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.casefile import CaseFileError, write_night
from dreem_case.night import Night, Signal
from dreem_case.stages import UNSCORED
from dreem_case.store import FolderStore, RecordNotFound, StoreError, open_store


def put(folder, record, hypnogram=None):
    eeg = Signal(np.zeros(15_000, np.float32), 250, "µV", "eeg")
    return write_night(Night(record, {"eeg1": eeg}, 2, hypnogram), folder)


@pytest.fixture
def folder(tmp_path):
    put(tmp_path, "b", [0, UNSCORED])
    put(tmp_path, "a")
    return tmp_path


def test_records_are_listed_sorted_and_opened_with_their_hypnogram(folder):
    store = open_store(folder)
    assert store.records() == ["a", "b"]
    assert store.open_night("a").hypnogram is None
    assert store.open_night("b").hypnogram.tolist() == [0, UNSCORED]


def test_a_folder_of_h5_files_without_an_inner_folder_is_a_store(folder):
    store = open_store(str(folder / "h5"))
    assert store.records() == ["a", "b"]
    assert store.open_night("b").hypnogram is None


def test_other_files_are_no_records(folder):
    for name in ".hidden.h5", "notes.txt", "a b.h5", "c.h5.part", ".h5":
        (folder / "h5" / name).touch()
    (folder / "h5" / "folder.h5").mkdir()
    (folder / "h5" / "nowhere.h5").symlink_to(folder / "absent.h5")
    assert open_store(folder).records() == ["a", "b"]


def test_an_empty_folder_holds_no_records(tmp_path):
    assert open_store(tmp_path).records() == []


@pytest.mark.parametrize(
    "record", ["c", "A/../a", "../h5/a", "/etc/passwd", "", ".", "..", "a\0", "a.h5", "a\n", "%61", "a" * 5000]
)
def test_a_record_that_is_not_there_is_not_found(folder, record):
    with pytest.raises(RecordNotFound, match="expected a record of this store, found no "):
        open_store(folder).open_night(record)


@given(st.text())
def test_no_record_name_reaches_outside_the_store(tmp_path_factory, record):
    base = tmp_path_factory.getbasetemp()
    inside = base / "inside"
    inside.mkdir(exist_ok=True)
    (base / "secret.h5").touch()
    with pytest.raises(RecordNotFound):
        FolderStore(inside).open_night(record)
    with pytest.raises(RecordNotFound):
        FolderStore(inside).open_night("../" + record)


def test_a_bad_file_is_an_error_of_that_record_only(folder):
    (folder / "h5" / "c.h5").write_bytes(b"not HDF5")
    store = open_store(folder)
    assert store.records() == ["a", "b", "c"]
    with pytest.raises(CaseFileError, match=r"^c: expected a whole HDF5 file"):
        store.open_night("c")
    assert store.open_night("a").n_epochs == 2


def test_the_source_is_what_the_manifest_says(folder):
    (folder / "manifest.json").write_text(json.dumps({"source": "simulated nights, seed 1"}))
    assert open_store(folder).source == "simulated nights, seed 1"


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"source": 3}', '{"source": ""}', "\udcff", "[" * 10**5])
def test_the_source_is_the_folder_where_no_manifest_says_more(folder, manifest):
    if manifest is not None:
        (folder / "manifest.json").write_bytes(manifest.encode(errors="surrogateescape"))
    assert open_store(folder).source == f"nights in {folder.name}"


@given(st.text())
def test_a_source_is_a_short_line_without_markup_whatever_the_manifest_says(tmp_path_factory, source):
    folder = tmp_path_factory.getbasetemp() / "named"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"source": f"<b>${source}`\n[x](y)"}))
    found = open_store(folder).source
    assert 0 < len(found) <= 100
    assert found.isprintable()
    assert not set(found) & set("<>$`[]*&\\")


def test_a_manifest_without_end_is_not_waited_for(folder):
    os.mkfifo(folder / "manifest.json")
    assert open_store(folder).source == f"nights in {folder.name}"


@pytest.mark.parametrize("uri", ["absent", "s3://bucket", "http://host/x"])
def test_an_address_that_is_no_folder_is_refused(tmp_path, uri):
    with pytest.raises(StoreError, match="expected a folder"):
        open_store(uri if "://" in uri else tmp_path / uri)


def test_a_file_is_no_store(folder):
    with pytest.raises(StoreError):
        open_store(folder / "h5" / "a.h5")


@pytest.mark.parametrize(
    "name", ["h5/night 1.h5", "h5/c.H5", "h5/c.hdf5", "h5/folder.h5/x", "hypnograms/c.json"]
)
def test_a_file_that_looks_meant_and_is_not_used_is_named(folder, name):
    assert open_store(folder).passed_over() == []
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("[]")
    (reason,) = open_store(folder).passed_over()
    assert name.split("/")[1] in reason
    assert ": expected " in reason
    assert ", found " in reason


@pytest.mark.parametrize("name", ["h5/.a.h5", "h5/notes.txt", "h5/a.h5.part", "manifest.json", "truth/c.json"])
def test_other_files_are_passed_over_in_silence(folder, name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    assert open_store(folder).passed_over() == []
