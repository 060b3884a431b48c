import errno
import fcntl
import os
import pickle
import random
import resource
import shutil
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from dreem_case.nights import safe_h5
from dreem_case.nights.safe_h5 import (
    CaseFileError,
    FileUnavailable,
    TooLongError,
    UnreadableFileError,
    UnsafeFileError,
    WrongShapeError,
    WrongTypeError,
    has_numbers,
    open_h5,
    read_values,
    signal_length,
)
from dreem_case.nights.stored_signal import StoredSignal, attributes


def read(path, start=0, stop=None, max_samples=100_000):
    with open_h5("night-1", path) as file:
        n_samples = signal_length("night-1", "eeg1", file, max_samples)
        return read_values("night-1", "eeg1", file, start, n_samples if stop is None else stop)


@pytest.fixture
def make(tmp_path):
    def make(change=None, userblock_size=0, **options):
        path = tmp_path / "signal.h5"
        with h5py.File(path, "w", userblock_size=userblock_size) as file:
            if change is not None:
                change(file)
            else:
                file.create_dataset("eeg1", **options)
        return path

    return make


def one_chunk(content, dtype="f4", skipped=0, **storage):
    """Make a dataset of a thousand numbers whose one chunk holds these bytes."""

    def change(file):
        file.create_dataset("eeg1", (1000,), dtype, chunks=1000, **storage)
        file["eeg1"].id.write_direct_chunk((0,), content, filter_mask=skipped)

    return change


def filtered(*filters):
    """Make a dataset with filters of these numbers and values."""

    def change(file):
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((1000,))
        for number, values in filters:
            created.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)
        h5py.h5d.create(file.id, b"eeg1", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((1000,)), created)

    return change


def map_itself(file, name):
    """Make a virtual dataset."""
    layout = h5py.VirtualLayout(7500, "f4")
    layout[:] = h5py.VirtualSource(".", "other", 7500)
    return file.create_virtual_dataset(name, layout)


COUNTS = np.arange(7500)
OPEN_FILES = Path("/proc/self/fd")


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i2", "i4", "u8", "f2", ">f4", "f8", "longdouble"])
def test_every_number_type_comes_out_as_float32(make, dtype):
    values = (COUNTS % 100).astype(dtype)
    read_back = read(make(data=values))
    assert read_back.dtype == np.float32
    assert read_back.tolist() == (COUNTS % 100).tolist()


STORAGES = [
    {},
    {"chunks": 1000},
    {"chunks": 1000, "maxshape": None},
    {"chunks": 7500, "compression": "gzip"},
    {"chunks": 999, "compression": "gzip", "shuffle": True},
    {"chunks": 999, "shuffle": True},
]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("span", [(0, 7500), (998, 1000), (0, 0), (7499, 7500), (7500, 7500), (3000, 3001)])
def test_a_span_is_the_same_whatever_the_storage(make, storage, span):
    assert read(make(data=COUNTS, **storage), *span).tolist() == COUNTS[slice(*span)].tolist()


def test_incompressible_gzip_chunks_are_read(make):
    noise = np.random.default_rng(0).integers(0, 2**32, 7500, dtype=np.uint32)
    assert (read(make(data=noise, chunks=100, compression=1)) == noise.astype(np.float32)).all()


def test_a_chunk_that_skipped_its_filter_is_read(make):
    change = one_chunk(COUNTS[:1000].astype("f4").tobytes(), skipped=1, compression="gzip")
    assert read(make(change)).tolist() == COUNTS[:1000].tolist()


def test_a_user_block_before_the_file_does_no_harm(make):
    assert read(make(data=COUNTS, userblock_size=4096)).tolist() == COUNTS.tolist()


def test_the_newest_file_format_is_read(tmp_path):
    path = tmp_path / "signal.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("eeg1", data=COUNTS, chunks=1000, maxshape=(None,), compression="gzip")
    assert read(path).tolist() == COUNTS.tolist()


