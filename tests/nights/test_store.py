"""What a store promises, asked of both kinds; and what only a folder can do to one."""

import json
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.nights import folder_store, s3_store
from dreem_case.nights.casefile import MAX_HYPNOGRAM_BYTES, CaseFileError, RecordNameError
from dreem_case.nights.folder_store import FolderStore
from dreem_case.nights.safe_h5 import FileUnavailable
from dreem_case.nights.stages import UNSCORED
from dreem_case.nights.store import (
    RecordChanged,
    RecordNotFound,
    RecordTooLarge,
    StoreError,
    StorePlace,
    StoreUnavailable,
    error_code,
    open_store,
)
from tests.support.stores import BucketPlace, FolderPlace, h5_content, put

ABSENT = ["c", "A", "A/../a", "../h5/a", "/etc/passwd", "", ".", "..", "a\0", "a.h5", "a\n", "%61", "a" * 5000, "é"]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return h5_content(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def other_content(tmp_path_factory, content):
    other = h5_content(tmp_path_factory.mktemp("made"), value=1.0)
    assert len(other) == len(content)
    return other


@pytest.fixture(params=["folder", "bucket"])
def empty(request, tmp_path):
    """A place without nights."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "nights")
    return BucketPlace(request.getfixturevalue("server"), f"nights-{uuid.uuid4().hex}", "sleep/lab 1/")


@pytest.fixture
def place(empty, content):
    """A place with two nights, one of them scored."""
    put(empty, "b", content, ["WAKE"])
    put(empty, "a", content)
    return empty


@pytest.fixture
def spool(tmp_path, monkeypatch):
    """Where downloads lie."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(s3_store, "gettempdir", lambda: str(folder))
    return folder


# Both kinds: the list


def test_records_are_listed_in_the_order_of_their_files(empty):
    empty.write_many([f"h5/{record}.h5" for record in ("b", "a", "a-1", "B", "a.1", "a1", "a_", "A")])
    assert empty.open().records() == ["A", "B", "a-1", "a.1", "a", "a1", "a_", "b"]


def test_records_that_differ_in_case_are_two(empty, content, other_content):
    put(empty, "a", content)
    put(empty, "A", other_content)
    store = empty.open()
    assert store.open_night("a").signals["eeg1"].values[0] == 0
    assert store.open_night("A").signals["eeg1"].values[0] == 1


def test_a_list_longer_than_a_page_of_a_bucket_is_whole(empty):
    ordered = sorted((f"night-{i}" for i in range(2050)), key=lambda name: f"{name}.h5")
    empty.write_many([f"h5/{name}.h5" for name in ordered] + [f"h5/{name}.txt" for name in ordered[:50]])
    store = empty.open()
    assert store.records() == ordered
    assert store.records(after=ordered[1500], limit=300) == ordered[1501:1801]
    paged = []
    while page := store.records(after=paged[-1] if paged else "", limit=1500):
        paged += page
    assert paged == ordered


def test_a_page_begins_behind_a_name_that_is_gone(place):
    place.write("h5/d.h5", b"")
    assert place.open().records(after="a") == ["b", "d"]
    assert place.open().records(after="c") == ["d"]
    assert place.open().records(after="d") == []
    assert place.open().records(limit=0) == []
    assert place.open().records(limit=1) == ["a"]


def test_a_page_behind_a_name_that_no_record_can_have_is_refused(empty):
    store = empty.open()
    for after in "../a", "a/b", "a\0", "é", "x" * 2000:
        with pytest.raises(RecordNameError):
            store.records(after=after)


def test_other_files_are_no_records(place):
    for name in ".hidden.h5", "notes.txt", "x y.h5", "c.h5.part", ".h5", "é.h5", "n" * 130 + ".h5":
        place.write(f"h5/{name}", b"x")
    place.write("h5/folder.h5/x", b"x")
    place.write("h5/deep/a.h5", b"x")
    place.write("c.h5", b"x")
    assert place.open().records() == ["a", "b"]


def test_an_empty_place_holds_no_records(empty):
    store = empty.open()
    assert store.records() == []
    assert store.passed_over() == []
    with pytest.raises(RecordNotFound):
        store.version("a")


def test_h5_files_without_an_inner_folder_are_a_store(place):
    store = place.open("h5")
    assert store.records() == ["a", "b"]
    assert store.open_night("b").hypnogram is None


# Both kinds: one record


def test_an_h5_folder_without_nights_hides_none_beside_it(empty, content):
    """A bucket's console makes a folder as an empty object; somebody else leaves a note in one."""
    empty.write("a.h5", content)
    if isinstance(empty, BucketPlace):
        empty.write("h5/", b"")
    empty.write("h5/notes.txt", b"to come")
    assert empty.open().records() == ["a"]
    with empty.open().fetched("a", empty.open().version("a")) as path:
        assert path.read_bytes() == content


def test_nights_in_an_h5_folder_come_before_those_beside_it(place, content):
    place.write("z.h5", content)
    place.write("z.txt", content)
    assert place.open().records() == ["a", "b"]
    assert place.open().passed_over() == ["'z.h5': expected a file in h5/, found one beside it"]
    assert place.open("h5").passed_over() == []


def test_an_empty_h5_folder_is_filled_later(empty, content):
    if isinstance(empty, BucketPlace):
        empty.write("h5/", b"")
    else:
        (empty.folder / "h5").mkdir()
    store = empty.open()
    assert store.records() == []
    put(empty, "a", content)
    assert store.records() == ["a"]


def test_a_night_is_opened_with_its_hypnogram(place):
    store = place.open()
    assert store.open_night("a").hypnogram is None
    assert store.open_night("b").hypnogram.tolist() == [0, UNSCORED]
    assert store.open_night("b").record == "b"
    assert store.open_night("b").signals["eeg1"].n_samples == 15_000
    assert store.labels("a") is None
    assert store.labels("b") == b'["WAKE"]'


def test_a_record_that_is_not_there_is_not_found(place, tmp_path):
    store = place.open()
    asks = (
        store.open_night,
        store.version,
        store.look,
        store.labels,
        lambda record: store.fetched(record, "").__enter__(),
        lambda record: store.save(record, "", tmp_path / "copy", print),
    )
    for record, ask in product(ABSENT, asks):
        with pytest.raises(RecordNotFound, match="expected a record of this store, found no "):
            ask(record)


def test_a_bad_file_is_an_error_of_that_record_only(place):
    place.write("h5/c.h5", b"not HDF5")
    store = place.open()
    assert store.records() == ["a", "b", "c"]
    with pytest.raises(CaseFileError, match=r"^c: expected a whole HDF5 file"):
        store.open_night("c")
    assert store.open_night("a").n_epochs == 2


def test_a_hypnogram_that_is_of_no_use_leaves_the_signals(place):
    place.write("hypnograms/b.json", b"[0, 1]")
    night = place.open().open_night("b")
    assert night.hypnogram is None
    assert "eeg1" in night.signals
    assert any(note.startswith("the hypnogram is not used: expected names, or a numbering") for note in night.notes)


def test_a_hypnogram_that_is_too_large_is_not_used(place):
    place.write("hypnograms/a.json", b" " * (MAX_HYPNOGRAM_BYTES + 1))
    store = place.open()
    assert store.open_night("a").hypnogram is None
    with pytest.raises(RecordTooLarge, match=f"at most {MAX_HYPNOGRAM_BYTES} bytes"):
        store.labels("a")


def test_a_file_that_is_too_large_is_refused_unread(place, spool, monkeypatch, content):
    for module in folder_store, s3_store:
        monkeypatch.setattr(module, "MAX_H5_BYTES", len(content) - 1)
    store = place.open()
    refused = f"^a: expected a file of at most {len(content) - 1} bytes, found one of {len(content)}$"
    with pytest.raises(RecordTooLarge, match=refused), store.fetched("a", store.version("a")):
        pytest.fail("this file is too large")
    with pytest.raises(RecordTooLarge, match=refused):
        store.open_night("a")
    assert list(spool.iterdir()) == []


def test_a_version_stays_until_the_file_changes(place, content, other_content):
    store = place.open()
    versions = [store.version("a")]
    assert place.open().version("a") == versions[0]
    for changed in other_content, content, content[:-1]:
        place.write("h5/a.h5", changed)
        versions.append(store.version("a"))
    assert versions[0] != versions[1] != versions[2] != versions[3]
    assert versions[1] != versions[3]
    place.remove("h5/a.h5")
    with pytest.raises(RecordNotFound):
        store.version("a")


def test_what_is_known_of_a_file_is_true(place, content):
    found = place.open().look("a")
    assert found.version == place.open().version("a")
    assert found.n_bytes == len(content)
    assert abs(found.modified_s - time.time()) < 60


def test_a_fetched_file_is_whole_and_named_after_its_record(place, spool, content):
    store = place.open()
    with store.fetched("a", store.version("a")) as path:
        assert path.name == "a.h5"
        assert path.read_bytes() == content
    assert list(spool.iterdir()) == []
    assert store.records() == ["a", "b"]


def test_another_version_is_not_fetched(place, spool, other_content):
    store = place.open()
    version = store.version("a")
    place.write("h5/a.h5", other_content)
    with pytest.raises(RecordChanged, match=r"^a: expected the file as it was, found another version$"):
        store.fetched("a", version).__enter__()
    with store.fetched("a", store.version("a")) as path:
        assert path.read_bytes() == other_content
    assert list(spool.iterdir()) == []


def test_a_file_replaced_while_it_is_used_is_noticed_or_not_felt(place, spool, content, other_content):
    store = place.open()
    try:
        with store.fetched("a", store.version("a")) as path:
            place.write("h5/a.h5", other_content)
            read = path.read_bytes()
    except RecordChanged:
        assert isinstance(store, FolderStore)
    else:
        assert read == content
    assert list(spool.iterdir()) == []


def test_a_record_removed_before_it_is_fetched_is_not_found(place, spool):
    store = place.open()
    version = store.version("a")
    place.remove("h5/a.h5")
    with pytest.raises(RecordNotFound):
        store.fetched("a", version).__enter__()
    assert list(spool.iterdir()) == []


def test_an_error_in_the_block_leaves_no_file(place, spool):
    store = place.open()
    with pytest.raises(ZeroDivisionError), store.fetched("a", store.version("a")):
        raise ZeroDivisionError
    assert list(spool.iterdir()) == []


def test_a_file_is_saved_whole_and_tells_how_far_it_is(place, tmp_path, content, other_content):
    store, told = place.open(), []
    version = store.version("a")
    store.save("a", version, tmp_path / "copy.h5", told.append)
    assert (tmp_path / "copy.h5").read_bytes() == content
    assert told == sorted(told)
    assert told[-1] == len(content)
    place.write("h5/a.h5", other_content)
    with pytest.raises(RecordChanged):
        store.save("a", version, tmp_path / "copy.h5", told.append)


def test_many_threads_each_get_what_they_ask_for(place, spool, content, other_content):
    put(place, "c", other_content)
    store = place.open()
    expected = {"a": content, "b": content, "c": other_content}

    def fetch(record):
        with store.fetched(record, store.version(record)) as path:
            return path.read_bytes() == expected[record]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(fetch, "abc" * 8))
    assert list(spool.iterdir()) == []


