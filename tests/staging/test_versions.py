"""The numbers that saved models fit stand for what features and rows mean: the same number, the same figures.

After a change that is meant: raise the number, and write the figures anew with `python -m tests.staging.test_versions`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from dreem_case.nights.night import Night, Signal
from dreem_case.staging.design_matrix import ROWS_VERSION, RowMaker
from dreem_case.staging.features import FEATURES_VERSION, night_features

FIGURES = Path(__file__).with_name("versions.json")
N_EPOCHS = 24


def fixed_night() -> Night:
    """Make a night of slow waves, spindles and noise that come and go, with a still and a moving head."""
    random = np.random.default_rng(20)
    time = np.arange(N_EPOCHS * 30 * 250) / 250
    depth = np.sin(time / 90) ** 2
    slow, spindle = 60 * depth * np.sin(2 * np.pi * 0.9 * time), 12 * (1 - depth) * np.sin(2 * np.pi * 13 * time)
    signals = {
        f"eeg{place}": Signal(
            (gain * (slow + spindle + random.normal(0, 8, len(time)))).astype(np.float32), 250, "µV", "eeg"
        )
        for place, gain in ((1, 1.0), (4, 0.5))
    }
    n = N_EPOCHS * 30 * 50
    for axis, height in zip("xyz", (0.1, 0.3, 0.9), strict=True):
        turns = height + 0.2 * (np.arange(n) // 9000 % 2) + random.normal(0, 0.002, n)
        signals[f"accelerometer_{axis}"] = Signal(turns.astype(np.float32), 50, "g", "accelerometer")
    return Night("fixed", signals, N_EPOCHS)


def figures() -> dict:
    """Compute what each version stands for."""
    night = night_features(fixed_night())
    rows = RowMaker.fit([night], [np.arange(N_EPOCHS) % 5])(night)
    return {
        "features": {"version": FEATURES_VERSION, "figures": summary(night.eeg[0], night.eeg[1], night.accelerometer)},
        "rows": {"version": ROWS_VERSION, "figures": summary(rows)},
    }


def summary(*tables) -> list:
    """Give each column's mean and the values of one epoch, by table."""
    return [
        [np.nanmean(table, axis=0).round(3).tolist(), np.nan_to_num(table[N_EPOCHS // 2]).round(3).tolist()]
        for table in map(np.asarray, tables)
    ]


@pytest.mark.parametrize("what", ["features", "rows"])
def test_a_version_stands_for_the_same_figures(what):
    expected, found = json.loads(FIGURES.read_text())[what], figures()[what]
    assert found["version"] == expected["version"], "write the figures anew: python -m tests.staging.test_versions"
    for table, wanted in zip(found["figures"], expected["figures"], strict=True):
        for row, right in zip(table, wanted, strict=True):
            message = f"raise the version of {what}, or of features"
            np.testing.assert_allclose(row, right, rtol=0.01, atol=0.01, err_msg=message)


if __name__ == "__main__":
    FIGURES.write_text(json.dumps(figures()) + "\n")