@pytest.mark.parametrize(
    ("options", "error", "found"),
    [
        ({"data": np.zeros((7500, 1))}, WrongShapeError, r"found shape \(7500, 1\)"),
        ({"data": 1.0}, WrongShapeError, r"found shape \(\)"),
        ({"data": h5py.Empty("f4")}, WrongShapeError, "found shape None"),
        ({"data": ["a"] * 9}, WrongTypeError, "integers or floats in eeg1"),
        ({"data": np.array([b"a"] * 9)}, WrongTypeError, "TypeStringID"),
        ({"data": np.zeros(9, "f4,f4")}, WrongTypeError, "TypeCompoundID"),
        ({"data": np.zeros(9, complex)}, WrongTypeError, "Complex|Compound"),
        ({"data": np.zeros(9, bool)}, WrongTypeError, "TypeEnumID"),
        ({"data": np.zeros(9, "V4")}, WrongTypeError, "TypeOpaqueID"),
        ({"shape": 9, "dtype": h5py.ref_dtype}, WrongTypeError, "Reference"),
        ({"shape": 9, "dtype": h5py.vlen_dtype("f4")}, WrongTypeError, "TypeVlenID"),
        ({"shape": 9, "dtype": np.dtype(("f4", (2,)))}, WrongTypeError, "TypeArrayID"),
        ({"data": np.zeros(100_001)}, TooLongError, "at most 100000 samples in eeg1, found 100001"),
        ({"shape": 2**62, "dtype": "f4", "chunks": 1000}, TooLongError, "found 4611686018427387904"),
        ({"shape": 90_000, "dtype": "f4"}, UnsafeFileError, "360000 bytes stored for eeg1, found 0"),
        ({"shape": 9000, "dtype": "f4", "chunks": 1000}, UnsafeFileError, "the chunk at 0 of eeg1, found no chunk"),
        ({"shape": 9000, "dtype": "f4", "external": "other.bin"}, UnsafeFileError, "external storage"),
        (
            {"shape": 9, "dtype": "f4", "chunks": 10**7, "maxshape": 10**7},
            UnsafeFileError,
            "chunks of at most 2097152 bytes in eeg1, found 40000000; `h5repack -f NONE`",
        ),
    ],
    ids=str,
)
def test_what_is_no_plain_row_of_numbers_is_refused(make, options, error, found):
    with pytest.raises(error, match="^night-1: expected .*" + found):
        read(make(**options))


def test_too_many_chunks_are_refused(make, monkeypatch):
    monkeypatch.setattr(safe_h5, "MAX_CHUNKS", 10)
    with pytest.raises(UnsafeFileError, match="at most 10 chunks in eeg1, found 11"):
        read(make(data=np.zeros(110), chunks=10))


@pytest.mark.parametrize(("filters", "found"), [([(1, (9,))] * 2, "1, 1"), ([(32001, (2, 2, 4, 4000))], "32001")])
def test_a_filter_used_twice_and_one_that_needs_a_plug_in_are_refused_with_the_remedy(make, filters, found):
    with pytest.raises(UnsafeFileError, match=rf"found HDF5 filters \[{found}\]; `h5repack -f NONE` writes a copy"):
        read(make(filtered(*filters)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.1e12, -3.5e38])
def test_what_is_no_number_is_a_gap(make, bad):
    found = read(make(data=[1.0, bad, 2.0]))
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[[0, 2]].tolist() == [1, 2]


@pytest.mark.parametrize(("value", "known"), [(9e11, True), (-9e11, True), (1.1e12, False), (-1.1e12, False)])
def test_a_value_counts_by_its_size_and_not_by_how_many_there_are(value, known):
    assert has_numbers(np.full(3, value, np.float32)) is known  # squares of three together are more than the limit's


