"Rules of the simulator's fit: which nights it may read, and that the committed table is what it finds."

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dreem_case.nights.stages import Stage
from dreem_case.simulate import tables as calibrate
from dreem_case.simulate.hypnograms import simulation_table


@pytest.fixture(scope="module")
def nights():
    "Twenty-seven nights of made-up bins, with every stage in each."
    rng = np.random.default_rng(0)
    stage, night = np.tile(np.repeat(np.arange(5), 30), 27), np.repeat(np.arange(27), 150)
    level = np.array([5.0, 3, 3, 4, 2])[stage] + rng.normal(0, 1, 27)[night]
    slope = np.array([-14.0, -15, -18, -24, -14])[stage] + rng.normal(0, 1, 27)[night]
    numbers = np.stack([level, slope, np.full(len(stage), 3.0), (stage == 2) * 2.0], axis=1)
    bins = numbers @ calibrate.spectrum_shapes(calibrate.BINS_HZ) + rng.normal(0, 1, (len(stage), 18))
    return {"log_psd_db": bins.astype(np.float32), "stage": stage.astype(np.int8), "night": night.astype(np.int16)}


def fitted(path: Path, data: dict, monkeypatch) -> dict:
    np.savez(path, **data)
    quick = partial(calibrate.fit_background, n_rounds=1, n_nights=1)
    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "fit_background", quick)
        return calibrate.fit_table(simulation_table(), path)


def test_the_fit_reads_no_night_from_14_on(nights, tmp_path, monkeypatch):
    kept = fitted(tmp_path / "kept.npz", nights, monkeypatch)
    judging, rng = nights["night"] >= calibrate.N_FIT_NIGHTS, np.random.default_rng(1)
    changed = {**nights, "log_psd_db": nights["log_psd_db"].copy(), "stage": nights["stage"].copy()}
    changed["log_psd_db"][judging] = rng.normal(50, 30, (judging.sum(), 18))
    changed["stage"][judging] = rng.permutation(changed["stage"][judging])
    assert fitted(tmp_path / "changed.npz", changed, monkeypatch) == kept
    without = {name: values[~judging] for name, values in nights.items()}
    assert fitted(tmp_path / "without.npz", without, monkeypatch) == kept


def test_the_fit_does_read_the_nights_before(nights, tmp_path, monkeypatch):
    louder = {**nights, "log_psd_db": nights["log_psd_db"] + np.float32(3)}
    a, b = fitted(tmp_path / "a.npz", nights, monkeypatch), fitted(tmp_path / "b.npz", louder, monkeypatch)
    assert a["background"]["N2"][0] < b["background"]["N2"][0]


def test_numbers_of_a_spectrum_come_back_out_of_it():
    numbers = np.array([[3.0, -18, 4, 2], [5, -14, 0, 1]])
    bins = numbers @ calibrate.spectrum_shapes(calibrate.BINS_HZ)
    assert np.allclose(calibrate.spectrum_numbers(bins), numbers)


def test_a_stage_that_is_too_rare_is_named(nights):
    few = nights["stage"] != Stage.REM
    with pytest.raises(ValueError, match="still epochs of REM"):
        calibrate.describe_nights(nights["log_psd_db"][few], nights["stage"][few], nights["night"][few])


def test_confusions_leave_out_what_is_unscored():
    table = calibrate.confusions([(np.array([0, 1, -1]), np.array([0, 2, 3]))])
    assert table[0, 0] == 0.5 and table[1, 2] == table[2, 1] == 0.25 and table.sum() == 1


def test_fitting_scorers_moves_confusions_towards_those_wanted():
    wanted = np.eye(5) * 0.17 + 0.0075 * (1 - np.eye(5))
    start = {**simulation_table()["scorers"], "unlike": (6 * (1 - np.eye(5))).tolist()}
    assert np.mean(calibrate.fit_scorers(wanted, start, n_rounds=3, n_nights=3)["unlike"]) < 6 * 0.8


def test_the_committed_table_is_what_the_real_nights_give():
    path = Path(os.environ.get("DREEM_CASE_DATA", "../shared/data")) / "headband_spectra" / "nights.npz"
    if not path.is_file():
        pytest.skip(f"headband spectra are not at {path}")
    table, real = simulation_table(), calibrate.fit_nights(path)
    described = calibrate.describe_nights(*real)
    assert calibrate.between_nights(described) == table["between_nights"]
    assert calibrate.slow_share(*real, table["within_night_keep"]) == table["within_night_slow_share"]
    simulated = calibrate.describe_nights(*calibrate.trial_nights(table, 8))
    for stage in (Stage.N2, Stage.DEEP, Stage.REM):
        assert np.abs(simulated["medians"][stage] - described["medians"][stage]).mean() < 2
