"""From minutes to events: what must not matter does not, and what is missing is not made up."""

import csv
import json
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreem_case.core.workers import Done, ThreadWorkers
from dreem_case.events import places
from dreem_case.events.cli import events
from dreem_case.events.decode import (
    BEGINS_ASLEEP,
    ENDS_ASLEEP,
    OF_ANOTHER,
    Likelihoods,
    NightFound,
    expected_gain,
    nights_of,
    place_event,
    place_night,
)
from dreem_case.events.detect import details_json, detect_events, events_json, night_rows, sleep_by_minute
from dreem_case.events.endpoint import make_blueprint
from dreem_case.events.heuristic import heuristic_events, longest_block
from dreem_case.events.marks import read_events, read_written
from dreem_case.events.metric import EVENTS, EventsError, event_errors, joined, mean_ap
from dreem_case.events.minutes import ANGLE, best_intervals, mean_around, minute_table, ranks
from dreem_case.events.model import (
    FOLDER,
    NEAR_MIN,
    SHIPPED,
    SLEEP,
    UNKNOWN,
    fit_minutes,
    load_minutes,
    minute_labels,
    read_prepared,
    save_minutes,
    shipped_minutes,
    write_prepared,
)
from dreem_case.events.places import detect_all, list_series, open_series, series_version
from dreem_case.events.series import make_series
from dreem_case.events.series_files import read_series, write_series
from dreem_case.events.study import (
    KNOWN,
    as_epochs,
    confidence,
    decoded,
    describe,
    figures,
    held_out_odds,
    open_diary,
    out_of_fold,
    simulated,
    with_channels,
)
from dreem_case.events.wear import filled_blocks, lying_still, worn_mask
from dreem_case.events.wearers import BLOCK, fill_off, simulate_wearer
from tests.support.described import check_answer, check_description


@pytest.fixture(scope="module")
def wearer():
    """A simulated wearer of some weeks, with unworn days."""
    return simulate_wearer("judge00", seed=1)


@pytest.fixture(scope="module")
def flyer():
    """The series of a simulated wearer of eight days."""
    return simulate_wearer("w04", 3, 8).series


@pytest.fixture(scope="module")
def found(wearer):
    return detect_events(wearer.series)


def test_a_simulated_wearers_nights_are_found_and_a_rule_is_beaten(wearer, found):
    errors = event_errors(wearer.events, found.events)
    assert errors.median("onset") < 8 and errors.median("wakeup") < 5
    assert errors.n_missed("onset") <= 1
    assert mean_ap(wearer.events, found.events) > mean_ap(wearer.events, heuristic_events(wearer.series))


def test_one_onset_and_one_wakeup_a_night_in_turn(found):
    events = found.events
    assert events.event.tolist() == ["onset", "wakeup"] * (len(events) // 2)
    assert (np.diff(events.step) > 0).all()
    assert ((events.score >= 0) & (events.score <= 1)).all() and len(np.unique(events.score)) > 5


def test_every_day_has_a_night_or_a_reason(found):
    rows = night_rows(found)
    assert len({row["day"] for row in rows}) == len(rows)
    for row in rows:
        assert bool(row["reason"]) == (row["onset"] is None)
        assert row["reason"] in ("", "not worn", "the record ends", "the record begins", "no 30 minutes of sleep")


# ---- wear


@pytest.mark.parametrize("name", ["judge00", "judge03", "judge05"])
def test_unworn_time_is_found_exactly(name):
    made = simulate_wearer(name, seed=1)
    unworn = ~worn_mask(made.series)
    assert (unworn & made.off).sum() >= 0.99 * made.off.sum()
    assert (unworn & made.off).sum() >= 0.99 * unworn.sum()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 95)), min_size=1, max_size=12, unique=True))
@settings(max_examples=15)
def test_filling_is_found_whether_it_repeats_or_not(blocks):
    n_days, per_day = 7, 96 * BLOCK
    random, n = np.random.default_rng(0), 7 * 96 * BLOCK
    off = np.zeros((n_days, 96), bool)
    for day, block in blocks:
        off[day, block] = off[:, block].sum() < 4
    off = np.repeat(off.ravel(), BLOCK)
    channels = {
        "anglez": fill_off(random.normal(0, 30, n).clip(-90, 90).round(4), off, 0),
        "enmo": fill_off(random.exponential(0.03, n).round(4), off, 0),
    }
    series = make_series("made", 1.5e9 - 1.5e9 % 86400 + 5.0 * np.arange(n), channels, np.zeros(n))
    assert per_day * n_days == n
    assert np.array_equal(filled_blocks(series), off)


def test_quarters_that_are_still_or_lack_a_value_on_several_days_are_not_filled():
    angle = np.random.default_rng(0).uniform(-80, 80, (4, 96, 15))
    angle[[1, 2], 40, 3] = np.nan
    angle[[1, 3], 60] = 5
    series = make_series("made", 60.0 * np.arange(4 * 1440), {"anglez": angle.ravel()}, np.zeros(4 * 1440))
    assert not filled_blocks(series).any()


@pytest.mark.parametrize(("key", "minutes"), [("anglez", 120), ("pim", 180), ("enmo", 180)])
def test_no_movement_for_so_long_is_no_wear_and_a_minute_less_may_be_rest(key, minutes):
    values, before = 2 + np.arange(1440.0) % 2, key == "anglez"  # an angle is still that is as the one before
    values[300 - before : 300 + minutes], values[900 - before : 900 + minutes - 1] = 0, 0
    series = make_series("made", 60.0 * np.arange(1440), {key: values}, np.zeros(1440))
    assert np.flatnonzero(lying_still(series)).tolist() == list(range(300, 300 + minutes))


def test_a_watch_on_a_table_has_no_events_but_reasons():
    n = 5 * 1440
    series = make_series(
        "still", 1.5e9 + 60 * np.arange(n), {"enmo": np.zeros(n), "anglez": np.full(n, 3)}, np.zeros(n)
    )
    nothing = detect_events(series)
    assert len(nothing.events) == 0
    assert {night.reason for night in nothing.nights} <= {"not worn", "the record ends", "the record begins"}


def test_no_event_is_made_up_at_the_edges_of_a_gap(wearer):
    """Two days of the recording are not there: no event lies in them or within ten minutes of their edges by day."""
    series = wearer.series
    noon = int(np.flatnonzero((series.utc + series.offset_s) % 86400 == 13 * 3600)[5])
    gone = np.zeros(len(series), bool)
    gone[noon : noon + 2 * 17280] = True
    channels = {key: np.where(gone, np.nan, values) for key, values in series.channels.items()}
    steps = detect_events(replace(series, observed=~gone, channels=channels)).events.step
    assert not ((steps > noon - 120) & (steps < noon + 2 * 17280 + 120)).any()


# ---- what must not matter


