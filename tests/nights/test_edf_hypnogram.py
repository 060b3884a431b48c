"""EDF+ hypnograms: labels find their epochs, what is no stage keeps its reason, the published counts come out."""

from datetime import datetime

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.cli import main
from dreem_case.nights.casefile import HypnogramFileError
from dreem_case.nights.edf_hypnogram import (
    Scoring,
    put_on_epochs,
    read_scoring,
    since_start,
    sleep_span,
    stage_of,
)
from dreem_case.nights.edf_samples import MAX_SPAN_S, Annotation
from dreem_case.nights.stages import UNSCORED, Stage
from tests.support.edf_files import hypnogram

pytest.importorskip("edfio", reason="reading EDF is an extra")

PUBLISHED = {  # epochs of WAKE, N1, N2, DEEP, REM of nights in the literature's preparation
    "SC4001": (188, 58, 250, 220, 125), "SC4002": (183, 59, 373, 297, 215), "SC4011": (157, 109, 562, 105, 170),
    "SC4012": (162, 92, 660, 96, 176), "SC4021": (128, 94, 545, 95, 163), "SC4022": (125, 184, 402, 119, 179),
    "SC4031": (140, 61, 485, 57, 209), "SC4032": (136, 45, 400, 131, 199), "SC4041": (200, 166, 620, 53, 196),
    "SC4042": (185, 137, 514, 94, 270),
}  # fmt: skip


def scored(*labels, n=None, shift_s=0.0):
    """Score epochs by labels of onset, duration and word."""
    listed = tuple(Annotation(*label) for label in labels)
    return put_on_epochs(Scoring("made", None, listed, None, None, "", ()), n, shift_s)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("Sleep stage W", 0), ("Sleep stage 1", 1), ("Sleep stage 2", 2), ("Sleep stage 3", 3), ("Sleep stage 4", 3),
        ("Sleep stage R", 4), ("Sleep stage N1", 1), ("Sleep stage N3", 3), ("SLEEP STAGE REM", 4), ("N2", 2), ("W", 0),
        ("Movement time", UNSCORED), ("Sleep stage ?", UNSCORED), ("Sleep stage 7", UNSCORED),
        ("Stage wrong", UNSCORED), ("S0", 0), ("SLEEP-S0", 0), ("SLEEP-MT", UNSCORED),
        ("Lights off", None), ("Arousal", None), ("3", None), ("Sleep spindle", UNSCORED),
    ],
)  # fmt: skip
def test_words_mean_what_they_say(word, code):
    assert stage_of(word) == code


def test_labels_on_the_grid_are_their_stages():
    found = scored(
        (0, 60, "Sleep stage W"), (60, 30, "Sleep stage 1"), (90, 90, "Sleep stage 4"), (180, 30, "Sleep stage R")
    )
    assert found.stages.tolist() == [0, 0, 1, 3, 3, 3, 4]
    assert (found.reasons, found.notes) == ((), ())


def test_what_is_no_stage_keeps_its_reason():
    found = scored(
        (0, 30, "Sleep stage W"), (30, 60, "Movement time"), (90, 30, "Sleep stage X"), (150, 30, "Sleep stage 2")
    )
    assert found.stages.tolist() == [0, -1, -1, -1, -1, 2]
    assert found.reasons == ((1, 3, "Movement time"), (3, 4, "Sleep stage X"), (4, 5, "no label"))
    assert "2 epochs unscored: Movement time" in found.notes


def test_reasons_are_runs_from_the_first_epoch_to_the_last():
    moved = "Movement time"
    labels = [(0, 60, moved), (60, 30, "Sleep stage W"), (90, 30, "Sleep stage ?"), (120, 60, moved)]
    assert scored(*labels).reasons == ((0, 2, moved), (3, 4, "Sleep stage ?"), (4, 6, moved))
    assert scored(*labels[1:2], n=4).reasons == ((0, 2, "no label"), (3, 4, "no label"))


def test_stages_of_the_older_rules_are_said_and_those_of_the_newer_are_not(tmp_path):
    for words, n_notes in ((["Sleep stage 2", "Sleep stage 4"], 1), (["Sleep stage 3"], 1), (["Sleep stage N3"], 0)):
        labels = [(30 * i, 30, word) for i, word in enumerate(words)]
        notes = read_scoring(hypnogram(tmp_path / "h.edf", *labels)).notes
        assert sum("Rechtschaffen and Kales" in note for note in notes) == n_notes


def test_a_word_between_labels_counts_from_half_an_epoch_on(tmp_path):
    for lasting_s, reason in ((14, "no label"), (15, "Removed")):
        labels = [(0, 30, "Sleep stage W"), (30, lasting_s, "Removed"), (60, 30, "Sleep stage W")]
        found = put_on_epochs(read_scoring(hypnogram(tmp_path / "h.edf", *labels)))
        assert found.reasons == ((1, 2, reason),)


