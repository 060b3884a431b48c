"""Bands of nights: what is read, what is refused, and that no statistic and no person crosses a split."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.array_files import ArrayError
from dreem_case.transfer import band_models
from dreem_case.transfer.band_models import fit_and_score
from dreem_case.transfer.bands import (
    KINDS,
    BandError,
    BandNight,
    bands_of_bins,
    folds_of_people,
    night_inputs,
    on_grid,
    read_headband,
    read_sleep_edf_bands,
    trimmed,
)


def arrays(n_nights: int = 4, n: int = 60) -> dict[str, np.ndarray]:
    """Make a file's arrays: two nights a person."""
    random, total = np.random.default_rng(3), n_nights * n
    return {
        "stage": np.tile(np.repeat(np.arange(5), n // 5), n_nights).astype(np.int8),
        "band_db": random.normal(10, 4, (total, 4)).astype(np.float32),
        "variance_db": random.normal(20, 4, total).astype(np.float32),
        "peak_to_peak_uv": random.uniform(20, 200, total).astype(np.float32),
        "person": np.repeat(np.arange(n_nights) // 2, n).astype(np.int16),
        "recording": np.repeat([f"SC4{i // 2:02}{i % 2 + 1}E0" for i in range(n_nights)], n),
    }


def written(folder, **changed) -> object:
    """Write a file with some arrays changed; None leaves one out."""
    path = folder / "bands.npz"
    np.savez(path, **{key: value for key, value in (arrays() | changed).items() if value is not None})
    return path


def made_up(name: str, n: int = 80, person: str = "") -> BandNight:
    random = np.random.default_rng(len(name))
    size, bins = random.normal(30, 5, (n, 2)), random.normal(0, 5, (n, 18))
    return BandNight(name, person or name, random.normal(5, 4, (n, 4)), np.arange(n) % 5, np.arange(n), size, bins)


def test_recordings_come_out_in_order_with_their_people(tmp_path):
    nights = read_sleep_edf_bands(written(tmp_path))
    assert [(night.name, night.person, len(night)) for night in nights] == [
        ("SC4001E0", "0", 60), ("SC4002E0", "0", 60), ("SC4011E0", "1", 60), ("SC4012E0", "1", 60),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stage": np.full(240, 5, np.int8)}, "stages 0 to 4"),
        ({"stage": np.zeros(0, np.int8)}, "shape"),
        ({"stage": np.int8(1)}, "stage of shape"),
        ({"band_db": None}, "array band_db"),
        ({"band_db": np.zeros((240, 5), np.float32)}, "band_db of shape"),
        ({"band_db": np.zeros((239, 4), np.float32)}, "band_db of shape"),
        ({"variance_db": np.full(240, "x")}, "variance_db of a kind"),
        ({"person": np.arange(240)}, "of one person"),
        ({"recording": np.tile(["SC4001E0", "SC4002E0"], 120)}, "once"),
        ({"recording": np.array([None] * 240)}, "file of bands"),
        ({"band_db": np.full((240, 4), 2e3, np.float32)}, "band_db in dB re 1 µV²/Hz, found 2e\\+03"),
        ({"band_db": arrays()["band_db"] - 60}, "band_db in dB re"),  # of a signal in mV
    ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, changed, said):
    with pytest.raises(ArrayError, match=said):
        read_sleep_edf_bands(written(tmp_path, **changed))


@pytest.mark.parametrize("array, kind, shape, said", [
    ("band_db", "<f4", "(99999999999, 4)", "at most"),
    ("recording", "<U99999999", "(240,)", r"at most .* recording of shape"),
])
def test_numbers_or_texts_that_promise_too_much_are_refused_before_they_are_read(tmp_path, array, kind, shape, said):
    path = written(tmp_path)
    fields = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header = b"\x93NUMPY\x01\x00\x76\x00" + fields.encode()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "big.npz", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, header.ljust(128) if name == f"{array}.npy" else old.read(name))
    with pytest.raises(ArrayError, match=said):
        read_sleep_edf_bands(tmp_path / "big.npz")


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_a_damaged_file_is_read_as_before_or_refused(tmp_path_factory, seed, n_bytes):
    folder, random = tmp_path_factory.mktemp("damaged"), np.random.default_rng(seed)
    content = bytearray(written(folder).read_bytes())
    for place in random.integers(0, len(content), n_bytes):
        content[place] = random.integers(256)
    (folder / "bands.npz").write_bytes(bytes(content))
    try:
        nights = read_sleep_edf_bands(folder / "bands.npz")
    except ArrayError:
        return
    assert sum(map(len, nights)) == 240


@pytest.mark.parametrize("content", [b"", b"name:x:0", "npy"])
def test_what_is_no_npz_is_said_in_plain_words(tmp_path, content):
    path = tmp_path / "bands.npz"
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ArrayError, match=r"bands.npz: expected a file of bands \(npz\), found something else"):
        read_sleep_edf_bands(path)


@pytest.mark.parametrize("swing", [np.nan, -50.0, 0.0, np.inf])
def test_an_epoch_without_a_swing_counts_as_not_recorded(tmp_path, swing):
    given = arrays()["peak_to_peak_uv"].copy()
    given[5] = swing
    night = read_sleep_edf_bands(written(tmp_path, peak_to_peak_uv=given))[0]
    assert np.flatnonzero(np.isnan(night.size).all(axis=1)).tolist() == [5] and np.isnan(night.bands[5]).all()


def test_an_epoch_without_numbers_stays_and_counts_as_not_recorded(tmp_path):
    bands = arrays()["band_db"]
    bands[7] = np.nan
    night = read_sleep_edf_bands(written(tmp_path, band_db=bands))[0]
    assert len(night) == 60
    inputs = night_inputs(night, "size")
    assert (inputs[7] == 0).all() and np.isfinite(inputs).all()


def test_a_gap_of_a_headband_night_stays_a_gap(tmp_path):
    epoch = np.array([0, 1, 2, 10, 11])
    np.savez(
        tmp_path / "h.npz", stage=np.zeros(5, int), night=np.zeros(5, int), epoch=epoch, log_psd_db=np.zeros((5, 18))
    )
    night = read_headband(tmp_path / "h.npz")[0]
    assert len(on_grid(night_inputs(night, "bins"), night.epoch)) == 12


def test_bands_are_mean_densities():
    flat = np.full((3, 18), 7.0)
    assert np.allclose(bands_of_bins(flat), 7)
    one = np.full((1, 18), -100.0)
    one[0, 4] = 10
    assert np.allclose(bands_of_bins(one)[0, 1], 10 - 10 * np.log10(4))


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_have_their_stated_width(kind):
    assert night_inputs(made_up("a"), kind).shape == (80, KINDS[kind])


def test_scaled_bands_do_not_change_with_the_level_of_a_device():
    night = made_up("a")
    louder = BandNight("a", "a", night.bands + 12, night.stage, night.epoch)
    assert np.allclose(night_inputs(night), night_inputs(louder), atol=1e-5)


def test_both_nights_of_a_person_come_into_one_fold():
    nights = [made_up(f"n{i}", person=f"p{i // 2}") for i in range(20)]
    folds = folds_of_people(nights, 5)
    assert all(folds[2 * i] == folds[2 * i + 1] for i in range(10)) and set(folds) == set(range(5))


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"stage": np.full(80, -1)}, "a scored epoch at least"), ({"bands": np.full((80, 4), np.nan)}, "with numbers")],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_learned(monkeypatch, changed, said):
    monkeypatch.setattr(band_models, "fit_best", lambda *_: pytest.fail("learned before it looked"))
    with pytest.raises(BandError, match=said):
        fit_and_score([made_up("a")], [replace(made_up("bb"), **changed)])


def test_a_person_in_both_files_is_refused():
    nights = [made_up(f"n{i}", person=f"p{i // 2}") for i in range(4)]
    with pytest.raises(BandError, match="none in both files"):
        fit_and_score(nights[:3], nights[3:])


def test_trimming_never_cuts_between_first_and_last_sleep():
    stage = np.array([0] * 20 + [2] * 5 + [0] * 30 + [4] * 5 + [0] * 20)
    night = BandNight("a", "a", np.zeros((80, 4)), stage, np.arange(80))
    assert trimmed(night, 10).epoch.tolist() == list(range(10, 70))
    assert len(trimmed(BandNight("b", "b", np.zeros((5, 4)), np.zeros(5, int), np.arange(5)), 1)) == 5