def test_a_place_that_goes_away_is_not_an_empty_one(place, spool):
    store = place.open()
    version = store.version("a")
    place.remove_all()
    for ask in (
        store.records,
        store.passed_over,
        lambda: store.version("a"),
        lambda: store.open_night("a"),
        lambda: store.fetched("a", version).__enter__(),
    ):
        with pytest.raises(StoreUnavailable, match=r"^expected an answer from the store, found ") as raised:
            ask()
        assert not any(name and name in str(raised.value) for name in place.address.split("/"))
    assert list(spool.iterdir()) == []


# Both kinds: where the nights come from, and what is passed over


def test_the_source_is_what_the_manifest_says(place):
    place.write("manifest.json", json.dumps({"source": "simulated <b>nights</b>, seed 1"}).encode())
    assert place.open().source == "simulated b nights b , seed 1"


def test_the_source_is_a_folders_name_or_a_bucket_where_no_manifest_says_more(place):
    name = place.folder.name if isinstance(place, FolderPlace) else "a bucket"
    assert place.open().source == f"nights in {name}"
    for manifest in b"", b"[]", b"{}", b'{"source": 3}', b'{"source": ""}', b"\xff", b"[" * 10**5:
        place.write("manifest.json", manifest)
        assert place.open().source == f"nights in {name}"


