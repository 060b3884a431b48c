"""Waves in place of polysomnographies: an example's modalities share a rate, so that there is something to learn."""

from pathlib import Path

import numpy as np

from dreem_case.mae.examples import Examples, write_batch
from dreem_case.mae.montage import N_MODALITIES, WIDTH


def made_up_examples(n: int, seed: int = 0, missing: float = 0.1) -> Examples:
    """Make examples of one patient."""
    rng = np.random.default_rng(seed)
    time = np.arange(WIDTH) / 128
    hertz = rng.uniform(1, 12, (n, 1, 1))
    signals = np.sin(2 * np.pi * (hertz * time + rng.random((n, N_MODALITIES, 1))))
    present = rng.random((n, N_MODALITIES)) >= missing
    signals = (signals + 0.1 * rng.standard_normal(signals.shape)) * present[:, :, None]
    who = np.full(n, f"P{seed}")
    seconds = np.zeros((n, 7), np.float32)
    return Examples(
        signals.astype(np.float32), present, np.zeros(n, np.int8), seconds, who, who, np.arange(n, dtype=np.int32)
    )


def write_made_up(folder: Path, n_files: int = 4, n: int = 24) -> Path:
    """Write one file to judge by, and the rest to learn from."""
    for number in range(n_files):
        path = folder / ("train" if number else "valid") / f"{number}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_batch(path, made_up_examples(n, number))
    return folder
