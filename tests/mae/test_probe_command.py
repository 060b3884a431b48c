"""`dreem-case mae probe` on batches of examples."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from dreem_case.mae.commands import probe
from dreem_case.mae.examples import Examples, read_batch, split_of, write_batch
from dreem_case.mae.model import CONFIGS, MaskedAutoencoder, save_model
from dreem_case.mae.montage import N_MODALITIES, RATE, WIDTH

T = np.arange(WIDTH) / RATE


def names(split: str, n: int) -> list[str]:
    """Find patients of a split."""
    return [name for name in map(str, range(200)) if split_of(name) == split][:n]


def write(folder, split: str, patients: list[str], n: int = 24) -> None:
    """Write children whose stage is the rate of their waves, and who have arousals and no apnea."""
    for patient in patients:
        random = np.random.default_rng(int(patient))
        stage = random.integers(0, 5, n)
        waves = np.sin(2 * np.pi * (1 + 3 * stage[:, None, None]) * (T + random.random((n, N_MODALITIES, 1))))
        signals = (waves + random.normal(0, 0.3, waves.shape)).astype(np.float32)
        seconds = np.zeros((n, 7), np.float32)
        seconds[:, 6] = 3.0 * (stage == 0)
        who, path = np.full(n, patient), folder / split / f"{patient}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        present = np.ones(signals.shape[:2], bool)
        write_batch(
            path, Examples(signals, present, stage.astype(np.int8), seconds, who, who, np.arange(n, dtype=np.int32))
        )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Batches of five children, and a model that has learned nothing."""
    folder = tmp_path_factory.mktemp("probe")
    write(folder / "batches", "train", names("train", 3))
    write(folder / "batches", "test", names("test", 2))
    save_model(folder / "model", MaskedAutoencoder(CONFIGS["laptop"]).eval())
    return folder / "batches", folder / "model"


def ask(*arguments: object):
    return CliRunner().invoke(probe, ["--jobs", "1", *map(str, arguments)])


def test_ways_are_judged_on_patients_of_the_test_side(folders):
    batches, model = folders
    answer = ask(batches, "--model", model, "--patients", 1, "--patients", 0, "--draws", 1, "--every", 2, "--json")
    assert answer.exit_code == 0, answer.output
    lines = json.loads(answer.output)
    assert {(line["way"], line["patients"]) for line in lines} == {
        (way, size) for way in ("hand", "embedding", "random encoder", "hand + embedding") for size in (0, 1)
    }  # fmt: skip
    hand = next(line["figures"] for line in lines if (line["way"], line["patients"]) == ("hand", 0))
    assert hand["stage kappa"] > 0.8 and hand["arousal AUROC"] > 0.9
    assert hand["apnea AUROC"] is None and hand["apnea AP"] is None


def test_what_no_judged_patient_has_is_named(folders):
    batches, model = folders
    answer = ask(batches, "--model", model, "--patients", 0, "--every", 3)
    assert answer.exit_code == 0, answer.output
    assert "not judged, since no judged patient has them: apnea AUROC" in answer.output.splitlines()[-1]
    assert answer.output.startswith("hand ") and " all " in answer.output


def test_what_cannot_be_done_is_one_line(folders):
    batches, model = folders
    answer = ask(batches, "--model", model, "--patients", 9)
    assert answer.exit_code == 1 and "Traceback" not in answer.output
    assert "labelled patients in train: expected 9 or more, found 3" in answer.output


def test_folders_without_batches_or_model_are_refused_by_name(folders, tmp_path):
    batches, model = folders
    for arguments, said in (
        ((tmp_path, "--model", model), "files of examples in train"),
        ((batches, "--model", tmp_path), "manifest"),
    ):
        answer = ask(*arguments)
        assert answer.exit_code == 1 and said in answer.output


def test_a_batch_on_the_wrong_side_is_refused(folders, tmp_path):
    _, model = folders
    write(tmp_path, "train", names("train", 1))
    write(tmp_path, "test", names("train", 1))
    answer = ask(tmp_path, "--model", model, "--patients", 1)
    assert answer.exit_code == 1 and "patients of test" in answer.output


def test_patients_without_labels_and_modalities_that_nobody_has_cost_no_judgement(folders, tmp_path):
    _, model = folders
    write(tmp_path, "test", names("test", 1), 8)
    write(tmp_path, "train", names("train", 3), 8)
    for path in sorted((tmp_path / "train").glob("*.h5")):
        found = read_batch(path)
        found.signals[:, 0], found.present[:, 0] = 0, False
        if path.stem != names("train", 1)[0]:
            found.stage[:], found.seconds[:] = -1, np.nan
        write_batch(path, found)
    answer = ask(tmp_path, "--model", model, "--patients", 1, "--draws", 3)
    assert answer.exit_code == 0, answer.output
    answer = ask(tmp_path, "--model", model, "--patients", 2)
    assert "labelled patients in train: expected 2 or more, found 1" in answer.output