def test_a_manifest_without_end_is_not_read(place):
    place.write("manifest.json", json.dumps({"source": "x" + " " * 2**21}).encode())
    assert place.open().source.startswith("nights in ")


def test_a_file_that_looks_meant_and_is_not_used_is_named(place):
    store = place.open()
    assert store.passed_over() == []
    for name in "h5/night 1.h5", "h5/c.H5", "h5/c.hdf5", "h5/folder.h5/x", "hypnograms/c.json", "h5/\x01.h5":
        place.write(name, b"[]")
        (reason,) = store.passed_over()
        assert ascii(name.split("/")[1])[1:-1] in reason
        assert ": expected " in reason
        assert (", found a folder" if "folder" in name else ", found ") in reason
        assert store.records() == ["a", "b"]
        place.remove(name)


def test_a_hypnogram_of_another_ending_is_named_unless_the_record_has_one(place):
    store = place.open()
    (scored,), (bare,) = store.scored(), set(store.records()) - set(store.scored())
    place.write(f"hypnograms/{scored}.csv", b"")
    assert store.passed_over() == []
    place.write(f"hypnograms/{bare}.csv", b"")
    assert store.passed_over() == [f"'{bare}.csv': expected the ending .json, found .csv"]


def test_scored_records_are_those_with_a_hypnogram_file(place):
    scored = [record for record in place.open().records() if place.open().labels(record) is not None]
    assert 0 < len(scored) < len(place.open().records())
    for name in "hypnograms/absent.json", "hypnograms/a.json/x", "hypnograms/b.txt":
        place.write(name, b"[]")
    assert place.open().scored() == scored