def test_labels_of_twenty_seconds_give_the_larger_part_and_a_count():
    found = scored((0, 20, "W"), (20, 20, "N1"), (40, 20, "N2"))
    assert found.stages.tolist() == [0, 2]
    assert any(note.startswith("2 epochs with parts of two labels") for note in found.notes)


def test_labels_off_the_grid_give_the_larger_part_and_of_two_halves_the_earlier():
    assert scored((0, 72, "W"), (72, 78, "N2")).stages.tolist() == [0, 0, 2, 2, 2]
    assert scored((0, 45, "N2"), (45, 45, "W")).stages.tolist() == [2, 2, 0]


def test_labels_that_contradict_each_other_leave_the_epoch_unscored():
    found = scored((0, 60, "W"), (30, 60, "N1"))
    assert found.stages.tolist() == [0, -1, 1]
    assert found.reasons == ((1, 2, "labels that contradict each other"),)
    assert scored((0, 60, "W"), (30, 60, "Sleep stage W")).stages.tolist() == [0, 0, 0]


def test_labels_before_and_behind_the_recording_are_left_out_and_said():
    found = scored((0, 60, "W"), (60, 240, "N2"), n=4, shift_s=30)
    assert found.stages.tolist() == [0, 2, 2, 2]
    assert {"30 s of scored labels before the recording are left out",
            "150 s of scored labels behind the recording are left out"} <= set(found.notes)  # fmt: skip
    assert scored((0, 30, "W"), (30, 9000, "Sleep stage ?"), n=1).notes == ()  # what nobody scored is not lost


def test_a_hypnogram_outside_of_the_recording_is_an_error():
    with pytest.raises(HypnogramFileError, match="labels within the 300 s of the recording"):
        scored((0, 60, "W"), n=10, shift_s=3600)
    with pytest.raises(HypnogramFileError, match=f"labels up to {MAX_SPAN_S} s"):
        scored((0, 1e9, "W"))


def test_labels_without_a_duration_last_an_epoch_or_until_the_next():
    found = scored((0, None, "W"), (30, None, "N1"), (60, 0, "N2"), (120, None, "REM"), n=6)
    assert found.stages.tolist() == [0, 1, 2, -1, 4, -1]


def test_many_unknown_words_are_unscored_and_none_becomes_a_stage():
    found = scored(*((30 * i, 30, f"Sleep stage x{i}") for i in range(200)), (6000, 30, "Sleep stage 2"))
    assert (found.stages[:200] == UNSCORED).all() and found.stages[200] == Stage.N2


def test_files_without_stages_are_named(tmp_path):
    with pytest.raises(HypnogramFileError, match="expected sleep stages, found Arousal, Snore"):
        read_scoring(hypnogram(tmp_path / "h.edf", (0, 30, "Snore"), (30, 30, "Arousal")))
    with pytest.raises(HypnogramFileError, match="expected sleep stages"):
        read_scoring(hypnogram(tmp_path / "h.edf", (0, 30, "Sleep stage ?")))


def test_bare_words_count_only_where_no_word_has_a_prefix(tmp_path):
    bare = read_scoring(hypnogram(tmp_path / "a.edf", (0, 30, "W"), (30, 30, "R")))
    beats = read_scoring(hypnogram(tmp_path / "b.edf", (0, 60, "Sleep stage 2"), (1, 0, "R"), (2, 0, "R")))
    assert (len(bare.labels), len(beats.labels)) == (2, 1)


@pytest.mark.parametrize("stages", [("W", "N2", "R"), ("Sleep stage W", "Sleep stage 2", "Sleep stage R")])
def test_a_word_that_nobody_knows_is_the_reason_where_no_label_is(tmp_path, stages):
    first, second, third = stages
    others = (30, 30, "Artefact"), (60, 30, "Bathroom"), (90, 90, "Snore"), (90, 3, "Arousal"), (210, 4, "Cough")
    labels = (0, 30, first), (90, 60, second), (150, 30, third), (240, 30, first)
    found = put_on_epochs(read_scoring(hypnogram(tmp_path / "h.edf", *others, *labels)))
    assert found.stages.tolist() == [0, -1, -1, 2, 2, 4, -1, -1, 0]
    assert found.reasons == ((1, 2, "Artefact"), (2, 3, "Bathroom"), (6, 8, "no label"))


def test_a_bare_word_in_a_gap_between_stages_with_a_prefix_is_no_stage(tmp_path):
    labels = (0, 30, "Sleep stage W"), (30, 30, "R"), (60, 30, "Sleep stage 2")
    found = put_on_epochs(read_scoring(hypnogram(tmp_path / "h.edf", *labels)))
    assert found.stages.tolist() == [0, -1, 2] and found.reasons == ((1, 2, "no label"),)


