"""A training goes on from a checkpoint as if nothing had happened, and from no other file."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets]")

from torch import nn  # noqa: E402

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.core.nets import (  # noqa: E402
    CHECKPOINT,
    LoopSettings,
    check_checkpoint,
    fit_network,
    process_share,
    rate_at,
)

torch.set_num_threads(1)
X = torch.linspace(-1, 1, 32)[:, None]
SETTINGS = LoopSettings(epochs=6, learning_rate=0.02)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))


def loss(net, x):
    return (net(x + 0.01 * float(np.random.rand())) - x).square().mean()  # noqa: NPY002  draws as libraries do


class Cut(BaseException):
    """The machine goes off."""


def batches_until(epoch: int):
    def batches(now):
        if now >= epoch:
            raise Cut
        return [X, X]

    return batches


def judged(net) -> float:
    return -float((net(X) - X).square().mean())


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_training_with_dropout_and_a_judge_goes_on_bit_for_bit(tmp_path, epoch):
    whole, parts = network(), network()
    went = fit_network(whole, lambda _: [X, X], loss, SETTINGS, judged)
    with pytest.raises(Cut):
        fit_network(network(), batches_until(epoch), loss, SETTINGS, judged, folder=tmp_path)
    again = fit_network(parts, lambda _: [X, X], loss, SETTINGS, judged, resume=tmp_path / CHECKPOINT)
    assert again == went
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_takes_the_place_of_the_last_one_whole(tmp_path, monkeypatch):
    fit_network(network(), lambda _: [X], loss, LoopSettings(epochs=1), folder=tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def half(self, checkpoint, filepath, storage_options=None):
        filepath.write_bytes(b"half")
        raise Cut

    monkeypatch.setattr("lightning.pytorch.strategies.strategy.Strategy.save_checkpoint", half)
    with pytest.raises(Cut):
        fit_network(network(), lambda _: [X], loss, LoopSettings(epochs=2), folder=tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_checkpoint_without_or_with_other_words_about_it_is_refused(tmp_path):
    fit_network(network(), lambda _: [X], loss, LoopSettings(epochs=1), folder=tmp_path, about={"data": "line"})
    check_checkpoint(tmp_path / CHECKPOINT, {"data": "line"})
    for about in ({}, {"data": "other"}, {"data": "line", "more": 1}):
        with pytest.raises(ModelError, match="expected a checkpoint of"):
            check_checkpoint(tmp_path / CHECKPOINT, about)
    torch.save({"state_dict": {}}, tmp_path / "lightning.ckpt")
    with pytest.raises(ModelError, match="expected a checkpoint, found something else"):
        check_checkpoint(tmp_path / "lightning.ckpt", {})
    with pytest.raises(ModelError, match="expected a checkpoint, found No such file"):
        check_checkpoint(tmp_path / "none.ckpt", {})


def test_a_process_that_nobody_started_with_others_is_the_only_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert process_share() == (0, 1)


def test_the_rate_warms_up_and_falls_to_nothing():
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1 and rates[-1] < 0.001
    assert all(a >= b for a, b in pairwise(rates[10:]))
