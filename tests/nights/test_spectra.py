"""Nights as spectra: what a file may hold, and what is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.array_files import ArrayError
from dreem_case.nights.spectra import read_spectra


def arrays():
    """Make three nights of fifty epochs."""
    spectra = np.random.default_rng(0).normal(0, 4, (150, 18)).astype(np.float32)
    night, epoch = np.repeat(np.arange(3), 50).astype(np.int16), np.tile(np.arange(50), 3).astype(np.int16)
    return {"log_psd_db": spectra, "night": night, "epoch": epoch, "stage": (np.arange(150) % 6 - 1).astype(np.int8)}


def written(folder, **changed):
    """Write a file with some arrays changed; None leaves one out."""
    path = folder / "nights.npz"
    np.savez(path, **{key: value for key, value in (arrays() | changed).items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stage": np.full(150, 5, np.int8)}, "stages 0 to 4"),
        ({"stage": np.zeros(0, np.int8)}, "one epoch at least"),
        ({"log_psd_db": None}, "an array log_psd_db"),
        ({"log_psd_db": np.zeros((150, 17), np.float32)}, "log_psd_db of shape"),
        ({"log_psd_db": np.full((150, 18), "x")}, "log_psd_db of a kind"),
        ({"log_psd_db": 10 ** (arrays()["log_psd_db"] / 2)}, "log_psd_db in dB re 1 µV²/Hz"),  # plain powers
        ({"epoch": np.zeros(150, np.int16)}, "rising epochs"),
        ({"epoch": np.tile(np.arange(50)[::-1], 3).astype(np.int16)}, "rising epochs"),
        ({"epoch": np.tile(np.arange(-1, 49), 3).astype(np.int16)}, "rising epochs"),
        ({"epoch": np.tile(np.r_[np.arange(49), 30000], 3).astype(np.int16)}, "at most two days"),
        ({"night": np.zeros(149, np.int16)}, "night of shape"),
    ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, changed, said):
    with pytest.raises(ArrayError, match=said):
        read_spectra(written(tmp_path, **changed))


def test_nights_come_out_with_their_gaps_and_what_is_no_number_was_not_recorded(tmp_path):
    spectra, epoch = arrays()["log_psd_db"], arrays()["epoch"]
    epoch[10:50] += 5
    spectra[20, 3] = np.inf
    nights = read_spectra(written(tmp_path, epoch=epoch, log_psd_db=spectra))
    assert [night.name for night in nights] == ["night 0", "night 1", "night 2"]
    assert nights[0].epoch.tolist() == [*range(10), *range(15, 55)]
    assert np.flatnonzero(np.isnan(nights[0].spectra_db).any(axis=1)).tolist() == [20]
    assert np.isnan(nights[0].spectra_db[20]).all()
    assert np.concatenate([night.stage for night in nights]).tolist() == arrays()["stage"].tolist()


@given(st.binary(max_size=300))
def test_bytes_that_are_no_file_of_nights_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "nights.npz"
    path.write_bytes(content)
    with pytest.raises(ArrayError):
        read_spectra(path)