@pytest.mark.parametrize("change", ["mirrored", "other name"])
def test_it_does_not_matter(wearer, found, change):
    changes = {
        "mirrored": lambda s: replace(s, channels=s.channels | {"anglez": -s.channels["anglez"]}),
        "other name": lambda s: replace(s, name="other"),
    }
    assert detect_events(changes[change](wearer.series)).events.step.tolist() == found.events.step.tolist()


def test_epochs_of_ten_and_thirty_seconds_find_nearly_as_much():
    """Together: of a single wearer's few nights, one that is cut otherwise changes AP by 0.1."""
    wearers = simulated("judge", 6)
    truth = joined([one.events for one in wearers])
    found = [[detect_events(as_epochs(one.series, epoch_s)).events for one in wearers] for epoch_s in (5, 10, 30)]
    whole, *longer = (mean_ap(truth, joined(own)) for own in found)
    assert max(abs(one - whole) for one in longer) < 0.07


@pytest.mark.parametrize(("epoch_s", "ap"), [(75, 0.45), (120, 0.2)])
def test_an_epoch_beyond_a_minute_is_no_stillness(wearer, epoch_s, ap):
    """An angle that is repeated for two minutes looks as if every other one were still."""
    assert mean_ap(wearer.events, detect_events(as_epochs(wearer.series, epoch_s)).events) > ap


def part_of(series, first, last):
    """Give some rows of a series as a file of its own would have them."""
    return replace(
        series, start_s=series.start_s + first * series.epoch_s, first_step=series.first_step + first,
        offset_s=series.offset_s[first:last], observed=series.observed[first:last],
        channels={key: values[first:last] for key, values in series.channels.items()},
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.31, 0.5, 0.62])
@pytest.mark.parametrize("side", ["start", "end"])
def test_what_is_said_of_a_minute_does_not_change_when_another_day_is_cut_off(wearer, found, share, side):
    series, place = wearer.series, int(len(wearer.series) * share) // 12 * 12
    first, last = (0, place) if side == "end" else (place, len(series))
    table = minute_table(part_of(series, first, last), worn_mask(series)[first:last])
    said = shipped_minutes("watch").likelihoods(table)
    skipped = table.first_min - found.table.first_min
    off = np.abs(said.asleep - found.said.asleep[skipped : skipped + len(table)])
    away = np.arange(len(table)) if side == "start" else len(table) - np.arange(len(table))
    assert off[away > 600].max() < 0.02
    assert np.mean(off[away > 30] > 0.02) < 0.02


@pytest.mark.parametrize("name", ["judge00", "judge03", "judge05"])
def test_filling_is_found_in_a_part_of_a_recording_that_lacks_days_of_the_mean(name):
    made = simulate_wearer(name, seed=1)
    half = len(made.series) // 2
    for first, last in ((0, half), (half, len(made.series))):
        filled, off = filled_blocks(part_of(made.series, first, last)), made.off[first:last]
        assert (filled & off).sum() >= 0.97 * off.sum()
        assert (filled & off).sum() >= 0.99 * filled.sum()


@pytest.mark.parametrize("keys", [("anglez",), ("enmo",), ("anglez", "enmo")])
def test_any_channels_will_do(wearer, keys):
    events = detect_events(with_channels(wearer.series, keys)).events
    errors = event_errors(wearer.events, events)
    assert errors.n_missed("onset") <= 3


def test_who_sleeps_by_day_has_nights_by_day(wearer):
    """The same person's clock, twelve hours on."""
    late = replace(wearer.series, offset_s=wearer.series.offset_s + np.float32(11 * 3600))
    errors = event_errors(wearer.events, detect_events(late).events)
    assert errors.n_missed("onset") <= 4
    assert np.nanmedian(np.abs(errors.minutes)) < 30


@pytest.mark.parametrize(("day", "hour", "flown_h"), [(0, 14, 6), (1, 12, -6), (3, 13, -9), (3, 11, 9)])
def test_a_flight_gives_no_day_twice_and_moves_no_event(flyer, day, hour, flown_h):
    there = (flyer.start_s + flyer.offset_s[0]) // 86400 * 86400 + day * 86400 + hour * 3600
    flown = np.where(flyer.utc + flyer.offset_s[0] >= there, 3600 * flown_h, 0)
    home, away = (detect_events(one) for one in (flyer, replace(flyer, offset_s=flyer.offset_s + np.float32(flown))))
    nights = [row for row in night_rows(away) if row["onset"]]
    assert np.abs(away.events.step - home.events.step).max() <= 24
    assert [row["day"] for row in nights] == sorted({row["day"] for row in nights})
    assert all(np.datetime64(row["onset"][:10]) - np.datetime64(row["day"]) in (0, 1) for row in nights)


def test_a_sleep_that_the_edge_of_a_day_cuts_is_one_night(flyer):
    at = np.concatenate([np.arange(98 * 720), 720 + np.arange(12 * 720) % 5040, np.arange(98 * 720, len(flyer))])
    channels = {key: values[at] for key, values in flyer.channels.items()}  # half a day awake: sleep by day follows
    offset = np.full(len(at), flyer.offset_s[0])
    found = detect_events(make_series("flyer", flyer.start_s + 5.0 * np.arange(len(at)), channels, offset))
    assert (np.diff(found.events.step) > 0).all() and len(found.events) == 14
    assert OF_ANOTHER in [night.reason for night in found.nights]


@pytest.mark.parametrize("hours", [0.2, 3, 26])
def test_short_recordings_are_answered(wearer, hours):
    assert len(detect_events(part_of(wearer.series, 0, int(hours * 720))).events) <= 4


@pytest.mark.parametrize("asleep_min", [30, 120])
def test_a_record_that_begins_or_ends_asleep_lacks_that_event_and_says_so(wearer, asleep_min):
    nights = wearer.events.step.reshape(-1, 2).astype(int)
    first, last = nights[1, 0] + 12 * asleep_min, nights[3, 1] - 12 * asleep_min
    found = detect_events(part_of(wearer.series, first, last))
    rows = [row for row in night_rows(found) if row["onset"] or row["wakeup"]]
    assert [row["reason"] for row in rows] == [BEGINS_ASLEEP, "", ENDS_ASLEEP]
    assert rows[0]["onset"] is rows[0]["onset_confidence"] is rows[0]["hours"] is rows[-1]["wakeup"] is None
    assert found.events.event.tolist() == ["wakeup", "onset", "wakeup", "onset"]
    assert np.abs(found.events.step[[0, -1]] - [nights[1, 1], nights[3, 0]]).max() < 15 * 12
    assert events_json(found) and details_json(found)["nights"][0]["efficiency"] is None


# ---- parts