def test_a_whole_night_in_one_packed_chunk_is_read_in_bounded_memory(make):
    values = np.arange(2_000_000) % 1000
    found = read(make(data=values, chunks=len(values), compression="gzip", shuffle=True), max_samples=10**7)
    assert (found == values).all()


def test_an_hour_in_each_plain_chunk_is_read(make):
    values = np.arange(1_800_000, dtype="f4")
    assert (read(make(data=values, chunks=900_000), max_samples=10**7) == values).all()


@pytest.mark.parametrize(
    "storage",
    [
        {"compression": "lzf"},
        {"compression": "lzf", "shuffle": True, "fletcher32": True},
        {"compression": "gzip", "fletcher32": True},
        {"fletcher32": True},
        {"scaleoffset": 0},
        {"scaleoffset": 0, "compression": "gzip"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["i2", "i4", "u8"])
def test_harmless_filters_are_read(make, storage, dtype):
    values = np.random.default_rng(0).integers(0, 3000, 7500).astype(dtype)
    values[2000:5000] = 7
    assert (read(make(data=values, chunks=999, **storage)) == values).all()


def test_a_float_signal_by_scale_offset_is_read(make):
    values = (np.random.default_rng(0).integers(-3000, 3000, 7500) / 100).astype("f4")
    assert np.abs(read(make(data=values, chunks=999, scaleoffset=2)) - values).max() < 0.006


LZF = {"copy": b"\0\0" + b"\xe0\xff\0" * 20_000, "literal": (b"\x1f" + bytes(32)) * 200, "cut": b"\x1f" + bytes(20)}


@pytest.mark.parametrize("content", LZF.values(), ids=LZF)
def test_an_lzf_chunk_of_another_size_than_declared_is_refused_unread(make, content, monkeypatch):
    path = make(one_chunk(content[:5000], compression="lzf"))
    monkeypatch.setattr(h5py.Dataset, "read_direct", lambda *_: pytest.fail("HDF5 unpacked it"))
    with pytest.raises(CaseFileError, match="expected 4000 bytes in the chunk at 0 of eeg1"):
        read(path)


@pytest.mark.parametrize("content", [bytes(3), b"\xff" * 40, b"\x20\0\0\0" + bytes(500)], ids=["head", "bits", "short"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_scale_offset_chunk_that_is_too_short_is_refused_unread(make, content, packed, monkeypatch):
    content, storage = (zlib.compress(content), {"compression": "gzip"}) if packed else (content, {})
    path = make(one_chunk(content, "i4", scaleoffset=0, **storage))
    monkeypatch.setattr(h5py.Dataset, "read_direct", lambda *_: pytest.fail("HDF5 unpacked it"))
    with pytest.raises(CaseFileError, match="expected 4000 bytes in the chunk at 0 of eeg1"):
        read(path)


@pytest.mark.parametrize(("number", "values"), [(32000, (4, 261, 2**31)), (32000, (4, 261, 10)), (6, (2, 0, 9, 0, 4))])
def test_a_filter_that_declares_another_size_than_its_chunk_is_refused(make, number, values):
    path = make(filtered((number, values)))
    with h5py.File(path) as file:
        created = file["eeg1"].id.get_create_plist()
        if created.get_nfilters() and created.get_filter(0)[2][: len(values)] == values:
            with pytest.raises(UnsafeFileError, match="h5repack"):
                read(path)
    assert not safe_h5._are_known(FakePlist(number, values), 1000, 4)


class FakePlist:
    """What is asked of a dataset's creation properties."""

    def __init__(self, number, values):
        self.filters = [(number, 0, values, b"")]

    def get_nfilters(self):
        return len(self.filters)

    def get_filter(self, i):
        return self.filters[i]


def test_attributes_are_read_where_they_are_short_and_few(make):
    def change(file):
        data = file.create_dataset("eeg1", data=COUNTS)
        data.attrs.update({"Units": "mV", "FS": np.int16(200), "bytes": np.bytes_("g"), "one": [0.5]})
        data.attrs["long"] = "x" * 5000
        data.attrs.update({"table": [[1, 2]], "empty": h5py.Empty("f4"), "flag": True})
        data.attrs["link"] = file.ref
        for i in range(80):
            file.require_dataset("many", (1,), "f4").attrs[f"a{i}"] = i

    with open_h5("night-1", make(change)) as file:
        assert attributes(file["eeg1"]) == {"units": "mV", "fs": 200.0, "bytes": "g", "one": 0.5}
        assert attributes(file["many"]) == {}


@pytest.mark.parametrize(("kind", "thing"), [("group", None), ("datatype", np.dtype("f4"))])
def test_a_group_and_a_named_type_are_no_signals(make, kind, thing):
    with pytest.raises(WrongShapeError, match=f"expected a dataset eeg1, found a {kind}"):
        read(make(lambda file: file.create_group("eeg1") if thing is None else file.__setitem__("eeg1", thing)))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("n_attributes", [0, 100])
def test_a_virtual_dataset_is_refused_before_hdf5_opens_it(tmp_path, libver, n_attributes, monkeypatch):
    path = tmp_path / "signal.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=512) as file:
        virtual = map_itself(file, "eeg1")
        for i in range(n_attributes):  # so that the header goes on in other places
            virtual.attrs[f"attribute {i}"] = i
    monkeypatch.setattr(h5py.Group, "__getitem__", lambda *_: pytest.fail("the dataset was opened"))
    with pytest.raises(UnsafeFileError, match="found a virtual dataset"):
        read(path)


def test_addresses_of_another_size_are_refused(tmp_path):
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_sizes(4, 4)
    with h5py.File(h5py.h5f.create(bytes(tmp_path / "signal.h5"), fcpl=created)) as file:
        file["eeg1"] = COUNTS
    with pytest.raises(UnsafeFileError, match="found addresses that are not of 8 bytes"):
        read(tmp_path / "signal.h5")


def test_many_small_chunks_take_no_longer_each(make):
    def seconds(n_chunks):
        path = make(data=np.zeros(n_chunks * 10, "i1"), chunks=10, compression=1)
        start = time.perf_counter()
        read(path, max_samples=10**6)
        return time.perf_counter() - start

    assert seconds(10_000) < 40 * min(seconds(1000) for _ in range(3))  # 10 times as many


def test_a_dataset_that_says_nothing_of_where_its_samples_lie_is_unreadable(make):
    path = make(data=COUNTS)
    with h5py.File(path) as file:
        header = file.id.links.get_info(b"eeg1").u
    content = bytearray(path.read_bytes())
    place = content.index(b"\x08\0\x18\0", header)  # the layout, of 24 bytes: now of none, and nothing of 16 follows
    content[place + 2 : place + 16] = struct.pack("<HB3xHHB3x", 0, 0, 0, 16, 0)
    content[header + 2] += 1  # messages
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="one that cannot be read"):
        read(path)


def test_a_header_that_goes_round_in_a_circle_ends(make):
    path = make(lambda file: file.create_dataset("eeg1", data=COUNTS).attrs.update({f"a{i}": i for i in range(50)}))
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        header = file.id.links.get_info(b"eeg1").u
    found = [i for i in range(header, header + 600, 8) if content[i : i + 4] == b"\x10\0\x10\0"]
    content[found[0] + 8 : found[0] + 24] = struct.pack("<QQ", header + 16, 256)
    path.write_bytes(content)
    with pytest.raises(CaseFileError):
        read(path)


@pytest.mark.parametrize("place", ["eeg1", "unrelated", "deep/down/here"])
@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("other.h5", "/eeg1"), h5py.ExternalLink("nowhere.h5", "/")],
    ids=["external", "dangling"],
)
def test_a_link_out_of_the_file_is_refused_wherever_it_is(make, tmp_path, place, link):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["eeg1"] = COUNTS

    def change(file):
        file["eeg2"] = COUNTS
        file[place] = link

    with pytest.raises(UnsafeFileError, match=f"expected a file without links to others, found a link at '{place}'"):
        read(make(change))


def test_soft_links_within_the_file_are_followed(make):
    def change(file):
        file["raw/channel 1"] = COUNTS
        file["raw/alias"] = h5py.SoftLink("channel 1")
        file["eeg1"] = h5py.SoftLink("/raw/alias")
        file["unrelated"] = h5py.SoftLink("/nowhere")

    assert read(make(change)).tolist() == COUNTS.tolist()


@pytest.mark.parametrize("target", ["/eeg1", "/eeg2"])
def test_soft_links_that_go_round_are_refused(make, target):
    def change(file):
        file["eeg1"] = h5py.SoftLink(target)
        file["eeg2"] = h5py.SoftLink("/eeg1")

    with pytest.raises(CaseFileError):
        read(make(change))


def test_a_soft_link_to_a_virtual_dataset_is_refused(make):
    def change(file):
        map_itself(file, "hidden")
        file["eeg1"] = h5py.SoftLink("/hidden")

    with pytest.raises(UnsafeFileError, match="found a virtual dataset"):
        read(make(change))


def test_a_file_of_very_many_entries_is_refused(make):
    def change(file):
        for i in range(safe_h5.MAX_LINKS + 1):
            file.create_group(str(i))

    with pytest.raises(UnsafeFileError, match="found more than 1000 entries"):
        read(make(change))


def test_groups_that_hold_each_other_do_no_harm(make):
    def change(file):
        file["eeg1"] = COUNTS
        file["loop"] = file.create_group("group")
        file["group/loop"] = file["group"]

    assert len(read(make(change))) == 7500


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("content", "gzip", "found"),
    [(zlib.compress(bytes(n)), True, "") for n in (0, 100, 3999, 4001, 10_000_000)]
    + [(bytes(100), False, "100"), (bytes(1_000_000), True, "no chunk, or far more")],
)
def test_a_chunk_of_another_size_than_declared_is_refused(make, content, gzip, shuffle, found):
    storage = {"compression": "gzip", "shuffle": shuffle} if gzip else {"shuffle": True}
    with pytest.raises(UnsafeFileError, match=f"expected 4000 bytes in the chunk at 0 of eeg1, found {found}"):
        read(make(one_chunk(content, **storage)))