def test_other_files_are_passed_over_in_silence(place):
    for name in "h5/.a.h5", "h5/notes.txt", "h5/a.h5.part", "manifest.json", "truth/c.json":
        place.write(name, b"{}")
    assert place.open().passed_over() == []


# A folder


@given(st.text())
def test_a_source_is_a_short_line_without_markup_whatever_the_manifest_says(tmp_path_factory, source):
    folder = tmp_path_factory.getbasetemp() / "named"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"source": f"<b>${source}`\n[x](y)"}))
    found = open_store(folder).source
    assert 0 < len(found) <= 100
    assert found.isprintable()
    assert not set(found) & set("<>$`[]*&\\")


@pytest.fixture
def folder(tmp_path, content):
    place = FolderPlace(tmp_path / "nights")
    put(place, "b", content, ["WAKE"])
    put(place, "a", content)
    return place.folder


def test_a_link_is_no_record_wherever_it_leads(folder, tmp_path, content):
    (tmp_path / "secret.h5").write_bytes(content)
    (tmp_path / "secret.json").write_text('["REM"]')
    (folder / "h5" / "out.h5").symlink_to(tmp_path / "secret.h5")
    (folder / "h5" / "in.h5").symlink_to(folder / "h5" / "a.h5")
    (folder / "h5" / "nowhere.h5").symlink_to(folder / "absent.h5")
    (folder / "hypnograms" / "a.json").symlink_to(tmp_path / "secret.json")
    store = open_store(folder)
    assert store.records() == ["a", "b"]
    assert [reason.split(": ")[1] for reason in store.passed_over()] == ["expected a file, found a link"] * 4
    for record in "out", "in", "nowhere":
        with pytest.raises(RecordNotFound):
            store.version(record)
        with pytest.raises(RecordNotFound):
            store.open_night(record)
    assert store.open_night("a").hypnogram is None
    assert store.labels("a") is None