@given(st.lists(st.floats(0, 1), min_size=5, max_size=60), st.integers(-9, 9), st.integers(1, 9))
def test_means_around_are_means(values, first, width):
    values = np.array(values)
    known = np.arange(len(values)) % 3 > 0
    got = mean_around(values, known, first, first + width)
    for i in range(len(values)):
        low, high = np.clip([i + first, i + first + width], 0, len(values))
        own = values[low:high][known[low:high]]
        assert np.isnan(got[i]) if len(own) == 0 else abs(got[i] - own.mean()) < 1e-9


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_ranks_keep_order_and_ties(values):
    values = np.array(values, float)
    found = ranks(values, np.ones(len(values), bool))
    assert ((found[:, None] < found) == (values[:, None] < values)).all()
    assert abs(found.mean() - 0.5) < 1e-9


@given(st.lists(st.floats(-1, 1), min_size=31, max_size=200))
def test_the_best_interval_is_the_best(gain):
    gain = np.array(gain)
    (interval,) = best_intervals(gain, np.array([[0, len(gain)]]))
    total = np.append(0, np.cumsum(gain))
    best = max(total[b] - total[a] for a in range(len(total)) for b in range(a, len(total)))
    if interval:
        assert abs(total[interval[1]] - total[interval[0]] - best) < 1e-9


@given(st.lists(st.floats(0, 1), min_size=10, max_size=300), st.integers(0, 299))
@example([0.0] * 9 + [5e-324], 0)
def test_an_event_is_put_where_something_speaks_for_it(near, around):
    near = np.array(near)
    placed = place_event(near, min(around, len(near) - 1))
    assert 0 <= placed.minute < len(near)
    assert 0 <= placed.within_15 <= 1 + 1e-9 and 0 <= placed.score <= 1 + 1e-9


def test_an_event_earns_the_share_of_tolerances_that_its_likelihood_promises():
    share = [np.mean(np.array([1, 3, 5, 7.5, 10, 12.5, 15, 20, 25, 30]) > abs(d)) for d in range(-10, 11)]
    near = np.zeros(1000)
    near[490:511] = 1.0  # 21 minutes: certain
    sure = place_event(near, 400)
    assert (sure.minute, sure.within_15) == (500, 1)
    assert sure.score == pytest.approx(np.mean(share))
    near[:] = 0
    near[[400, 600]] = 0.75, 0.25
    doubtful = place_event(near, 500)
    assert (doubtful.minute, doubtful.within_15) == (400, 0.75)
    assert doubtful.score == pytest.approx(0.75 * np.sqrt(1 / 21))
    assert place_event(near, 690).minute == 600 and place_event(near, 690).within_15 == 1
    assert vars(place_event(near, 800)) == {"minute": 800, "score": 0, "within_15": 0}


def test_breaks_of_less_than_an_hour_are_bridged():
    still = np.zeros(1000, bool)
    still[100:200], still[250:400], still[470:560], still[600:620] = True, True, True, True
    assert longest_block(still, 1) == (100, 400)
    assert longest_block(~still[:0], 1) is None


def test_nights_without_a_mark_teach_nothing(wearer):
    table = minute_table(wearer.series)
    labels = minute_labels(table, wearer.events)
    minutes = table.minute_of(wearer.events.step).reshape(-1, 2)
    far = np.min(np.abs(np.arange(len(table))[:, None, None] - minutes), axis=(1, 2)) > 11 * 60
    assert (labels[far] == -1).all() and (labels[~table.worn] == -1).all()


def test_after_an_onset_whose_wakeup_is_not_marked_nothing_is_known(wearer):
    table, marks = minute_table(wearer.series), wearer.events
    (onset, wakeup), (after, _) = table.minute_of(marks.step.reshape(-1, 2)[:2]).astype(int)
    part = replace(marks, step=np.where(marks.step == marks.step[1], np.nan, marks.step))
    known, less = minute_labels(table, marks), minute_labels(table, part)
    between, next_known = slice(onset + 4, wakeup), after - 11 * 60
    assert (known[between] == SLEEP).any() and (less[between] == UNKNOWN).all()
    assert np.array_equal(less[:onset], known[:onset]) and np.array_equal(less[next_known:], known[next_known:])


def test_nothing_said_is_no_night():
    wearer = simulate_wearer("dora", seed=1, n_days=3)
    table = minute_table(wearer.series)
    said = Likelihoods(np.zeros(len(table)), np.zeros((2, len(table))))
    assert len(expected_gain(table, said)) == 0
    assert all(night.interval is None for night in nights_of(table, said))


# ---- models


def test_the_same_seed_gives_the_same_model(tmp_path):
    wearers = [simulate_wearer(name, seed=1, n_days=4) for name in ("anna", "carla")]
    tables = [minute_table(one.series) for one in wearers]
    one, two = (fit_minutes(tables, wearers[0].events, n_rounds=5) for _ in range(2))
    assert one.version == two.version
    save_minutes(one, tmp_path / "model.json")
    again = load_minutes(tmp_path / "model.json")
    difference = np.abs(again.likelihoods(tables[1]).near - one.likelihoods(tables[1]).near)
    assert difference.max() < 1e-3


