"""Each network has the layers of its published table, sees no further than it says, and minds its gaps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")

from dreem_case.transfer.networks import (  # noqa: E402
    DeepSleepNet,
    SmallSequenceNet,
    Spectrogram,
    SpectrogramNet,
    TenConvolutions,
    TinySleepNet,
    count_parameters,
    layer_table,
    n_samples,
    ten_convolutions_2019,
)

torch.set_num_threads(1)
ALL = (TenConvolutions, ten_convolutions_2019, DeepSleepNet, TinySleepNet, SmallSequenceNet, SpectrogramNet)
LIGHT = (TenConvolutions, TinySleepNet, SmallSequenceNet, SpectrogramNet)  # the others are made of the same pieces


def rows_of(network):
    return [(kind, shape, n) for _, kind, shape, n in layer_table(network)]


def test_ten_convolutions_have_the_published_layers():
    lengths = (1000, 1000, 500, 500, 250, 250, 125, 125, 62, 62)
    filters = (64, 128, 128, 256, 256, 64, 32, 64, 8, 8)
    weights = (384, 41_088, 213_120, 229_632, 459_008, 65_600, 6_176, 12_352, 2_568, 136)
    expected = [("Conv1d", (c, n), w) for c, n, w in zip(filters, lengths, weights, strict=True)]
    assert rows_of(TenConvolutions()) == [*expected, ("Linear", (64,), 15_936), ("Linear", (5,), 325)]
    assert count_parameters(TenConvolutions()) == 1_046_325


def test_the_ancestor_has_the_published_layers():
    lengths = (999, 997, 486, 480, 233, 230, 113, 108, 50, 49)
    weights = (384, 24_704, 213_120, 229_632, 262_272, 32_832, 6_176, 12_352, 2_568, 136)
    rows = rows_of(ten_convolutions_2019())
    assert [(shape[-1], n) for _, shape, n in rows[:10]] == list(zip(lengths, weights, strict=True))
    assert [n for _, _, n in rows[10:]] == [12_352, 325]
    assert [count_parameters(ten_convolutions_2019(k)) for k in (5, 3)] == [796_853, 796_723]


def test_deepsleepnet_has_the_published_parts():
    network = DeepSleepNet()
    sizes = [sum(map(count_parameters, part)) for part in ((network.fine, network.coarse), (network.shortcut,))]
    assert sizes == [604_032, 3_147_776]
    assert [count_parameters(part) for part in (network.recurrent, network.head)] == [20_987_904, 5_125]
    assert count_parameters(network) == 24_744_837
    shapes = [shape for kind, shape, _ in rows_of(network) if kind == "Conv1d"]
    fine, coarse = [(64, 500), *[(128, 63)] * 3], [(64, 60), *[(128, 15)] * 3]
    assert shapes == fine + coarse
    assert (network.fine.n_out, network.coarse.n_out) == (2048, 1024)


def test_tinysleepnet_has_the_published_parts():
    network = TinySleepNet()
    assert count_parameters(network) == 1_516_421
    assert [shape for kind, shape, _ in rows_of(network) if kind == "Conv1d"] == [(128, 500), *[(128, 63)] * 3]
    assert network.branch.n_out == 2048


def test_the_small_network_is_small():
    assert 14_000 <= count_parameters(SmallSequenceNet()) <= 25_000
    assert count_parameters(SpectrogramNet()) < 1_000_000


@pytest.mark.parametrize("build", LIGHT)
@pytest.mark.parametrize("fs_hz", [100, 128])
def test_sizes_in_time_derive_from_the_rate(build, fs_hz):
    n = n_samples(30, fs_hz)
    logits = build(fs_hz=fs_hz).eval()(torch.zeros(2, 3, n), torch.ones(2, 3, dtype=torch.bool))
    assert logits.shape == (2, 3, 5)


@pytest.mark.parametrize("build", ALL)
def test_an_epoch_of_a_gap_tells_its_neighbours_nothing(build):
    torch.manual_seed(0)
    network, seen = build().eval(), torch.ones(1, 9, dtype=torch.bool)
    seen[0, 4] = False
    windows = torch.randn(1, 9, 3000)
    other = windows.clone()
    other[0, 4] = 100 * torch.randn(3000)
    with torch.inference_mode():
        difference = (network(windows, seen) - network(other, seen)).abs().amax(dim=2)[0]
    assert difference[[0, 1, 2, 3, 5, 6, 7, 8]].max() < 1e-5


@pytest.mark.parametrize(("kind", "n_ahead"), [(SmallSequenceNet, SmallSequenceNet.look_ahead), (TinySleepNet, 0)])
def test_a_network_looks_so_many_epochs_ahead_and_no_further(kind, n_ahead):
    torch.manual_seed(0)
    network, seen, windows = kind().eval(), torch.ones(1, 30, dtype=torch.bool), torch.randn(1, 30, 3000)
    other = windows.clone()
    other[0, 15:] = torch.randn(15, 3000)
    with torch.inference_mode():
        moved = (network(windows, seen) - network(other, seen)).abs().amax(dim=2)[0]
    assert moved[: 15 - n_ahead].max() < 1e-6 < moved[15 - n_ahead :].min()


@pytest.mark.parametrize("hertz", [1, 5, 13, 29])
def test_a_spectrogram_has_a_tone_where_it_belongs(hertz):
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(3000) / 100)[None, None]
    assert (float(Spectrogram()(tone)[0, 0].mean(dim=1).argmax()) + 1) / 2 == hertz


@pytest.mark.parametrize("build", LIGHT)
def test_each_network_can_learn_eight_epochs(build):
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    time = np.arange(3000) / 100
    hertz = np.array([2, 6, 10, 14, 22, 2, 6, 10])
    waves = np.sin(2 * np.pi * hertz[:, None] * time + random.uniform(0, 6, (8, 1))) + 0.1 * random.normal(
        size=(8, 3000)
    )
    windows = torch.tensor(waves[None], dtype=torch.float32)
    labels, seen = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2]), torch.ones(1, 8, dtype=torch.bool)
    network = build()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    first = None
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(network(windows, seen)[0], labels)
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.97 * first
