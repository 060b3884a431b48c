"""The commands that pretrain and embed end with files, or with one line that says what was expected."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")

from click.testing import CliRunner  # noqa: E402

from dreem_case.mae.commands import embed, pretrain  # noqa: E402
from dreem_case.mae.embed import embedding_width  # noqa: E402
from dreem_case.mae.examples import EVENTS, batch_paths, read_batch  # noqa: E402
from dreem_case.mae.model import CONFIGS, MaeConfig, MaskedAutoencoder, load_model  # noqa: E402
from dreem_case.mae.pretraining import PretrainSettings  # noqa: E402
from dreem_case.mae.shipped import judged_by_probes, training_notes  # noqa: E402
from tests.mae.made_up import made_up_examples, write_made_up  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_made_up(tmp_path_factory.mktemp("batches"), n_files=2, n=16)


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_pretrain_leaves_a_model_and_embed_rows_with_their_labels(folder, tmp_path):
    done = run(pretrain, folder, "--out", tmp_path / "model", "--steps", 2, "--batch", 4)
    assert done.exit_code == 0, done.output
    assert load_model(tmp_path / "model").config == CONFIGS["laptop"]
    out = tmp_path / "rows.npz"
    done = run(embed, folder, "--model", tmp_path / "model", "--split", "valid", "--out", out)
    assert done.exit_code == 0, done.output
    one = read_batch(batch_paths(folder, "valid")[0])
    with np.load(out) as file:
        found = dict(file)
    assert found["embedding"].shape == (16, embedding_width(CONFIGS["laptop"]))
    assert found["patient"].tolist() == one.patient.tolist() and found["epoch"].tolist() == one.epoch.tolist()
    assert found["events"].tolist() == list(EVENTS) and found["seconds"].shape == (16, len(EVENTS))


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [
        (["--config", "huge"], 2, "'huge' is not one of 'laptop', 'original-76m'"),
        (["--target", "sound"], 2, "'sound' is not one of 'waveform', 'log_power', 'summary', 'cluster'"),
        (["--batch", "17"], 1, "expected 17 for a batch at least, found 16"),
        (["--seed", "-1"], 2, "--seed"), (["--seed", 10**30], 2, "--seed"),
    ],
)  # fmt: skip
def test_what_cannot_be_pretrained_is_named(folder, tmp_path, more, code, named):
    done = run(pretrain, folder, "--out", tmp_path, *more)
    assert done.exit_code == code and named in done.output and "Traceback" not in done.output


def test_a_training_that_leaves_the_numbers_leaves_no_model(folder, tmp_path):
    done = run(pretrain, folder, "--out", tmp_path, "--steps", 2, "--batch", 4, "--learning-rate", 1e30)
    assert done.exit_code == 1 and "expected weights that are numbers" in done.output
    assert not (tmp_path / "manifest.json").exists()


def test_a_batch_that_processes_cannot_share_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    done = run(pretrain, folder, "--out", tmp_path, "--batch", 8)
    assert done.exit_code == 1 and "--batch: expected a multiple of 3 processes, found 8" in done.output


def test_embed_refuses_a_model_of_another_kind_and_a_split_without_files(folder, tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": "boosted"}')
    done = run(embed, folder, "--model", tmp_path, "--out", tmp_path / "rows.npz")
    assert done.exit_code == 1 and "expected kind masked autoencoder" in done.output
    done = run(embed, folder, "--split", "test", "--out", tmp_path / "rows.npz")
    assert done.exit_code == 1 and "expected files of examples in test" in done.output
    assert not (tmp_path / "rows.npz").exists()


def test_an_embedding_is_put_where_it_can_be(folder, tmp_path):
    done = run(embed, folder, "--split", "train", "--out", tmp_path)
    assert done.exit_code == 1 and "expected a file for the result, found a folder" in done.output
    assert run(embed, folder, "--split", "train", "--out", tmp_path / "new" / "rows.npz").exit_code == 0


def test_a_judged_patient_is_not_learned_from():
    model = MaskedAutoencoder(MaeConfig(patch=640, width=32, depth=1, heads=2, decoder_width=16, decoder_heads=2))
    one = made_up_examples(4)
    with pytest.raises(ValueError, match="no patient on both sides"):
        judged_by_probes(model.eval(), one, one)


def test_the_shipped_models_notes_say_what_it_is():
    notes = training_notes()
    assert notes["examples"] > 1000 and "simulated" in notes["data"]
    assert PretrainSettings(**notes["settings"]).steps == len(notes["losses"]) * notes["settings"]["chunk"]
    random, pretrained = notes["probes"]["random"], notes["probes"]["pretrained"]
    assert pretrained["stage_kappa"] > random["stage_kappa"] and 0.5 < pretrained["event_auroc"] < 1
    assert notes["losses"][-1] < notes["losses"][0] and len(notes["tried"]) > 1