@pytest.mark.parametrize("content", [b"no gzip", zlib.compress(bytes(4000))[:-6]], ids=["other", "cut"])
def test_a_damaged_gzip_chunk_is_unreadable(make, content):
    with pytest.raises(CaseFileError):
        read(make(one_chunk(content, compression="gzip")))


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak memory differs elsewhere")
def test_a_compression_bomb_takes_no_memory(make):
    def change(file):
        file.create_dataset("eeg1", (500_000,), "f4", chunks=500_000, compression="gzip")
        file["eeg1"].id.write_direct_chunk((0,), zlib.compress(bytes(2**30), 1))

    path = make(change)
    code = f"""
        import resource
        from pathlib import Path
        from dreem_case.nights.safe_h5 import UnsafeFileError, open_h5, read_values, signal_length
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with open_h5("night-1", Path({str(path)!r})) as file:
                read_values("night-1", "eeg1", file, 0, signal_length("night-1", "eeg1", file))
        except UnsafeFileError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 50_000  # kB


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    for path in tmp_path / "pipe.h5", tmp_path:
        with pytest.raises(UnreadableFileError, match="found something that is no regular file"):
            read(path)
    with pytest.raises(UnreadableFileError, match="found no file"):
        read(tmp_path / "absent.h5")


def test_a_stored_signal_reads_its_span_and_notices_a_changed_file(make):
    path = make(data=COUNTS)
    signal = StoredSignal("night-1", path, "eeg1", 250, "µV", "eeg", 0, 7500)
    part = pickle.loads(pickle.dumps(signal.crop(2, 20).crop(1, 4)))
    assert part.load().values.tolist() == COUNTS[750:1500].tolist()
    assert signal.crop(29, 99).n_samples == 250
    assert signal.crop(99, 199).load().n_samples == 0
    make(data=COUNTS[:1000])
    for stale in signal, part:
        with pytest.raises(UnreadableFileError, match="eeg1 as it was when opened, found a changed file"):
            stale.load()
    make(lambda file: file.create_group("other"))
    with pytest.raises(UnreadableFileError, match="a changed file"):
        part.load()


def test_values_come_in_the_unit_asked_for_and_a_gap_behind_the_last_one(make):
    path = make(data=8_388_608 + COUNTS % 100)
    signal = StoredSignal("night-1", path, "eeg1", 250, "µV", "eeg", 0, 8000, 7500, 0.5, -4_194_304.0)
    assert signal.crop(0, 10).load().values.tolist() == ((COUNTS % 100) / 2)[:2500].tolist()
    part = signal.crop(28, 32).load().values
    assert part[:500].tolist() == ((COUNTS % 100) / 2)[7000:].tolist()
    assert len(part) == 1000
    assert np.isnan(part[500:]).all()
    assert np.isnan(signal.crop(31, 32).load().values).all()


def test_a_flat_signal_in_small_chunks_is_known_without_being_read(make):
    n = 250 * 3600
    signal = StoredSignal("night-1", make(data=np.zeros(n, "i1"), chunks=1000), "eeg1", 250, "µV", "eeg", 0, n)
    assert signal.flat_value() == 0
    values = np.zeros(n, "i1")
    values[250 * 1800 + 100] = 1  # at one of the looks
    make(data=values, chunks=1000)
    assert signal.flat_value() is None
    make(data=np.full(n, np.nan, "f4"), chunks=1000)
    assert np.isnan(signal.flat_value())
    make(data=np.zeros(n, "f4"), chunks=n, compression="gzip")
    assert signal.flat_value() is None  # to look would be to unpack it all


def test_a_short_signal_that_begins_flat_is_not_flat(make):
    n = 250 * 240
    values = COUNTS[np.arange(n) % len(COUNTS)]
    values[:500] = 0
    assert StoredSignal("night-1", make(data=values, chunks=1000), "eeg1", 250, "µV", "eeg", 0, n).flat_value() is None


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files cannot be listed here")
def test_no_file_stays_open(make):
    path = make(data=COUNTS)
    signal = StoredSignal("night-1", path, "eeg1", 250, "µV", "eeg", 0, 7500)
    before = len(list(OPEN_FILES.iterdir()))
    signals = [signal.load() for _ in range(5)]
    assert len(list(OPEN_FILES.iterdir())) == before
    assert all(loaded.n_samples == 7500 for loaded in signals)


# What the system refuses is none of the file's faults


@pytest.fixture
def whole(make):
    return make(data=COUNTS)


def test_a_piece_that_the_disk_does_not_give_is_no_fault_of_the_file(whole, tmp_path):
    elsewhere = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)  # which nothing can be read from
    try:
        with (
            pytest.raises(FileUnavailable, match=r"^night-1: .* found: Bad file descriptor$"),
            open_h5("night-1", whole) as file,
        ):
            signal_length("night-1", "eeg1", file)
            os.dup2(elsewhere, file.id.get_vfd_handle())
            read_values("night-1", "eeg1", file, 0, 7500)
    finally:
        os.close(elsewhere)
    assert read(whole).tolist() == COUNTS.tolist()


@pytest.mark.parametrize("chunks", [1000, None])
def test_a_header_or_a_chunk_that_the_disk_does_not_give_is_no_fault_of_the_file(make, tmp_path, chunks):
    path, elsewhere = make(data=COUNTS, chunks=chunks), os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(FileUnavailable), open_h5("night-1", path) as file:
            os.dup2(elsewhere, file.id.get_vfd_handle())
            n_samples = signal_length("night-1", "eeg1", file)
            read_values("night-1", "eeg1", file, 0, n_samples)
    finally:
        os.close(elsewhere)


def test_a_process_with_too_many_open_files_says_nothing_of_this_one(whole):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(FileUnavailable, match="Too many open files"):
            read(whole)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(read(whole)) == 7500


def test_a_file_without_a_right_to_read_it_is_no_bad_file(whole):
    whole.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(FileUnavailable, match="Permission denied"):
            read(whole)
    finally:
        os.seteuid(user)
    whole.chmod(0o600)
    assert len(read(whole)) == 7500


def test_a_file_that_somebody_writes_can_be_had_later(whole):
    with whole.open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        with pytest.raises(FileUnavailable, match="Resource temporarily unavailable"):
            read(whole)
    assert len(read(whole)) == 7500


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES])
def test_where_there_are_no_locks_a_file_is_read_without(whole, monkeypatch, number):
    opened, asked = h5py.File, []

    def without_locks(path, mode, locking=None):
        asked.append(locking)
        if locking is None:
            raise OSError(number, f"Unable to synchronously open file (unable to lock file, errno = {number}, ...)")
        return opened(path, mode, locking=locking)

    monkeypatch.setattr(h5py, "File", without_locks)
    assert read(whole).tolist() == COUNTS.tolist()
    assert asked == [None, False]


@pytest.mark.parametrize("call", ["flock", "openat", "pread64"])
@pytest.mark.parametrize("name", ["ENOLCK", "EIO", "ESTALE", "ETIMEDOUT"])
def test_what_a_server_of_files_refuses_is_no_fault_of_the_file(whole, call, name):
    """Errors as a disk or NFS gives them, by strace: all but a lock that is not there are the system's."""
    if not (strace := shutil.which("strace")):
        pytest.skip("strace is not at hand")
    code = (
        "import sys; from pathlib import Path; from dreem_case.nights.casefile import open_night\n"
        "try: print(len(open_night(Path(sys.argv[1])).load().signals['eeg1'].values))\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={name}"]
    command = [strace, "-f", "-qq", "-o", os.devnull, "-P", whole, *inject, sys.executable, "-c", code, whole]
    run = subprocess.run(command, capture_output=True, text=True)
    if "PTRACE" in run.stderr.upper():
        pytest.skip("no process may be traced here")
    assert run.stdout.strip() == ("7500" if call == "flock" else "FileUnavailable"), run.stderr


