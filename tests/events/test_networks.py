"""Every network can be put together, learns, is kept safely, and says the same again."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets,events]")
pytest.importorskip("lightning", reason="networks are an extra: pip install dreem_case[nets,events]")
pytest.importorskip("hydra", reason="networks are an extra: pip install dreem_case[nets,events]")

from click.testing import CliRunner  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dreem_case.core.model_file import ModelError  # noqa: E402
from dreem_case.core.nets import LoopSettings, fit_network, load_network, save_network, seed_all  # noqa: E402
from dreem_case.core.windows import cut, stitch, window_starts  # noqa: E402
from dreem_case.events.cli import events  # noqa: E402
from dreem_case.events.metric import EventsError, event_table  # noqa: E402
from dreem_case.events.minutes import minute_table  # noqa: E402
from dreem_case.events.network import (  # noqa: E402
    FOLDER,
    KIND,
    draw_batches,
    fit_events,
    load_events_network,
    make_example,
    network_targets,
    new_network,
    save_events_network,
)
from dreem_case.events.network_config import (  # noqa: E402
    DECODERS,
    EXTRACTORS,
    MODELS,
    NetworkConfig,
    compose,
    config_of,
    sweep,
)
from dreem_case.events.networks import dense_loss  # noqa: E402
from dreem_case.events.study import with_channels, write_wearers  # noqa: E402
from dreem_case.events.wearers import simulate_wearer  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def wearer():
    """Four days of a simulated wearer."""
    return simulate_wearer("dora", seed=1, n_days=4)


@pytest.fixture(scope="module")
def table(wearer):
    return minute_table(wearer.series)


@pytest.mark.parametrize(("model", "extractor", "decoder"), list(product(MODELS, EXTRACTORS, DECODERS)))
def test_every_combination_runs_both_ways_and_overfits_four_windows(model, extractor, decoder):
    seed_all(1)
    config = NetworkConfig(model=model, extractor=extractor, decoder=decoder, downsample_rate=4, duration=320)
    network = new_network(config)
    inputs = torch.randn(4, 6, 320)
    at = torch.arange(80.0)
    target = torch.zeros(4, 3, 80)
    for i in range(4):
        onset, wakeup = 15 + 4 * i, 52 + 4 * i
        inputs[i, :, 4 * onset : 4 * wakeup] *= 0.1
        target[i, 0, onset:wakeup] = 1
        target[i, 1], target[i, 2] = (torch.exp(-0.5 * ((at - t) / 4) ** 2) for t in (onset, wakeup))
    chosen = torch.optim.AdamW(network.parameters(), 0.01)
    least = float(dense_loss(target.logit(1e-6), target, torch.ones(4, 1, 80)))  # a bump is a likelihood, never sure
    excess = []  # what learning can take away
    while len(excess) < 100 and (not excess or excess[-1] > excess[0] / 4):
        value = network.loss(inputs, target, torch.ones(4, 1, 80))
        chosen.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        chosen.step()
        excess.append(float(value.detach()) - least)
    assert network(inputs).shape == (4, 3, 80)
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert 0 < excess[-1] <= excess[0] / 4


def test_a_network_can_be_made_wider():
    narrow, wide = (
        sum(p.numel() for p in new_network(NetworkConfig(model="spec2dcnn", widen=n)).parameters()) for n in (1, 2)
    )
    assert 3 < wide / narrow < 4


@pytest.mark.parametrize("name", ["spec2dcnn", "unet1d"])
def test_shipped_networks_are_small_and_say_what_they_learned_from(name):
    from dreem_case.core.model_file import read_model

    model = load_events_network(FOLDER / name)
    manifest, weights = read_model(FOLDER / name, kind=KIND)
    assert manifest["version"] == model.version and len(weights) < 1_000_000
    assert manifest["card"]["data"] == "simulated" and manifest["card"]["series"] == 37
    assert model.card == manifest["card"]


def test_a_trained_network_names_all_series_that_it_has_seen(tmp_path):
    small = ["downsample_rate=4", "duration=320", "epochs=1", "windows_per_epoch=2", "batch_size=1"]
    asked = ["train", "--network", "--simulated", "3", "--out", str(tmp_path / "net"), *small]
    result = CliRunner().invoke(events, asked)
    assert result.exit_code == 0, result.output
    assert load_events_network(tmp_path / "net").card["names"] == ["train00", "train01", "train02"]


def test_a_series_without_marks_does_not_decide_when_a_network_stops(tmp_path):
    wearers = [simulate_wearer(f"w{i}", seed=1, n_days=2) for i in range(7)]
    write_wearers(tmp_path / "in", wearers)
    marks = (tmp_path / "in" / "events.csv").read_text().splitlines()
    (tmp_path / "marks.csv").write_text("\n".join(line for line in marks if not line.startswith("w5,")))
    small = ["downsample_rate=4", "duration=320", "epochs=1", "windows_per_epoch=1", "batch_size=1"]
    asked = ["train", "--store", str(tmp_path / "in"), "--events", str(tmp_path / "marks.csv")]
    result = CliRunner().invoke(events, [*asked, "--out", str(tmp_path / "net"), *small])
    assert result.exit_code == 0 and "1 of 7 series have no marks" in result.stderr
    card = load_events_network(tmp_path / "net").card
    assert card["names"] == ["w0", "w1", "w2", "w3", "w4", "w6"] and len(card["judgements"]) == 1


def test_a_network_without_data_is_trained_on_simulated_wearers_into_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.events.cli.WEARERS", 2)
    monkeypatch.chdir(tmp_path)
    small = ["downsample_rate=4", "duration=320", "epochs=1", "windows_per_epoch=1", "batch_size=1"]
    result = CliRunner().invoke(events, ["train", *small])
    assert result.exit_code == 0 and "learning from 2 simulated wearers" in result.output
    assert load_events_network("network").card["data"] == "simulated"
    assert "Missing option '--out'" in CliRunner().invoke(events, ["train", "--simulated", "2"]).output


def test_a_sweep_ranks_what_can_be_and_names_what_cannot(tmp_path):
    small = ["downsample_rate=4", "epochs=1", "windows_per_epoch=2", "batch_size=1"]
    asked = ["sweep", "--simulated", "6", "--out", str(tmp_path), "duration=320,321", "seed=1,2", *small]
    result = CliRunner().invoke(events, asked)
    assert result.exit_code == 1
    table = pd.read_csv(tmp_path / "sweep.csv")
    ranked, refused = table[table.refused.isna()], table[table.refused.notna()]
    assert ranked.ap.is_monotonic_decreasing and len(ranked) == 2
    for run, version in zip(ranked.run, ranked.version, strict=True):
        assert load_events_network(tmp_path / run).version == version
    assert ranked.run.isin(["duration=320_seed=1", "duration=320_seed=2"]).all()
    assert refused.run.tolist() == ["duration=321_seed=1", "duration=321_seed=2"]
    why = "duration: expected 240 to 51840 steps, a multiple of downsample_rate (4), found 321"
    assert set(refused.refused) == {why} and why in result.output


# ---- windows


@given(st.integers(1, 3000), st.integers(10, 400), st.floats(0, 0.9))
@settings(max_examples=40)
def test_windows_cover_and_stitch_gives_the_signal_back(n, width, overlap):
    signal = np.random.default_rng(n).normal(size=(2, n))
    starts = window_starts(n, width, overlap)
    assert np.allclose(stitch([cut(signal, start, width) for start in starts], starts, n), signal)


def test_bumps_of_near_events_do_not_add_up(table):
    step = 4 * 720
    marks = [("dora", "onset", step), ("dora", "wakeup", step + 400), ("dora", "onset", step + 24)]
    config = NetworkConfig(sigma_s=300)
    target, _ = network_targets(table, event_table(marks), config, len(table.series) // 6)
    assert target.max() <= 1
    wide = (target[1] > np.exp(-0.5)).sum() * 30  # two bumps, two minutes apart
    assert 600 <= wide <= 600 + 120 + 60


def test_background_windows_hold_no_event_and_are_known(wearer, table):
    config = NetworkConfig(duration=1440, background=1.0, cutmix=0, windows_per_epoch=32, batch_size=8)
    example = make_example(table, wearer.events, config)
    for _, target, known in draw_batches([example], config, 0):
        assert (target[:, 1:].amax(dim=(1, 2)) < 0.1).all()
        assert (known.mean(dim=(1, 2)) > 0.4).all()


def test_after_an_onset_whose_wakeup_is_not_marked_nothing_is_known(wearer, table):
    rows = list(zip(wearer.events.series, wearer.events.event, wearer.events.step, strict=True))
    target, known = network_targets(table, event_table([rows[0], *rows[2:]]), NetworkConfig(), len(wearer.series) // 6)
    first, second = (slice(int(rows[i][2] / 6) + 1, int(rows[i + 1][2] / 6)) for i in (0, 2))
    assert not known[0, first].any() and not target[0, first].any()
    assert known[0, second].any() and target[0, second].all()


def test_where_nobody_wore_the_watch_nothing_is_known(wearer, table):
    config = NetworkConfig()
    _, known = network_targets(table, wearer.events, config, len(wearer.series) // 6)
    off = wearer.off[: len(known[0]) * 6].reshape(-1, 6).all(axis=1)
    assert off.any() and known[0, off].mean() < 0.05


# ---- learning


TINY = NetworkConfig(duration=2880, windows_per_epoch=8, batch_size=4, epochs=4, downsample_rate=8, cutmix=0)


def test_loss_falls_and_the_same_seed_gives_the_same_weights(wearer, table):
    (one, went), (two, _) = (fit_events([table], wearer.events, TINY) for _ in range(2))
    assert went.losses[-1] < went.losses[0]
    assert one.version == two.version


def test_the_judge_decides_which_weights_stay():
    seed_all(0)
    network, said = torch.nn.Linear(1, 1), iter([0.1, 0.9, 0.3, 0.2, 0.1])
    weights = []

    def judge(now):
        weights.append(float(now.weight))
        return next(said)

    batch = torch.ones(4, 1)
    settings_ = LoopSettings(epochs=5, patience=3)
    went = fit_network(network, lambda epoch: [batch], lambda net, x: (net(x) - 5).pow(2).mean(), settings_, judge)
    assert went.best_epoch == 1 and len(went.judgements) == 5
    assert float(network.weight.detach()) == weights[1]


# ---- files and configuration


def test_a_network_is_kept_with_its_configuration_and_says_the_same(wearer, table, tmp_path):
    model, _ = fit_events([table], wearer.events, TINY)
    save_events_network(tmp_path, model, {"data": "simulated"})
    again = load_events_network(tmp_path)
    assert again.config == TINY and again.version == model.version
    assert np.array_equal(again.likelihoods(table).near, model.likelihoods(table).near)


def test_a_series_without_an_angle_is_refused_and_not_guessed(wearer):
    without = minute_table(with_channels(wearer.series, ["enmo"]))
    with pytest.raises(EventsError, match="dora: expected an angle of the arm, found enmo"):
        load_events_network(FOLDER / "unet1d").likelihoods(without)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_network(tmp_path, torch.nn.Linear(2, 2), "events network", {"config": {}})
    with pytest.raises((ModelError, EventsError)):
        load_events_network(tmp_path)
    (file,) = tmp_path.glob("model.*")
    file.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ModelError, match="another hash"):
        load_network(tmp_path, "events network", lambda found: torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model=resnet"], "one of spec1d"),
        (["duration=1001"], "a multiple of downsample_rate"),
        (["downsample_rate=9"], "1 to 8"),
        (["decoder=transformer", "downsample_rate=1"], "8640 moments"),
        (["sigma_s=5"], "half a moment"),
        (["epochs=many"], "configuration"),
        (["colour=red"], "configuration"),
        (["background=2"], "a share"),
        (["learning_rate=-1"], "above 0"),
        (["weight_decay=-3"], "0 at least"),
        (["patience=0"], "1 at least"),
        (["batch_size=9", "windows_per_epoch=8"], "windows_per_epoch at most"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(overrides, reason):
    with pytest.raises(EventsError, match=reason):
        compose(overrides)


def test_a_sweep_is_every_combination():
    runs = list(sweep(["model=spec1d,centernet", "seed=1,2,3", "hour=false"]))
    assert len(runs) == 6 and len({compose(run) for run in runs}) == 6


def test_a_manifest_that_was_changed_is_refused():
    with pytest.raises(EventsError):
        config_of({"model": "spec1d"})
    from dataclasses import asdict

    for change in ({"duration": "17280"}, {"model": "rm -rf"}, {"hour": 1}, {"epochs": 0}):
        with pytest.raises(EventsError):
            config_of(asdict(NetworkConfig()) | change)