def test_nothing_waits_for_a_pipe(folder):
    for name in "h5/pipe.h5", "hypnograms/a.json", "manifest.json":
        os.mkfifo(folder / name)
    store = open_store(folder)
    assert store.source == f"nights in {folder.name}"
    assert store.records() == ["a", "b"]
    assert store.open_night("a").hypnogram is None
    with pytest.raises(RecordNotFound):
        store.version("pipe")


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_changed_in_place_is_another_version_each_time(folder, keep_times):
    store, path, versions = open_store(folder), folder / "h5" / "a.h5", set()
    before = path.stat()
    for i in range(20):
        with path.open("r+b") as file:
            file.seek(5000)
            file.write(bytes([i]))
        if keep_times:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        versions.add(store.version("a"))
    assert len(versions) == 20


def test_a_file_that_is_being_written_is_not_used(folder):
    path, stop = folder / "h5" / "a.h5", threading.Event()

    def write():
        with path.open("r+b", buffering=0) as file:
            while not stop.wait(0.001):
                file.write(b"x")

    store, writer = open_store(folder), threading.Thread(target=write)
    writer.start()
    try:
        deadline = time.monotonic() + 10
        with pytest.raises(RecordChanged):
            while time.monotonic() < deadline:
                store.version("a")
    finally:
        stop.set()
        writer.join()
    assert store.version("a")


def test_a_file_from_the_future_has_a_version(folder, monkeypatch):
    monkeypatch.setattr(folder_store.time, "time_ns", lambda: 10**9)
    assert open_store(folder).version("a")


def test_a_damaged_file_that_was_replaced_meanwhile_is_not_blamed(folder, content):
    path = folder / "h5" / "a.h5"
    path.write_bytes(content[:5000])
    store = open_store(folder)
    version = store.version("a")
    with pytest.raises(RecordChanged), store.fetched("a", version):
        path.write_bytes(content)
        raise CaseFileError("a", "a whole file", "half of one")


@pytest.mark.parametrize("uri", ["absent", "http://host/x", "file:///tmp", "S3://bucket", ""])
def test_an_address_that_is_no_store_is_refused(tmp_path, uri):
    with pytest.raises(StoreError, match="expected a folder"):
        open_store(tmp_path / uri if uri == "absent" else uri)


def test_a_file_is_no_store(folder):
    with pytest.raises(StoreError):
        open_store(folder / "h5" / "a.h5")


@pytest.mark.parametrize(
    ("error", "code"),
    [(RecordNotFound("a"), "record_not_found"), (RecordChanged("a"), "record_changed"),
     (StoreUnavailable("no answer"), "store_unavailable"), (FileUnavailable("a", "no"), "file_unavailable"),
     (RecordTooLarge("a", "less", "more"), "unusable_file"),
     (OSError(), "failed")],
)
def test_programs_are_told_why_a_record_cannot_be_had(error, code):
    assert error_code(error) == code


def test_a_hypnogram_without_a_right_to_read_it_is_no_store_that_is_away(folder):
    path = folder / "hypnograms" / "b.json"
    path.chmod(0)
    user = os.geteuid()
    store = FolderStore(folder)
    folder.chmod(0o755)
    os.seteuid(user or 65534)
    try:
        with pytest.raises((FileUnavailable, StoreUnavailable), match="Permission denied") as found:
            store.labels("b")
    finally:
        os.seteuid(user)
    assert isinstance(found.value, FileUnavailable) or user == 0  # whose folders above let nobody in
    path.chmod(0o600)
    assert store.labels("b") == b'["WAKE"]'


def test_a_store_knows_how_labels_that_are_numbers_are_counted(tmp_path):
    (tmp_path / "hypnograms").mkdir()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["eeg1"] = np.random.default_rng(0).normal(0, 20, 3 * 7500).astype("f4")
    (tmp_path / "hypnograms" / "a.json").write_text("[0, 3, 5]")
    place = StorePlace(str(tmp_path))
    assert place.open().open_night("a").hypnogram is None
    assert place._replace(numbering="aasm").open().open_night("a").hypnogram.tolist() == [0, 3, 4]
    with pytest.raises(StoreError, match="expected labels numbered as one of rem_last, aasm, found 'r&k'"):
        open_store(tmp_path, numbering="r&k")
