"""Real nights of breathing: files with traps, one clock, leave one out."""

from contextlib import suppress
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.array_files import ArrayError
from dreem_case.mae import respiration
from dreem_case.mae.montage import MODALITIES
from dreem_case.mae.respiration import (
    Breathing,
    as_examples,
    blend,
    breathing_features,
    breathing_figures,
    embedding_rows,
    leave_one_out,
    read_night,
    read_respiration,
)
from dreem_case.nights.stages import Stage

START = datetime(2024, 5, 29, 23, 58, 0)
FORMS = {"us": "%m/%d/%Y %I:%M:%S %p", "dashes": "%d-%m-%Y %H:%M:%S", "dots": "%d.%m.%Y %H:%M:%S"}


def event(at_s: float, length_s: float, kind: str = "Hypopnea") -> str:
    begin, end = START + timedelta(seconds=at_s), START + timedelta(seconds=at_s + length_s)
    return f"{begin:%d.%m.%Y %H:%M:%S},{begin.microsecond // 1000:03d}-{end:%H:%M:%S},000; {length_s:.0f};{kind}; N2"


def write(folder, events=(), stages=("Wake", "N1", "N2", "N3"), form="dots", shift_s=0, name="AP01", **signals) -> None:
    n = 32 * 150
    flow = (300 * np.sin(np.arange(n) / 20)).astype(np.int16)
    given_ = {"flow": flow, "thorax": flow, "spo2": np.full(600, 96, np.uint8)} | signals
    np.savez(folder / f"{name}_signals.npz", **{key: value for key, value in given_.items() if value is not None})
    (folder / f"{name}_Flow_Events_x.txt").write_text(
        "\r\n".join([f"Start Time: {START.strftime(FORMS[form])}", "Unit: s", "", *events]), encoding="utf-8-sig"
    )
    first = START + timedelta(seconds=shift_s)
    lines = [f"{first + timedelta(seconds=30 * i):%d.%m.%Y %H:%M:%S},000; {stage}" for i, stage in enumerate(stages)]
    (folder / f"{name}_Sleep_profile.x.txt").write_text(
        "\n".join([f"Start Time: {first.strftime(FORMS[form])}", "Rate: 30 s", "", *lines])
    )


@pytest.mark.parametrize("form", FORMS)
def test_dates_of_three_forms_are_read_alike_past_midnight(tmp_path, form):
    write(tmp_path, [event(115, 12)], form=form)
    night = read_night(tmp_path, "AP01")
    assert night.seconds.tolist() == pytest.approx([0, 0, 0, 5], abs=0.11)
    assert night.stage.tolist() == [Stage.WAKE, Stage.N1, Stage.N2, Stage.DEEP]


def test_signal_and_stages_that_start_apart_are_put_on_the_clock_of_the_stages(tmp_path):
    ramp = np.arange(32 * 150, dtype=np.int16)
    for shift_s in (18, -18):
        write(tmp_path, [event(48, 12)], shift_s=shift_s, flow=ramp, thorax=ramp)
        night = read_night(tmp_path, "AP01")
        assert f"stages begin {shift_s:+d} s from the signal" in night.notes
        assert night.flow[1, 0] == (30 + shift_s) * 32
        assert night.seconds.tolist() == pytest.approx([0, 12, 0, 0] if shift_s > 0 else [0, 0, 12, 0], abs=0.11)
    assert np.isnan(night.flow[0, : 18 * 32]).all() and night.stage[0] == -1


def test_what_is_no_event_of_breathing_or_lies_outside_is_counted_and_left_out(tmp_path):
    write(tmp_path, [event(40, 10, "Body event"), event(400, 10), event(-30, 10), event(65, 10, "Obstructive Apnea"),
                     "nonsense; 1; Hypopnea", event(70, 10)])  # fmt: skip
    night = read_night(tmp_path, "AP01")
    assert night.seconds.tolist() == pytest.approx([0, 0, 15, 0], abs=0.11)  # what overlaps counts once
    assert set(night.notes) == {
        "events Body event that are not of breathing: 1",
        "events outside the signal: 2",
        "lines without a time: 1",
    }


def test_stages_that_are_none_are_not_scored_and_n4_is_deep(tmp_path):
    write(tmp_path, stages=("A", "N4", "Movement", "REM"))
    night = read_night(tmp_path, "AP01")
    assert night.stage.tolist() == [-1, Stage.DEEP, -1, Stage.REM]
    assert {note.split(" stage ")[1] for note in night.notes} == {"A without a score: 1", "Movement without a score: 1"}


def test_a_probe_that_is_off_is_no_saturation(tmp_path):
    spo2 = np.full(600, 95, np.uint8)
    spo2[:100], spo2[300:310] = 127, 0
    write(tmp_path, spo2=spo2)
    night = read_night(tmp_path, "AP01")
    assert np.isnan(night.spo2).sum() == 110 and np.nanmin(night.spo2) == np.nanmax(night.spo2) == 95


