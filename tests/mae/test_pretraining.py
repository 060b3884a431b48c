"""Pretraining that is cut short, shared by processes or handed a strange checkpoint."""

import multiprocessing
import os
import pickle
import socket
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")

from dreem_case.core.files import write_whole  # noqa: E402
from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.mae.examples import BatchError, batch_paths  # noqa: E402
from dreem_case.mae.model import MaeConfig, load_model  # noqa: E402
from dreem_case.mae.pretraining import BatchFiles, PretrainSettings, Steps, pretrain  # noqa: E402
from tests.mae.made_up import write_made_up  # noqa: E402

torch.set_num_threads(1)
TINY = MaeConfig(patch=640, width=32, depth=1, heads=2, decoder_width=16, decoder_heads=2)
TWENTY = PretrainSettings(steps=20, batch=8, chunk=5, learning_rate=3e-3, mixed_files=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_made_up(tmp_path_factory.mktemp("batches"))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """Twenty steps by one process, never interrupted."""
    out = tmp_path_factory.mktemp("whole")
    model, learned = pretrain(folder, out, TINY, TWENTY)
    return out, model.state_dict(), learned


def furthest(one: dict, other: dict) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_every_example_is_drawn_once_a_pass_and_files_are_read_once(folder, monkeypatch):
    from dreem_case.mae import pretraining

    reads, real = [], pretraining.read_batch
    monkeypatch.setattr(pretraining, "read_batch", lambda path: reads.append(path) or real(path))
    data = BatchFiles(batch_paths(folder, "train"), TWENTY)
    for passed in range(2):
        drawn = []
        for place in range(data.steps_of_pass):
            number, examples = data.examples_of(passed * data.steps_of_pass + place)
            assert number == passed
            data.take(examples)
            drawn += examples.tolist()
        assert sorted(drawn) == list(range(len(data)))
    assert len(reads) <= 2 * len(data.paths)
    assert data.examples_of(0)[1].tolist() != data.examples_of(data.steps_of_pass)[1].tolist()


def test_an_example_is_what_its_number_says_whatever_was_read_before(folder):
    data = BatchFiles(batch_paths(folder, "train"), TWENTY)
    at_once = data.take(np.arange(len(data)))[0]
    fresh = BatchFiles(batch_paths(folder, "train"), TWENTY)
    for number in (70, 3, 25, 70):
        np.testing.assert_array_equal(fresh.take(np.array([number]))[0][0], at_once[number])


def test_batches_that_are_read_ahead_come_in_the_order_of_their_steps(folder):
    steps = Steps(BatchFiles(batch_paths(folder, "train"), TWENTY), TINY, 1, 3)
    for found, expected in zip(list(steps), [steps[number] for number in range(3)], strict=True):
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_too_few_examples_for_a_batch_are_named(folder):
    with pytest.raises(BatchError, match="expected 100 for a batch at least, found 72"):
        BatchFiles(batch_paths(folder, "train"), PretrainSettings(batch=100))


def test_processes_share_a_batch_without_a_rest(folder, monkeypatch):
    data = BatchFiles(batch_paths(folder, "train"), TWENTY)
    alone = Steps(data, TINY, 0, 1)[0]
    parts = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        parts.append(Steps(data, TINY, 0, 1)[0])
    for one, two, both in zip(*parts, alone, strict=True):
        assert torch.equal(torch.stack([one, two], dim=1).flatten(0, 1), both)  # examples with their masks


class Cut(BaseException):
    """The machine goes off."""


@pytest.mark.parametrize("step", [5, 13])
def test_a_training_that_was_cut_short_ends_at_the_same_weights(folder, whole, tmp_path, monkeypatch, step):
    real = BatchFiles.examples_of
    with monkeypatch.context() as patched:
        patched.setattr(BatchFiles, "examples_of", lambda data, at: real(data, at) if at < step else cut())
        with pytest.raises(Cut):
            pretrain(folder, tmp_path, TINY, TWENTY)
    model, learned = pretrain(folder, tmp_path, TINY, TWENTY)
    assert furthest(model.state_dict(), whole[1]) == 0
    assert learned == whole[2]
    assert not list(tmp_path.glob("*.part"))


def cut():
    raise Cut


def one_of_two(rank: int, port: int, folder, out, dies_at: int | None) -> None:
    """Be one of two processes, as `torchrun` would start it."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    torch.set_num_threads(1)
    real = BatchFiles.examples_of
    if dies_at is not None and rank == 1:
        BatchFiles.examples_of = lambda data, at: real(data, at) if at < dies_at else os._exit(9)
    pretrain(folder, out, TINY, TWENTY)
    os._exit(0)


def two_processes(folder, out, dies_at: int | None = None) -> list[int]:
    """Run two processes to their end, or until one of them dies; give how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forked = multiprocessing.get_context("fork")  # importing what networks need takes seconds, and is done here
    processes = [forked.Process(target=one_of_two, args=(rank, port, folder, out, dies_at)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in reversed(processes):
        process.join(60 if not processes[1].exitcode else 20)
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_are_as_one_and_go_on_when_one_of_them_was_killed(folder, whole, tmp_path):
    assert two_processes(folder, tmp_path, dies_at=12)[1] == 9
    assert (tmp_path / "last.ckpt").is_file() and not (tmp_path / "manifest.json").exists()
    assert two_processes(folder, tmp_path) == [0, 0]
    assert furthest(load_model(tmp_path).state_dict(), whole[1]) <= 1e-6


def checkpoint_with(path, change) -> None:
    found = torch.load(path, weights_only=True)
    change(found["dreem_case"]["about"])
    torch.save(found, path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda about: about["montage"]["modalities"].reverse(), "expected a checkpoint of montage"),
        (lambda about: about["montage"].update(rate=100), "expected a checkpoint of montage"),
        (lambda about: about.update(version=0), "expected a checkpoint of version 1, found 0"),
        (lambda about: about["config"].update(width=64), "expected a checkpoint of config"),
        (lambda about: about["settings"].update(seed=1), r"settings \{'seed': 0\}, found \{'seed': 1\}"),
        (lambda about: about.update(examples=5), "expected a checkpoint of examples 72, found 5"),
        (lambda about: about.clear(), "expected a checkpoint of"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused_by_name(folder, whole, tmp_path, change, named):
    path = tmp_path / "last.ckpt"
    path.write_bytes((whole[0] / "last.ckpt").read_bytes())
    checkpoint_with(path, change)
    with pytest.raises(ModelError, match=named):
        pretrain(folder, tmp_path, TINY, TWENTY)


class Program:
    """What does something when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("was_run",))


def test_a_pickled_checkpoint_is_refused_and_not_run(folder, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    torch.save({"dreem_case": {"about": Program()}}, path)
    with pytest.raises(ModelError, match="expected a checkpoint of numbers, found a pickled program"):
        pretrain(folder, tmp_path, TINY, TWENTY)
    path.write_bytes(pickle.dumps(Program()))
    with pytest.raises(ModelError, match="expected a checkpoint"):
        pretrain(folder, tmp_path, TINY, TWENTY)
    assert not (tmp_path / "was_run").exists()


def test_a_checkpoint_that_is_cut_empty_or_packed_is_refused(folder, whole, tmp_path):
    path, good = tmp_path / "last.ckpt", (whole[0] / "last.ckpt").read_bytes()
    for content in (b"", good[: len(good) // 2], b"\x00" * 1000):
        write_whole(path, content)
        with pytest.raises(ModelError, match=r"last\.ckpt: expected a checkpoint"):
            pretrain(folder, tmp_path, TINY, TWENTY)
    with zipfile.ZipFile(whole[0] / "last.ckpt") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(ModelError, match="found them packed"):
        pretrain(folder, tmp_path, TINY, TWENTY)