def test_a_whole_word_in_a_gap_between_stages_with_a_prefix_is_a_stage(tmp_path):
    labels = (0, 30, "Wake"), (30, 30, "Stage 1"), (60, 60, "REM"), (120, 30, "Stage 2"), (121, 20, "REM")
    assert put_on_epochs(read_scoring(hypnogram(tmp_path / "h.edf", *labels))).stages.tolist() == [0, 1, 4, 4, 2]


def test_german_names_are_stages(tmp_path):
    labels = (0, 30, "Wach"), (30, 30, "Stadium 1"), (60, 30, "Stadium 4"), (90, 30, "Rem")
    scoring = read_scoring(hypnogram(tmp_path / "h.edf", *labels))
    assert put_on_epochs(scoring).stages.tolist() == [0, 1, 3, 4]
    assert any("stages 3 and 4 are DEEP" in note for note in scoring.notes)


def test_a_table_by_the_clock_is_refused_by_its_onsets(tmp_path):
    (tmp_path / "h.csv").write_text("onset,duration,description\n22:00:00,30,N1\n")
    with pytest.raises(HypnogramFileError, match="1 lines without an onset in seconds"):
        read_scoring(tmp_path / "h.csv")


def test_lights_are_found_and_clock_times_go_past_midnight(tmp_path):
    found = read_scoring(
        hypnogram(tmp_path / "h.edf", (60, None, "Lights off"), (0, 600, "Sleep stage W"), (570, None, "Lights on"))
    )
    assert (found.lights_off_s, found.lights_on_s) == (60, 570)
    start = datetime(1989, 4, 24, 16, 13)
    assert since_start(start, "00:38:00") == 8 * 3600 + 25 * 60
    assert since_start(start, "16.13") == 0
    for clock in ("25:00", "12", "", "ab:cd", "12:61"):
        with pytest.raises(ValueError, match="a time of the day"):
            since_start(start, clock)


def test_the_published_counts_come_out(real_data):
    folder = real_data / "sleep_edf" / "hypnograms"
    if not folder.is_dir():
        pytest.skip("real hypnograms are not at hand")
    for path in sorted(folder.glob("*.edf")):
        stages = put_on_epochs(read_scoring(path)).stages
        start, stop = sleep_span(stages)
        kept = stages[start:stop]
        assert tuple(np.bincount(kept[kept >= 0], minlength=5)) == PUBLISHED[path.name[:6]]
    told = CliRunner().invoke(main, ["edf", "check", *map(str, sorted(folder.glob("*.edf")))]).output
    assert "WAKE 1604, N1 1005, N2 4811, DEEP 1267, REM 1902; 10589 epochs" in told.splitlines()[-1]


def test_counts_are_those_of_bands_made_by_others(real_data):
    path = real_data / "sleep_edf" / "bands_58_people.npz"
    if not path.is_file():
        pytest.skip("bands of Sleep-EDF are not at hand")
    with np.load(path) as bands:
        recording, stage = bands["recording"].astype(str), bands["stage"]
    shared = [name for name in PUBLISHED if (np.char.startswith(recording, name)).any()]
    assert len(shared) == 6
    for name in shared:
        assert tuple(np.bincount(stage[np.char.startswith(recording, name)], minlength=5)) == PUBLISHED[name]


STAGES = st.lists(st.integers(-1, 4), min_size=1, max_size=400)


@given(stages=STAGES, n_wake=st.integers(0, 70))
def test_trimming_is_a_span_with_all_sleep_and_the_wake_that_was_asked_for(stages, n_wake):
    stages = np.array(stages, np.int8)
    span = sleep_span(stages, n_wake)
    asleep = np.flatnonzero(stages > 0)
    if span is None:
        assert not len(asleep)
        return
    start, stop = span
    assert start <= asleep[0] and stop > asleep[-1]
    assert (stages[start : asleep[0]] == Stage.WAKE).sum() == min(n_wake, (stages[: asleep[0]] == Stage.WAKE).sum())
    behind = stages[asleep[-1] + 1 :]
    assert (stages[asleep[-1] + 1 : stop] == Stage.WAKE).sum() == min(n_wake, (behind == Stage.WAKE).sum())


@given(stages=STAGES, shift=st.integers(0, 20))
def test_written_epochs_come_back_whatever_the_recording_starts_with(stages, shift):
    words = {code: f"Sleep stage {word}" for code, word in enumerate("?W123", -1)} | {4: "R"}
    labels = [(30.0 * i, 30.0, words[code]) for i, code in enumerate(stages)]
    found = scored(*labels, n=len(stages), shift_s=30.0 * shift) if shift < len(stages) else scored(*labels)
    first = shift if shift < len(stages) else 0
    assert found.stages.tolist() == (stages[first:] + [-1] * first)[: len(stages)]