def test_stages_that_last_longer_than_the_signal_are_not_judged_there(tmp_path):
    write(tmp_path, stages=["N2"] * 9)
    night = read_night(tmp_path, "AP01")
    assert night.stage.tolist() == [Stage.N2] * 5 + [-1] * 4 and np.isnan(night.flow[5:]).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"flow": None}, "an array flow"),
        ({"flow": np.zeros((4800, 2), np.int16)}, "one value a sample"),
        ({"flow": np.zeros(20, np.int16)}, "of 30 s at least"),
        ({"spo2": np.full(600, "x")}, "spo2 of a kind"),
        ({"stages": ()}, "stages, one every 30 s"),
        ({"shift_s": 7200}, "stages that begin within the signal"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(tmp_path, changed, said):
    write(tmp_path, **changed)
    with pytest.raises(ArrayError, match=said):
        read_night(tmp_path, "AP01")


def test_a_text_without_a_start_or_twice_the_same_text_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "AP01_Flow_Events_x.txt").write_bytes(b"\x00" * 500)
    with pytest.raises(ArrayError, match="Start Time"):
        read_night(tmp_path, "AP01")
    write(tmp_path)
    (tmp_path / "AP01_Flow_Events_y.txt").write_text("")
    with pytest.raises(ArrayError, match="one file, found 2"):
        read_night(tmp_path, "AP01")
    with pytest.raises(ArrayError, match="NAME_signals"):
        read_respiration(tmp_path / "none")


@given(st.lists(st.text(max_size=60), max_size=8))
def test_no_line_of_a_text_makes_reading_fail_in_another_way(lines):
    spans, notes = respiration._events(lines, START, 600.0)
    assert all(0 <= at <= to <= 600 for at, to in spans) and all(isinstance(note, str) for note in notes)
    with suppress(ArrayError):
        respiration._stages("x", START, lines)


def made_up(seed: int, n: int = 100) -> Breathing:
    random, t = np.random.default_rng(seed), np.arange(n * 960) / 32
    down = (t % 180 > 100) & (t % 180 < 115)
    flow = (300 * np.sin(1.6 * t) * np.where(down, 0.3, 1) + random.normal(0, 40, len(t))).reshape(n, -1)
    spo2 = (96 - 4.0 * np.roll(down, 640)[::8] + random.normal(0, 0.5, n * 120)).reshape(n, -1)
    flow, spo2, seconds = flow.astype(np.float32), spo2.astype(np.float32), down.reshape(n, -1).sum(axis=1) / 32
    return Breathing(f"n{seed}", flow, flow, spo2, np.full(n, 2), seconds, ())


def test_events_are_found_on_a_night_that_nobody_learned_from_and_not_by_where_they_lie():
    nights = [made_up(seed) for seed in range(3)]
    found = breathing_figures(nights, leave_one_out(nights, [breathing_features(night) for night in nights]))
    assert min(one["auroc"] for one in found.values()) > 0.85
    random = np.random.default_rng(0)
    for night in nights:
        night.seconds[:] = random.permutation(night.seconds)
    found = breathing_figures(nights, leave_one_out(nights, [breathing_features(night) for night in nights]))
    assert abs(np.mean([one["auroc"] for one in found.values()]) - 0.5) < 0.12


def test_wake_is_neither_learned_from_nor_judged_and_a_night_without_events_has_no_figure():
    nights = [made_up(seed) for seed in range(3)]
    nights[0].seconds[:] = 0
    nights[0].stage[:50] = Stage.WAKE
    found = breathing_figures(nights, leave_one_out(nights, [breathing_features(night) for night in nights]))
    assert np.isnan(found["n0"]["auroc"]) and found["n0"]["events"] == 0 and found["n1"]["auroc"] > 0.8


def test_a_night_whose_saturation_was_never_recorded_still_has_features_and_examples():
    night = made_up(0)
    night.spo2[:] = np.nan
    assert np.isfinite(breathing_features(night)).all()
    signals, present = as_examples(night)
    kinds = [MODALITIES[i].kind for i in np.flatnonzero(present.any(axis=0))]
    assert kinds == ["effort", "flow"] and np.isfinite(signals).all()


def test_a_blend_of_equals_is_the_same_and_stays_a_probability():
    p = np.array([0.0, 0.1, 0.9, 1.0])
    np.testing.assert_allclose(blend(p, p, 0.3), p, atol=1e-3)
    assert np.isfinite(embedding_rows(np.full((5, 3), np.nan, np.float32))).all()


def test_hand_made_features_of_real_nights_are_as_good_as_they_were(real_data):
    nights = read_respiration(real_data / "respiration")
    found = breathing_figures(nights, leave_one_out(nights, [breathing_features(night) for night in nights]))
    assert np.mean([one["auroc"] for one in found.values()]) >= 0.71