def test_a_model_keeps_the_odds_that_were_fitted_to_people_held_out_and_other_odds_are_another_version(tmp_path):
    wearer = simulate_wearer("anna", seed=1, n_days=4)
    table = minute_table(wearer.series)
    model = fit_minutes([table], wearer.events, n_rounds=3)
    surer = model.with_odds((0.5, -1.0))
    save_minutes(surer, tmp_path / "model.json")
    again = load_minutes(tmp_path / "model.json")
    assert again.odds == again.likelihoods(table).odds == (0.5, -1.0)
    assert again.version == surer.version != model.version == model.with_odds((1.0, 0.0)).version
    content = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    for odds in ([0, 0], [1, 1e9], [1], ["a", 0], None, [float("nan"), 0]):
        (tmp_path / "model.json").write_text(json.dumps(content | {"odds": odds}), encoding="utf-8")
        with pytest.raises(EventsError, match="a model of boosted minutes"):
            load_minutes(tmp_path / "model.json")
    del content["odds"]  # as older versions wrote
    (tmp_path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    assert load_minutes(tmp_path / "model.json").odds == (1.0, 0.0)


def test_odds_move_how_sure_an_event_is_and_neither_its_place_nor_its_score():
    near = np.zeros((2, 1000))
    near[0, [400, 600]], near[1, 800] = (0.75, 0.25), 1.0
    night = NightFound(0, 1000, (500, 800), "", 0)
    as_said, moved = (place_night(Likelihoods(near[0], near, odds), night)[0] for odds in ((1.0, 0.0), (0.5, -1.0)))
    assert (moved.minute, moved.score, as_said.within_15) == (as_said.minute, as_said.score, 0.75)
    assert moved.within_15 == pytest.approx(1 / (1 + np.e / np.sqrt(3)))  # the root of odds of 3, over e


@pytest.mark.parametrize(
    "change", [{"groups": ["sound"]}, {"columns": []}, {"trees": []}, {"trees": [{}]}, {"card": 3}, None]
)
def test_a_model_that_was_changed_or_is_none_is_refused(tmp_path, change):
    content = json.loads((FOLDER / "watch.json").read_text(encoding="utf-8")) | change if change else [change]
    (tmp_path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(EventsError):
        load_minutes(tmp_path / "model.json")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_say_what_they_learned_from(name):
    card = shipped_minutes(name).card
    assert card["series"] >= 15 and card["data"] in ("simulated", "diary")


def test_real_nights_are_found_by_a_model_that_saw_simulated_ones_only(real_data):
    tables, written = open_diary(real_data / "wrist_diary")
    model = shipped_minutes("counts_simulated")
    assert model.card["data"] == "simulated"
    values = figures(written, decoded(list(tables.values()), [model.likelihoods(table) for table in tables.values()]))
    assert values["ap"] > 0.20
    assert values["onset_mae_min"] < 34 and values["wakeup_mae_min"] < 30


@pytest.mark.slow
def test_real_nights_are_found_by_models_of_other_people(real_data):
    tables, written = open_diary(real_data / "wrist_diary")
    found = out_of_fold(list(tables.values()), written, n_rounds=30, with_odds=True)
    values = figures(written, decoded(list(tables.values()), found))
    assert values["ap"] >= 0.25
    assert values["onset_mae_min"] < 30 and values["wakeup_mae_min"] < 21
    _, said, right = confidence(list(tables.values()), found, written)
    assert abs(said.mean() - right.mean()) < 0.06  # 0.12 as the trees say it


def test_the_shipped_model_of_a_diary_says_less_than_its_trees_how_sure_it_is():
    slope, offset = shipped_minutes("counts").odds
    assert 0.5 < slope < 1.2 and -1 < offset < -0.2


def test_the_simulation_is_as_hard_as_a_real_wearer_is_for_the_fields_rule_and_like_the_study():
    wearers = simulated("judge", 20)
    truth, rules = joined([one.events for one in wearers]), joined([heuristic_events(one.series) for one in wearers])
    assert 0.36 < mean_ap(truth, rules) < 0.50
    found = describe(wearers)
    far = {key for key, known in KNOWN.items() if abs(found[key] - known) > 0.25 * known + 0.02}
    assert far <= {"asleep_turn_95"}  # a few restless people decide it: 3.8 over 200, of 3.7


def test_counts_of_simulated_wearers_are_as_hard_for_a_rule_as_real_ones(real_data):
    tables, written = open_diary(real_data / "wrist_diary")
    wearers, (real, made) = simulated("judge", 40, counts=True), ({}, {})
    for kept, truth, series in (
        (real, written, [table.series for table in tables.values()]),
        (made, joined([one.events for one in wearers]), [one.series for one in wearers]),
    ):
        kept |= figures(truth, joined([heuristic_events(one) for one in series]))
    assert abs(made["ap"] - real["ap"]) < 0.05
    for event in ("onset", "wakeup"):
        assert abs(made[f"{event}_mae_min"] - real[f"{event}_mae_min"]) < 15


# ---- commands and endpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two wearers in the competition's format, with their marks."""
    path = tmp_path_factory.mktemp("series")
    result = CliRunner().invoke(events, ["simulate", "--out", str(path), "--n-wearers", "2", "--seed", "2"])
    assert result.exit_code == 0, result.output
    return path


def test_from_series_to_a_submission_and_its_judgement(folder, tmp_path):
    run = CliRunner()
    asked = ["--store", str(folder), "--jobs", "2"]
    result = run.invoke(events, ["detect", *asked, "--out", str(tmp_path), "--submission", str(tmp_path / "all.csv")])
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "row_id,series_id,step,event,score"
    assert [line.split(",")[0] for line in lines[1:]] == [str(i) for i in range(len(lines) - 1)]
    truth = read_events(folder / "events.csv")
    assert mean_ap(truth, read_events(tmp_path / "all.csv")) > 0.45
    details = json.loads((tmp_path / "judge00.json").read_text())
    assert details["events"] == events_json(detect_events(read_series(folder / "judge00.parquet")))
    assert (tmp_path / "judge00.csv").read_text().startswith("day,worn,reason,onset,")
    result = run.invoke(events, ["evaluate", "--store", str(folder), "--events", str(folder / "events.csv")])
    assert result.exit_code == 0 and result.output.startswith("ap ")


def test_one_table_holds_the_nights_of_all_series_with_their_sleep(folder, tmp_path):
    asked = ["detect", "--store", str(folder), "--nights", str(tmp_path / "nights.csv"), "--jobs", "1"]
    assert CliRunner().invoke(events, asked).exit_code == 0
    with (tmp_path / "nights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["series"] for row in rows)) == ["judge00", "judge01"]
    nights = [row for row in rows if row["hours"]]
    for row in nights:
        sleep, awake = float(row["sleep_min"]), float(row["waso_min"])
        assert sleep + awake <= float(row["hours"]) * 60 + 1
        assert float(row["efficiency"]) == pytest.approx(sleep / (sleep + awake), abs=0.001)
    assert nights and not any(row["sleep_min"] or row["efficiency"] for row in rows if row["reason"])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three wearers of two days, and a file that is no series."""
    path = tmp_path_factory.mktemp("small")
    for name in ("anna", "carla", "dora"):
        write_series(path / f"{name}.parquet", as_epochs(simulate_wearer(name, seed=1, n_days=2).series, 60))
    (path / "bad.csv").write_text("timestamp,enmo\n", encoding="utf-8")
    return path


def asked_for(store, into, *more):
    """Give a command that detects, and the two tables that it writes."""
    tables = [into / "nights.csv", into / "found.csv"]
    return ["detect", "--store", str(store), "--nights", str(tables[0]), "--submission", str(tables[1]), *more], tables


class InThread(ThreadWorkers):
    """Workers of this process, who are stopped by Ctrl-C after so many series."""

    stop_after = 99

    def __init__(self, jobs=None):
        super().__init__(1)

    def run(self, function, items):
        for n, done in enumerate(super().run(function, items)):
            if n == self.stop_after:
                raise KeyboardInterrupt
            yield done


def test_a_detection_goes_on_where_it_was_stopped_and_its_tables_are_whole(small, tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
    monkeypatch.setattr(InThread, "stop_after", 2)
    command, tables = asked_for(small, tmp_path, "--out", str(tmp_path / "out"))
    stopped = CliRunner().invoke(events, command)
    assert stopped.exit_code == 1 and "2 of 4 series are not done" in stopped.stderr
    assert "anna" in tables[0].read_text()  # what was computed is in the table
    monkeypatch.setattr(InThread, "stop_after", 99)
    went_on = CliRunner().invoke(events, command)
    assert went_on.stdout.splitlines()[-1] == "1 of 4 series were done before, and have not changed"
    assert went_on.exit_code == 1 and went_on.stderr.startswith("bad: expected a table that can be read")
    at_once, whole = asked_for(small, tmp_path / "out")
    assert CliRunner().invoke(events, at_once).exit_code == 1
    assert [path.read_bytes() for path in tables] == [path.read_bytes() for path in whole]
    with tables[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["series"] for row in rows)) == ["anna", "bad", "carla", "dora"]
    assert [row["reason"][:13] for row in rows if row["series"] == "bad"] == ["bad: expected"]


@pytest.mark.parametrize(("more", "said"), [
    (["--out", "{}"], "expected a place for results that is not that of the series, found the same"),
    (["--out", "{}/out/.."], "expected a place for results that is not that of the series, found the same"),
    (["--nights", "{}/bad.csv"], "bad.csv: expected a table of its own, found a file of a series"),
    (["--nights", "{}/bad.csv/nights.csv"], "bad.csv"),
])  # fmt: skip
def test_results_replace_no_recording_and_a_place_that_takes_none_is_told_first(small, more, said):
    before = {path: path.read_bytes() for path in small.iterdir()}
    run = CliRunner().invoke(events, ["detect", "--store", str(small), *(one.format(small) for one in more)])
    assert run.exit_code == 1 and said in run.output and "nights" not in run.stdout
    assert {path: path.read_bytes() for path in small.iterdir()} == before


def test_a_table_of_results_beside_the_series_is_no_series(small, tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
    (tmp_path / "anna.parquet").write_bytes((small / "anna.parquet").read_bytes())
    for _ in range(2):
        new = ["--nights", str(tmp_path / "nights.csv"), "--submission", str(tmp_path / "new" / "submission.csv")]
        assert CliRunner().invoke(events, ["detect", "--store", str(tmp_path), *new]).exit_code == 0
    assert list_series(str(tmp_path)) == ["anna"] and (tmp_path / "new" / "submission.csv").is_file()


def found_in(store, out, **more):
    """Tell which series are detected anew, and which are there already."""
    with ThreadWorkers(1) as workers:
        return {
            name: is_new
            for name, _, is_new in detect_all(str(store), list_series(str(store)), workers, **more, out=out)
        }


def test_a_series_is_detected_anew_where_anything_that_decides_is_another(small, tmp_path):
    for path in small.glob("*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    out = str(tmp_path / "out")
    assert found_in(tmp_path, out) == dict.fromkeys(("anna", "carla", "dora"), True)
    assert found_in(tmp_path, out) == dict.fromkeys(("anna", "carla", "dora"), False)
    (tmp_path / "anna.parquet").write_bytes((small / "dora.parquet").read_bytes())
    (tmp_path / "out" / "carla.csv").unlink()
    assert found_in(tmp_path, out) == {"anna": True, "carla": True, "dora": False}
    (tmp_path / "out" / "anna.json").write_text("[1", encoding="utf-8")
    (tmp_path / "out" / "dora.json").write_text("[]", encoding="utf-8")
    assert found_in(tmp_path, out) == {"anna": True, "carla": False, "dora": True}
    assert all(found_in(tmp_path, out, zone="Asia/Tokyo").values())
    save_minutes(replace(shipped_minutes("watch_60"), version="another"), tmp_path / "model.json")
    assert all(found_in(tmp_path, out, zone="Asia/Tokyo", model=str(tmp_path / "model.json")).values())


def test_a_place_that_takes_no_results_is_told_before_anything_is_detected(folder, tmp_path):
    for place, found in ((folder / "events.csv", "a file where a folder"), ("gs://b", "neither a folder nor")):
        run = CliRunner().invoke(events, ["detect", "--store", str(folder), "--out", str(place)])
        assert (run.exit_code, found in run.output) == (1, True)


@pytest.mark.parametrize(("names", "said"), [
    (["judge00", "elsewhere"],
     "the model learned from series of these names: judge00; its figures on them are too good"),
    (["elsewhere"], ""), ("judge00", ""), ({"judge00": 1}, ""),
])  # fmt: skip
def test_who_is_judged_and_was_learned_from_is_told_where_the_model_file_says_so(folder, tmp_path, names, said):
    known = replace(shipped_minutes("enmo"), card={"names": names})
    save_minutes(known, tmp_path / "model.json")
    asked = ["evaluate", "--store", str(folder), "--events", str(folder / "events.csv")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
        run = CliRunner().invoke(events, [*asked, "--model", str(tmp_path / "model.json")])
    assert run.exit_code == 0 and run.stderr.strip() == said


def test_a_diary_by_the_clock_is_judged_as_the_steps_it_stands_for(folder, tmp_path):
    truth = read_events(folder / "events.csv")
    lines = ["series_id,onset,wakeup", "judge00,,2017-01-01 07:00", "elsewhere,2017-01-01 23:00,2017-01-02 07:00"]
    for name in ("judge00", "judge01"):
        series = read_series(folder / f"{name}.parquet")
        times = [series.time_of(step)[:19].replace("T", " ") for step in truth.step[truth.series == name]]
        lines += [f"{name},{onset},{wakeup}" for onset, wakeup in zip(times[::2], times[1::2], strict=True)]
    (tmp_path / "diary.csv").write_text("\n".join(lines), encoding="utf-8")
    late = [f"{s},{e},{step + 24}" for s, e, step in zip(truth.series, truth.event, truth.step, strict=True)]
    (tmp_path / "found.csv").write_text("\n".join(["series_id,event,step", *late]), encoding="utf-8")
    asked = ["evaluate", "--store", str(folder), "--found", str(tmp_path / "found.csv")]
    marks = CliRunner().invoke(events, [*asked, "--events", str(folder / "events.csv")])
    diary = CliRunner().invoke(events, [*asked, "--diary", str(tmp_path / "diary.csv")])
    assert (diary.exit_code, diary.stdout) == (0, marks.stdout)
    assert "onset_bias_min       2.000" in diary.stdout and "1 of 3 marked series" in diary.stderr
    assert "judge01.wakeup_mae_min 2.000" in diary.stdout
    neither = CliRunner().invoke(events, asked)
    assert (neither.exit_code, "expected --events or --diary, found neither" in neither.output) == (1, True)


def test_events_of_a_model_or_of_a_table_are_judged_and_not_both(folder):
    marks = str(folder / "events.csv")
    asked = ["evaluate", "--store", str(folder), "--events", marks, "--found", marks, "--model", marks]
    run = CliRunner().invoke(events, asked)
    assert run.exit_code == 1 and "expected --model, which finds them, or --found, found both" in run.output


@pytest.mark.parametrize(("text", "said"), [
    ("wearer;onset;wakeup\n", "columns series_id, onset, wakeup, found no onset"),
    ("series_id,onset,wakeup\njudge00,23:10,06:55\n", "time stamps such as .*, found '23:10'"),
    ("series_id,onset,wakeup\njudge00,2017-01-01 23:10\n", "marks of series of this store, found none"),
    (
        "series_id,onset,wakeup\njudge00,2017-01-01 23:10,2017-01-01 06:55\n",
        "judge00: expected each wakeup within 24 h after its onset, found 2017-01-01 23:10 and 2017-01-01 06:55",
    ),
    ("series_id,onset,wakeup\njudge00,2017-01-01 23:10,2018-01-02 06:55\n", "each wakeup within 24 h after its onset"),
    ("series_id,onset,wakeup\njudge00,0001-01-01 23:10,0001-01-02 06:55\n", "expected times from 1970 to 2100"),
])  # fmt: skip
def test_a_diary_that_is_none_is_refused(folder, tmp_path, text, said):
    (tmp_path / "diary.csv").write_text(text, encoding="utf-8")
    asked = ["evaluate", "--store", str(folder), "--found", str(folder / "events.csv")]
    run = CliRunner().invoke(events, [*asked, "--diary", str(tmp_path / "diary.csv")])
    assert run.exit_code == 1 and re.search(said, run.output)


def test_a_night_that_is_written_twice_is_one_night_and_one_without_an_end_is_none(tmp_path):
    rows = ["a,2017-01-01 23:10,2017-01-02 06:55"] * 2 + ["a,2017-01-02 23:10,NA", "a,2017-01-03 23:10"]
    (tmp_path / "diary.csv").write_text("\n".join(["wearer,onset,wakeup", *rows]))
    assert read_written(tmp_path / "diary.csv") == {"a": [("2017-01-01 23:10", "2017-01-02 06:55")]}


@pytest.mark.parametrize("with_found", [False, True])
@pytest.mark.parametrize("by", ["diary", "events"])
def test_a_series_that_cannot_be_used_is_named_and_lowers_no_figure(small, tmp_path, monkeypatch, by, with_found):
    monkeypatch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
    lines = {
        "diary": ["series_id,onset,wakeup", *(f"{name},2017-10-02 23:10,2017-10-03 06:55" for name in ("anna", "bad"))],
        "events": ["series_id,event,step", *(f"{name},{event},9000" for name in ("anna", "bad") for event in EVENTS)],
    }
    (tmp_path / "truth.csv").write_text("\n".join(lines[by]), encoding="utf-8")
    (tmp_path / "found.csv").write_text("series_id,event,step\nanna,onset,9001\n", encoding="utf-8")
    asked = ["evaluate", "--store", str(small), f"--{by}", str(tmp_path / "truth.csv")]
    run = CliRunner().invoke(events, asked + ["--found", str(tmp_path / "found.csv")] * with_found)
    is_bad = not with_found or by == "diary"  # marks and a table need no series
    assert run.exit_code == is_bad and ("bad: expected" in run.stderr) == is_bad
    missed = re.search(r"onset_missed +(\d)", run.stdout)[1]
    assert int(missed) <= 1 + (not is_bad)


def test_a_series_whose_process_is_lost_is_named_when_it_is_judged(small, tmp_path, monkeypatch):
    monkeypatch.setattr(InThread, "run", lambda self, function, names: [Done(name, None, "killed") for name in names])
    monkeypatch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
    (tmp_path / "marks.csv").write_text("series_id,event,step\nanna,onset,9000\n", encoding="utf-8")
    run = CliRunner().invoke(events, ["evaluate", "--store", str(small), "--events", str(tmp_path / "marks.csv")])
    assert (run.exit_code, run.stderr.splitlines()[0]) == (1, "anna: killed")


@pytest.mark.parametrize("command", ["detect", "evaluate", "prepare"])
def test_a_zone_that_is_none_is_told_once_and_before_anything_is_read(small, tmp_path, command):
    run = CliRunner().invoke(events, [command, "--store", str(small), "--zone", "Europe/Nowhere"])
    assert run.exit_code == 2 and run.stderr.count("expected a time zone such as Europe/Berlin") == 1


@pytest.mark.parametrize(("keys", "epoch_s", "is_told"), [
    (["anglez"], 5, True), (["anglez"], 60, False), (["enmo"], 5, False), (["pim"], 60, True),
])  # fmt: skip
def test_sleep_is_told_from_wake_by_an_angle_in_short_epochs_and_by_counts(wearer, keys, epoch_s, is_told):
    counted = simulate_wearer("anna", seed=1, n_days=2, counts=True).series
    series = counted if keys == ["pim"] else as_epochs(with_channels(wearer.series, keys), epoch_s)
    assert (sleep_by_minute(minute_table(series)) is not None) == is_told


def test_real_nights_of_a_diary_are_slept_through_for_the_most_part_by_the_rule_for_counts(real_data):
    tables, written = open_diary(real_data / "wrist_diary")
    asleep = []
    for name, table in tables.items():
        ends = table.minute_of(written.step[written.series == name]).round().astype(int).reshape(-1, 2)
        asleep += [sleep_by_minute(table)[first:last].mean() for first, last in ends]
    assert len(asleep) == 104 and 0.8 < np.median(asleep) < 0.95


def test_what_is_prepared_trains_the_same_model(folder, tmp_path):
    run = CliRunner()
    assert run.invoke(events, ["prepare", "--store", str(folder), "--out", str(tmp_path / "ready")]).exit_code == 0
    marks = ["--events", str(folder / "events.csv"), "--rounds", "5"]
    result = run.invoke(
        events, ["train", "--prepared", str(tmp_path / "ready"), *marks, "--out", str(tmp_path / "m.json")]
    )
    assert result.exit_code == 0, result.output
    assert load_minutes(tmp_path / "m.json").card["names"] == ["judge00", "judge01"]
    tables = [minute_table(read_series(folder / f"judge0{i}.parquet")) for i in (0, 1)]
    truth = read_events(folder / "events.csv")
    odds = held_out_odds(tables, truth, ANGLE, 5, near_min=NEAR_MIN)
    direct = fit_minutes(tables, truth, ANGLE, n_rounds=5).with_odds(odds)
    assert odds != (1.0, 0.0) and load_minutes(tmp_path / "m.json").version == direct.version


def test_what_is_prepared_knows_the_wearers_clock_and_its_changes(wearer, tmp_path):
    later = np.arange(len(wearer.series)) > 9000
    series = replace(wearer.series, offset_s=wearer.series.offset_s + 3600 * later)
    write_prepared(tmp_path, series)
    (table,), _, _ = read_prepared(tmp_path)
    assert np.array_equal(table.local_min, minute_table(series).local_min)
    path = tmp_path / f"{series.name}.json"
    path.write_text(path.read_text().replace('"offsets": [[0,', '"offsets": [[7,'), encoding="utf-8")
    with pytest.raises(EventsError, match="features that `prepare` has written"):
        read_prepared(tmp_path)


def test_who_trains_on_simulated_wearers_is_told_that_how_sure_it_is_is_fitted_to_nobody(tmp_path):
    asked = ["train", "--simulated", "1", "--rounds", "2", "--out", str(tmp_path / "m.json")]
    result = CliRunner().invoke(events, asked)
    said = "the model's confidence is not calibrated: that takes 40 marked events of real people\n"
    assert (result.exit_code, result.stderr) == (0, said)


def test_wrists_of_two_kinds_are_not_trained_on_together_and_one_of_each_is_named(tmp_path):
    write_prepared(tmp_path, as_epochs(simulate_wearer("anna", seed=1, n_days=1).series, 60))
    write_prepared(tmp_path, simulate_wearer("dora", seed=1, n_days=1, counts=True).series)
    with pytest.raises(EventsError, match="one kind, found angle in anna and movement, temperature, light in dora"):
        read_prepared(tmp_path)


def test_mlflow_is_told_of_a_training_when_asked(tmp_path, monkeypatch):
    """By a stand-in for it; without it the command says so before it trains."""
    told = {}

    @contextmanager
    def start_run(run_name):
        told["run"] = run_name
        yield SimpleNamespace(info=SimpleNamespace(run_id="run-1"))

    stand_in = SimpleNamespace(
        start_run=start_run,
        log_params=told.update,
        log_metrics=told.update,
        log_dict=lambda document, name: None,
        exceptions=SimpleNamespace(MlflowException=ValueError),
    )
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    asked = ["train", "--simulated", "1", "--rounds", "2", "--mlflow", "--out", str(tmp_path / "m.json")]
    result = CliRunner().invoke(events, asked)
    assert result.exit_code == 0, result.output
    assert told["run"] == load_minutes(tmp_path / "m.json").version and told["rounds"] == 2
    assert "names" not in told  # MLflow takes no long parameter
    monkeypatch.setitem(sys.modules, "mlflow", None)
    result = CliRunner().invoke(events, asked)
    assert result.exit_code == 1 and "pip install 'dreem_case[tracking]'" in result.output


def test_a_series_that_cannot_be_used_does_not_stop_the_others(folder, tmp_path):
    write_series(tmp_path / "good.parquet", read_series(folder / "judge01.parquet"))
    (tmp_path / "bad.csv").write_text("series_id,step,timestamp,enmo\n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no series", encoding="utf-8")
    result = CliRunner().invoke(
        events, ["detect", "--store", str(tmp_path), "--out", str(tmp_path / "out"), "--jobs", "1"]
    )
    assert result.exit_code == 1 and "1 files of other kinds are not read: notes.md" in result.output
    assert "bad: expected" in result.output and (tmp_path / "out" / "good.json").is_file()


def test_a_series_of_a_folder_is_called_as_its_file_whatever_that_calls_it(small, tmp_path):
    for name in ("one", "two"):
        shutil.copy(small / "anna.parquet", tmp_path / f"{name}.parquet")
    (tmp_path / "three.csv").write_text("series_id,timestamp,enmo\nanna,2018-08-14T15:30:00Z,1\n", encoding="utf-8")
    result = CliRunner().invoke(events, ["prepare", "--store", str(tmp_path), "--out", str(tmp_path / "ready")])
    assert result.exit_code == 1 and "three: expected the wearer's time zone" in result.output
    assert sorted(path.stem for path in (tmp_path / "ready").glob("*.npy")) == ["one", "two"]
    series = open_series(str(tmp_path), "one")
    assert series.name == "one" and "its file calls it anna" in series.notes


def test_a_series_in_two_files_is_refused_and_both_are_named(small, tmp_path):
    store = shutil.copytree(small, tmp_path / "store")
    write_series(store / "anna.csv", open_series(str(store), "anna"))
    assert list_series(str(store)) == list_series(str(small))
    for read in (open_series, series_version):
        with pytest.raises(EventsError, match=r"found anna\.csv and anna\.parquet$"):
            read(str(store), "anna")


def test_a_store_is_listed_once_where_no_names_are_given_and_a_series_by_its_name_alone(small, tmp_path, monkeypatch):
    listed, files_in = [], places.files_in
    monkeypatch.setattr(places, "files_in", lambda *place, **of: listed.append(of) or files_in(*place, **of))
    (store := tmp_path / "store").mkdir()
    shutil.copy(small / "anna.parquet", store)
    (store / "notes.md").write_text("no series", encoding="utf-8")
    run = CliRunner().invoke(events, ["prepare", "--store", str(store), "--out", str(tmp_path / "ready")])
    assert (run.exit_code, "1 files of other kinds are not read: notes.md" in run.stderr) == (0, True)
    assert listed == [{"begins": ("",)}, {"begins": ("anna",)}]


@pytest.mark.parametrize("command", [["detect", "--jobs", "1"], ["prepare"]])
def test_a_store_without_series_is_no_success(tmp_path, command):
    run = CliRunner().invoke(events, [*command, "--store", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (run.exit_code, "expected series in files" in run.output) == (1, True)


@pytest.mark.parametrize(("more", "said"), [
    (["--simulated", "1"], "expected a file for the result, found a folder"),
    (["--network", "--simulated", "1", "--counts"], "expected options of a network, found --counts"),
    (["--prepared", ".", "model=spec1d"], "expected options of a network, found --prepared"),
])  # fmt: skip
def test_a_training_that_would_not_do_what_is_asked_does_not_begin(tmp_path, more, said):
    result = CliRunner().invoke(events, ["train", "--out", str(tmp_path), *more])
    assert (result.exit_code, said in result.output) == (1, True)


def test_a_table_of_something_else_is_told_what_it_lacks(tmp_path):
    (tmp_path / "marks.csv").write_text("series,event,step\na,onset,1\n")
    with pytest.raises(EventsError, match="series_id, event, step, found no series_id"):
        read_events(tmp_path / "marks.csv")
    (tmp_path / "marks.csv").write_text("series_id,event,step\na,Onset,1\n")
    with pytest.raises(EventsError, match=r"marks\.csv: expected events onset and wakeup, found 'Onset'"):
        read_events(tmp_path / "marks.csv")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(EventsError, match="a model of boosted minutes, found no kind"):
        load_minutes(tmp_path / "model.json")


def test_marks_of_other_series_are_not_judged_as_missed(folder, tmp_path):
    (tmp_path / "marks.csv").write_text("series_id,event,step\nnobody,onset,100\n", encoding="utf-8")
    asked = ["evaluate", "--store", str(folder), "--events", str(tmp_path / "marks.csv")]
    run = CliRunner().invoke(events, asked)
    assert (run.exit_code, "marks of series of this store, found none" in run.output) == (1, True)


def test_marks_of_series_that_are_elsewhere_lower_no_figure(folder, tmp_path):
    truth = read_events(folder / "events.csv")
    rows = [",".join(map(str, row)) for row in zip(truth.series, truth.event, truth.step, strict=True)]
    for name, more in (("marks", ["elsewhere,onset,100", "elsewhere,wakeup,5000"]), ("found", [])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["series_id,event,step", *rows, *more]))
    asked = ["evaluate", "--store", str(folder), "--found", str(tmp_path / "found.csv")]
    run = CliRunner().invoke(events, [*asked, "--events", str(tmp_path / "marks.csv")])
    assert "1 of 3 marked series are not in this store, and are not judged" in run.output
    assert "ap                   1.000" in run.output


def test_a_row_that_is_there_twice_is_one_mark_and_two_of_a_submission_are_two_events(tmp_path):
    rows = ["a,1,onset,100", "a,1,wakeup,7000.0", "a,2,onset,nan", "a,2,wakeup,", "a,3,onset,NA", "a,3,wakeup,N/A"]
    (tmp_path / "marks.csv").write_text("\n".join(["series_id,night,event,step", *rows, *rows]), encoding="utf-8")
    (tmp_path / "found.csv").write_text("row_id,series_id,step,event,score\n0,a,100,onset,1\n1,a,100,onset,1\n")
    assert read_events(tmp_path / "marks.csv").step.tolist() == [100, 7000]
    assert read_events(tmp_path / "found.csv").step.tolist() == [100, 100]


def test_marks_whose_events_are_swapped_are_refused(folder, tmp_path):
    (tmp_path / "marks.csv").write_text("step,event,night,series_id\n9000,onset,3,judge00\n2000,wakeup,3,judge00\n")
    asked = ["evaluate", "--store", str(folder), "--events", str(tmp_path / "marks.csv")]
    run = CliRunner().invoke(events, asked)
    said = "expected each wakeup after its onset, found in night 3 a wakeup at step 2000 and an onset at 9000"
    assert (run.exit_code, said in run.output) == (1, True)


@pytest.mark.parametrize("by", ["diary", "events"])
def test_marks_outside_of_the_recording_are_told(small, tmp_path, monkeypatch, by):
    monkeypatch.setattr("dreem_case.core.workers.LocalWorkers", InThread)
    lines = {
        "diary": ["series_id,onset,wakeup", "anna,2015-10-02 23:10,2015-10-03 06:55"],
        "events": ["series_id,event,step", "anna,onset,-9", "anna,wakeup,9000000"],
    }
    (tmp_path / "truth.csv").write_text("\n".join(lines[by]), encoding="utf-8")
    run = CliRunner().invoke(events, ["evaluate", "--store", str(small), f"--{by}", str(tmp_path / "truth.csv")])
    assert "anna: 2 of 2 marked events lie outside of the recording and count as missed" in run.stderr


def test_series_and_marks_that_do_not_meet_are_told_as_they_teach_nothing(small, tmp_path):
    (tmp_path / "marks.csv").write_text("series_id,event,step\nnobody,onset,100\nnobody,wakeup,7000\n")
    write_prepared(tmp_path / "ready", open_series(str(small), "anna"))
    asked = ["train", "--prepared", str(tmp_path / "ready"), "--events", str(tmp_path / "marks.csv")]
    run = CliRunner().invoke(events, [*asked, "--out", str(tmp_path / "m.json")])
    assert "1 of 1 series have no marks, and teach nothing\n1 of 1 marked series are not among them" in run.stderr


def test_without_a_zone_the_command_asks_for_it(tmp_path):
    rows = "".join(f"2023-08-28 {9 + i // 60:02}:{i % 60:02}:00,{i % 7}\n" for i in range(300))
    (tmp_path / "watch.csv").write_text("timestamp,pim\n" + rows, encoding="utf-8")
    run, asked = (
        CliRunner(),
        ["detect", "--store", str(tmp_path), "--submission", str(tmp_path / "s.out"), "--jobs", "1"],
    )
    assert "the wearer's time zone" in run.invoke(events, asked).output
    assert run.invoke(events, [*asked, "--zone", "Europe/Berlin"]).exit_code == 0


@pytest.fixture
def client(folder, monkeypatch):
    """The endpoints, over the two wearers."""
    from dreem_case.events import endpoint

    monkeypatch.setenv("DREEM_CASE_EVENTS_STORE", str(folder))
    for cached in (endpoint._place, endpoint._model, endpoint._kept.__wrapped__):
        cached.cache_clear()
    app = Flask("events")
    app.register_blueprint(make_blueprint())
    yield app.test_client()
    endpoint._place.cache_clear()


def test_the_endpoint_gives_the_events_of_a_series(client, folder):
    assert client.get("/events").json == {"series": ["judge00", "judge01"]}
    answer = client.get("/events/judge00").json
    assert set(answer[0]) == {"event", "step", "time", "score"}
    assert answer == events_json(detect_events(read_series(folder / "judge00.parquet")))
    details = client.get("/events/judge00/details").json
    assert len(details["asleep"]) == len(details["movement"]) == len(details["local_minute"])
    for path in ("/actogram/", "/actogram/judge00", "/actogram-files/actogram.js"):
        assert client.get(path, buffered=True).status_code == 200


def test_endpoints_answer_as_their_openapi_document_says(client, monkeypatch):
    from dreem_case.events import endpoint

    pages = {"/actogram", "/actogram/", "/actogram/{_}", "/actogram-files/{name}"}
    paths = check_description(client.application, pages)
    for path, methods in paths.items():
        for series in ("judge00", "nobody"):
            check_answer(methods["get"], client.get(path.format(series=series)))
    said = paths["/events/{series}/details"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for night in client.get("/events/judge00/details").json["nights"]:
        assert set(night) == set(said["properties"]["nights"]["items"]["properties"])
    monkeypatch.setenv("DREEM_CASE_EVENTS_STORE", "nowhere/at/all")
    endpoint._place.cache_clear()
    check_answer(paths["/events"]["get"], client.get("/events"))


def test_a_series_that_was_replaced_is_detected_anew(client, folder):
    path, other = folder / "again.parquet", folder / "judge01.parquet"
    path.write_bytes((folder / "judge00.parquet").read_bytes())
    first = client.get("/events/again").json
    path.write_bytes(other.read_bytes())
    answer, expected = client.get("/events/again").json, client.get("/events/judge01").json
    path.unlink()
    assert answer == expected != first


def test_a_file_whose_name_no_series_may_have_is_named_and_not_passed_over(client, folder):
    path = folder / "wearer #1.csv"
    path.write_text("timestamp,enmo\n", encoding="utf-8")
    listed, answer = client.get("/events").json["series"], client.get("/events/wearer%20%231")
    path.unlink()
    assert "wearer #1" in listed
    assert (answer.status_code, answer.json["expected"][:13]) == (422, "a series name")


@pytest.mark.parametrize("name", ["nobody", "..%2f..%2fetc%2fpasswd", "events", "%00", "judge00.parquet"])
def test_a_name_that_is_not_listed_is_not_found(client, name):
    answer = client.get(f"/events/{name}")
    assert answer.status_code == 404


def test_a_series_that_cannot_be_used_is_refused_with_the_reason(client, folder):
    path = folder / "radians.csv"
    rows = "".join(f"2018-08-14T15:{i // 12:02}:{i % 12 * 5:02}-0400,{np.sin(i):.4f}\n" for i in range(600))
    path.write_text("timestamp,anglez\n" + rows, encoding="utf-8")
    answer = client.get("/events/radians")
    path.unlink()
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json["series"] == "radians" and answer.json["detail"].startswith("radians: expected ")
