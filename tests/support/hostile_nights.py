"""Hostile h5 files by seed: broken bytes, and whole structures that no recorder writes.

`write_hostile_night(path, seed, bait)` always makes the same file for a seed. `bait` is a whole night outside the
store, which links, external storage and virtual datasets point at: nobody may open it.
"""

import random
import struct
from pathlib import Path

import h5py
import numpy as np

from dreem_case.nights.casefile import ACCELEROMETER_NAMES, EEG_NAMES

N_EPOCHS = 2
SAMPLES = N_EPOCHS * 7500
CHUNK = 2500
SIZES = [0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
SIGNATURES = [b"TREE", b"HEAP", b"SNOD", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN"]
SIGNATURES += [b"FADB", b"FAHD", b"EAHD", b"EAIB", b"EADB", b"EASB", b"GCOL", b"FSHD", b"FSSE", b"\x89HDF"]


def fill(file, **storage):
    """Put a short night into an open h5 file."""
    rng = np.random.default_rng(0)
    for name in EEG_NAMES:
        file.create_dataset(name, data=rng.normal(0, 20, SAMPLES).astype(np.float32), **storage)
    for name in ACCELEROMETER_NAMES:
        file.create_dataset(name, data=rng.normal(0, 0.01, SAMPLES // 5).astype(np.float32), **storage)


def fill_with_extras(file):
    """Put a short night, many attributes, groups and texts into an open h5 file."""
    fill(file, chunks=CHUNK, compression="gzip")
    for i in range(40):
        file["eeg1"].attrs[f"attribute {i}"] = "text " * i
        file.create_group(f"group/{i}")
    file["texts"] = ["one", "two"]


# How the file is made, how it is filled: each of them keeps its metadata in other structures.
LAYOUTS = [
    ({}, fill),
    ({}, lambda file: fill(file, chunks=CHUNK)),
    ({}, lambda file: fill(file, chunks=CHUNK, compression="gzip", shuffle=True)),
    ({}, fill_with_extras),
    ({"userblock_size": 512}, fill),
    ({"libver": "latest"}, fill),
    ({"libver": "latest"}, lambda file: fill(file, chunks=CHUNK, compression="gzip")),
    ({"libver": "latest"}, lambda file: fill(file, chunks=CHUNK, maxshape=(None,), shuffle=True)),
    ({"libver": "latest"}, fill_with_extras),
    ({"fs_strategy": "page", "fs_persist": True}, fill_with_extras),
]


def write_night(path, options, fill_it):
    """Write a whole file, and return where its metadata lies: all that is no sample."""
    with h5py.File(path, "w", **options) as file:
        fill_it(file)
    is_sample = np.zeros(path.stat().st_size, bool)
    with h5py.File(path) as file:
        for name in (*EEG_NAMES, *ACCELEROMETER_NAMES):
            for offset, size in stored_at(file[name]):
                is_sample[offset : offset + size] = True
    return np.flatnonzero(~is_sample).tolist()


def stored_at(dataset):
    """List where a dataset's samples lie: (offset, bytes)."""
    if dataset.chunks is None:
        return [(dataset.id.get_offset(), dataset.id.get_storage_size())]
    chunks = (dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks()))
    return [(chunk.byte_offset, chunk.size) for chunk in chunks]


# Broken bytes: (random numbers, content, places of metadata) -> content


def flip_bits(rng, content, places):
    """Flip a few bits of the metadata."""
    for _ in range(rng.randint(1, 8)):
        place = rng.choice(places) % len(content)
        content[place] ^= 1 << rng.randrange(8)


def change_sizes(rng, content, places):
    """Write a number that a program may trip over where a size, a count or an address may stand."""
    for _ in range(rng.randint(1, 3)):
        n_bytes = rng.choice([1, 2, 4, 8])
        place = rng.choice(places) // n_bytes * n_bytes
        number = rng.choice([*SIZES, rng.randrange(2**64), rng.randrange(len(content))])
        put(content, place, (number % 2 ** (8 * n_bytes)).to_bytes(n_bytes, "little"))


def break_structure(rng, content, places):
    """Change bytes behind the signature of one of HDF5's own structures."""
    whole = bytes(content)
    found = [i for signature in SIGNATURES for i in occurrences(whole, signature)]
    place = rng.choice(found) + rng.randrange(4, 80)
    put(content, place, rng.choice([rng.randbytes(1), rng.randbytes(4), b"\xff" * 8, bytes(8)]))


def swap_addresses(rng, content, places):
    """Let an address lead to another structure, which may be the one it stands in."""
    whole = bytes(content)
    structures = [i for signature in SIGNATURES for i in occurrences(whole, signature)]
    pointers = [i for target in structures[1:] for i in occurrences(whole, target.to_bytes(8, "little"))]
    for _ in range(rng.randint(1, 3)):
        if pointers:
            put(content, rng.choice(pointers), rng.choice(structures).to_bytes(8, "little"))


def splice(rng, content, places):
    """Copy a block of metadata over another."""
    size, start = rng.choice([8, 24, 64, 512]), rng.choice(places)
    put(content, rng.choice(places), bytes(content[start : start + size]))


def shift(rng, content, places):
    """Insert or delete a few bytes."""
    place, size = rng.choice(places), rng.choice([1, 4, 8, 512])
    if rng.random() < 0.5:
        del content[place : place + size]
    else:
        content[place:place] = rng.randbytes(size)


def cut(rng, content, places):
    """Leave out the end."""
    del content[rng.choice([rng.randrange(len(content)), rng.randrange(4096), len(content) - 1]) :]


def put(content, place, new):
    """Overwrite bytes, none of them past the end."""
    content[place : place + len(new)] = new[: max(len(content) - place, 0)]


def occurrences(content, part):
    """List all places of a part."""
    places, place = [], content.find(part)
    while place >= 0:
        places.append(place)
        place = content.find(part, place + 1)
    return places


MUTATIONS = [flip_bits, change_sizes, break_structure, swap_addresses, splice, shift, cut]


def reseal(content):
    """Make the checksums of the newer structures right again, so that what was changed is believed."""
    for start, stop in list(sealed(content)):
        if 0 < stop - start < 2**14 and stop + 4 <= len(content):
            put(content, stop, checksum(bytes(content[start:stop])).to_bytes(4, "little"))


def sealed(content):
    """Find the structures that a checksum follows: (start, stop)."""
    whole = bytes(content)
    if whole[8:9] > b"\1":
        yield 0, 44  # the superblock
    for signature, size in ((b"BTHD", 34), (b"EAHD", 68), (b"FAHD", 24), (b"FRHP", 142)):
        yield from ((start, start + size) for start in occurrences(whole, signature))
    for start in occurrences(whole, b"OHDR"):
        flags = (whole[start + 5 : start + 6] or b"\0")[0]
        head, width = start + 6 + (flags >> 1 & 16) + (flags >> 2 & 4), 1 << (flags & 3)
        yield start, head + width + int.from_bytes(whole[head : head + width], "little")


def checksum(key):
    """Compute Bob Jenkins' lookup3, which HDF5 uses."""
    mask = 2**32 - 1

    def rotated(x, k):
        return (x << k | x >> (32 - k)) & mask

    words = struct.unpack(f"<{-(-len(key) // 12) * 3}I", key + bytes(-len(key) % 12))
    a = b = c = 0xDEADBEEF + len(key) & mask
    for i in range(0, len(words), 3):
        a, b, c = a + words[i] & mask, b + words[i + 1] & mask, c + words[i + 2] & mask
        for k in (4, 6, 8, 16, 19, 4) if i + 3 < len(words) else ():
            a, b, c = b, c + b & mask, (a - c & mask) ^ rotated(c, k)
    for k in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - rotated(b, k) & mask, a
    return b


# Whole structures: (open file, random numbers, bait); those that have a test of their own are in test_safe_h5


def put_instead(file, name, make):
    """Replace a signal."""
    if name in file:
        del file[name]
    make(name)


def link_outside(file, rng, bait):
    """Point a name, or a name somewhere below, to a night outside."""
    link = rng.choice([h5py.ExternalLink(bait, "/eeg1"), h5py.ExternalLink(bait, "/"), h5py.SoftLink("/eeg2")])
    put_instead(
        file, rng.choice(["eeg1", "eeg7", "deep/down/eeg1", "accelerometer_x"]), lambda n: file.__setitem__(n, link)
    )


def store_outside(file, rng, bait):
    """Keep samples in another file."""
    place = rng.choice([(str(bait), 0, h5py.h5f.UNLIMITED), (str(bait), 2048, SAMPLES * 4)])
    put_instead(file, "eeg1", lambda n: file.create_dataset(n, (SAMPLES,), "f4", external=[place]))


def map_outside(file, rng, bait):
    """Make a virtual dataset of another file's samples."""
    layout = h5py.VirtualLayout(SAMPLES, "f4")
    layout[:] = h5py.VirtualSource(rng.choice([str(bait), "."]), rng.choice(["eeg1", "eeg2"]), SAMPLES)
    put_instead(file, "eeg1", lambda n: file.create_virtual_dataset(n, layout))


def define_type(file, rng, bait):
    """Define a number type of any width, precision and exponent."""
    kind = rng.choice([h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F32BE, h5py.h5t.STD_I64BE, h5py.h5t.STD_U16LE]).copy()
    for setting in rng.sample(["size", "precision", "offset", "fields", "bias"], rng.randint(1, 5)):
        try:
            if setting == "fields":
                kind.set_fields(*(rng.randrange(64) for _ in range(5)))
            elif setting == "bias":
                kind.set_ebias(rng.randrange(2**31))
            else:
                getattr(kind, f"set_{setting}")(rng.randrange(1, 20 if setting == "size" else 80))
        except (ValueError, RuntimeError, TypeError, AttributeError):
            continue  # HDF5 does not let us make this one
    space = h5py.h5s.create_simple((SAMPLES,))

    def make(name):
        try:
            dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
        except ValueError:  # too odd for HDF5 to write
            dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F64BE, space)
        stored = dataset.get_type()
        content = np.frombuffer(rng.randbytes(SAMPLES * stored.get_size()), f"V{stored.get_size()}")
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, content, stored)

    put_instead(file, "eeg1", make)


def store_no_numbers(file, rng, bait):
    """Put NaN, infinity or far too large values between the samples."""
    for _ in range(rng.randint(1, 5)):
        value = rng.choice([np.nan, np.inf, -np.inf, 1e13, -3e38])
        file[rng.choice(["eeg1", "eeg4", "accelerometer_z"])][rng.randrange(SAMPLES // 5)] = value


def store_extremes(file, rng, bait):
    """Keep to the rules with signals that are hard to compute with."""
    value = rng.choice([0, 1e12, -1e12, 1e-45, 1e-30])
    for name in (*EEG_NAMES, *ACCELEROMETER_NAMES):
        sign = np.where(np.arange(file[name].size) % 2, 1, rng.choice([1, -1]))
        file[name][:] = value * sign


def nest(file, rng, bait):
    """Nest groups deeply, or put very many side by side."""
    if rng.random() < 0.5:
        group = file
        for _ in range(rng.choice([100, 999, 5000])):
            group = group.create_group("g")
    else:
        for i in range(rng.choice([100, 989, 3000])):
            file.create_group(f"group {i}")


def add_attributes(file, rng, bait):
    """Hang very large or very many attributes on the file and a signal."""
    holder = rng.choice([file, file["eeg1"]])
    for i in range(rng.choice([1, 500])):
        holder.attrs.create(f"{i} " + "n" * rng.choice([1, 2000]), "v" * rng.choice([1, 60_000]))


def odd_names(file, rng, bait):
    """Give names that are no text, very long, or look like paths."""
    for name in [b"\xff\xfe", b"n" * 60_000, b"..", b"\xe2\x80\xae1gee", b"eeg1 ", b"\n\x1b[31m"]:
        if rng.random() < 0.5:
            h5py.h5g.create(file.id, name)
    for name in EEG_NAMES[: rng.choice([1, 7])]:
        file.move(name, name.upper())


STRUCTURES = [link_outside, store_outside, map_outside, define_type, store_no_numbers, store_extremes, nest]
STRUCTURES += [add_attributes, odd_names]


def write_hostile_night(path: Path, seed: int, bait: Path) -> str:  # what was done to the file
    """Write a file that was a short night before it was tampered with.

    A third of the seeds change the structure, a half the bytes of the metadata, the rest both.
    """
    rng = random.Random(seed)
    kind, done = seed % 6, []
    places = write_night(path, *rng.choice(LAYOUTS))
    if kind < 3:
        structure = STRUCTURES[(seed // 6 * 3 + kind) % len(STRUCTURES)]
        done.append(structure.__name__)
        with h5py.File(path, "r+") as file:
            structure(file, rng, bait)
        size = path.stat().st_size
        places = [place for place in range(size) if place < 4096 or place >= size - 4096]
    if kind > 1:
        content = bytearray(path.read_bytes())
        for mutate in rng.choices(MUTATIONS, k=rng.choice([1, 1, 1, 2])):
            done.append(mutate.__name__)
            mutate(rng, content, places)
        if rng.random() < 0.5:
            reseal(content)
        path.write_bytes(content)
    return ", ".join(done)