@pytest.mark.parametrize("text", ["errno = 5", "(file read failed: time = 0, errno = 5, error message = 'x')"])
def test_words_in_a_file_are_no_words_of_the_system(make, text):
    """A hostile file would else be tried for ever."""
    error = OSError(f"Can't synchronously read data (required filter '{text}' is not registered)")
    assert safe_h5._refusal(error) == ""
    path = make(lambda file: file.create_dataset("eeg1", data=COUNTS, chunks=1000, compression="lzf"))
    path.write_bytes(path.read_bytes().replace((32000).to_bytes(2, "little"), (32001).to_bytes(2, "little")))
    with pytest.raises(CaseFileError):
        read(path)


@pytest.mark.parametrize("n_bytes", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 2**20])
@pytest.mark.parametrize("fill", [bytes, random.Random(0).randbytes])
def test_what_gzip_unpacks_to_is_measured_in_pieces(n_bytes, fill):
    content = fill(n_bytes)
    packed = memoryview(zlib.compress(content, 1))
    assert safe_h5._inflated(packed, 2**21) == (content[:4], n_bytes)
    assert safe_h5._inflated(packed, 1000) == (content[:4], min(n_bytes, 1000))
    begin, size = safe_h5._inflated(packed[:-7], 2**21)
    assert content.startswith(begin) and size <= n_bytes
