"""What real files do to their readers: names, units, rates, annotations, and signals that are none."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreem_case.mae.examples import EVENTS
from dreem_case.mae.montage import MODALITIES, choose_channels, plain_label, unit_factor
from dreem_case.mae.psg import event_of, label_epochs, open_psg, patient_of, read_channels, read_modalities, resampled
from dreem_case.mae.simulate import Column, edf_content
from dreem_case.nights.edf_header import EdfChannel
from dreem_case.nights.edf_hypnogram import AnnotationsError, read_annotations
from dreem_case.nights.edf_samples import MAX_SPAN_S, Annotation
from dreem_case.nights.safe_h5 import CaseFileError
from dreem_case.nights.stages import EPOCH_S
from tests.support.edf_files import listed, psg

NAMES = [modality.name for modality in MODALITIES]
HEAD = "onset\tduration\tdescription\n"


def channel(label, fs_hz=256.0, unit="uV", problem=""):
    return EdfChannel(label, unit, int(fs_hz), 0, fs_hz, 1.0, 0.0, problem)


def table(tmp_path, content):
    path = tmp_path / "1_1.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def written(tmp_path, columns, name="1_1"):
    path = tmp_path / f"{name}.edf"
    path.write_bytes(edf_content(columns, datetime(2020, 1, 1, 21)))
    return path


def noise(label, unit="uV", rate=128, seconds=90, limit=200.0, size=20.0, offset=0.0):
    values = offset + size * np.random.default_rng(1).standard_normal(rate * seconds)
    return Column(label, unit, (-limit + min(offset, 0), limit), rate, values)


def modality(path, name, tsv=None):
    """Read one modality of a study."""
    for number, epochs, there, about in read_modalities(open_psg(path, tsv)):
        if NAMES[number] == name:
            return epochs, there, about
    return None


@pytest.mark.parametrize("label, name", [
    ("EEG C3-M2", "EEG C3-M2"), ("C3-A2", "EEG C3-M2"), ("c3 - m2", "EEG C3-M2"), ("EEG CZ-O1", "EEG CZ-O1"),
    ("E1-M2", "EOG LOC-M2"), ("ROC-A1", "EOG ROC-M1"), ("Chin EMG", "EMG CHIN1-CHIN2"),
    ("SaO2", "SPO2"), ("SpO2", "SPO2"),
    ("EtCO2 Wave", "CAPNO"), ("Resp Chest", "RESP THORACIC"), ("Abdomen", "RESP ABDOMINAL"), ("Resp PTAF", "C-FLOW"),
    ("Snoring", "SNORE"), ("Nasal Pressure", "C-FLOW"), ("EOG L", "EOG LOC-M2"), ("EOG Right", "EOG ROC-M1"),
])  # fmt: skip
def test_a_channel_is_known_by_its_many_names(label, name):
    chosen, _ = choose_channels([channel("Temp"), channel(label)])
    assert [NAMES[i] for i, own in enumerate(chosen) if own == (1,)] == [name]


@given(st.text(st.characters(max_codepoint=300), max_size=16))
def test_no_label_stops_the_choice(label):
    found = [own for own in choose_channels([channel(label)])[0] if own]
    assert found in ([], [(0,)]) and plain_label(label).isascii()


def test_of_two_candidates_the_likelier_name_counts_and_the_other_is_named():
    chosen, notes = choose_channels([channel("OSAT", 4.0), channel("SpO2", 1.0), channel("SpO2 (2)", 2.0)])
    assert chosen[NAMES.index("SPO2")] == (2,)  # of two of a name the faster
    assert any("OSAT" in note and "not" in note for note in notes)


def test_a_channel_that_cannot_be_believed_is_no_candidate():
    chosen, notes = choose_channels([channel("EEG C3-M2", problem="expected samples, found none")])
    assert chosen[0] == () and "EEG C3-M2 is left out: expected samples, found none" in notes


@pytest.mark.parametrize(("labels", "name", "numbers"), [
    (("EOG LOC", "EEG M2"), "EOG LOC-M2", (0, 1)), (("A1", "E2"), "EOG ROC-M1", (1, 0)),
    (("EMG CHIN1", "EMG CHIN2", "EMG CHIN3"), "EMG CHIN1-CHIN2", (0, 1)),
    (("LOC", "M1"), "EOG LOC-M2", (0,)), (("CHIN1", "CHIN3"), "EMG CHIN1-CHIN2", (0,)),
    (("LOC-M2", "LOC", "M2"), "EOG LOC-M2", (0,)), (("Chin EMG", "Chin1", "Chin2"), "EMG CHIN1-CHIN2", (0,)),
])  # fmt: skip
def test_an_electrode_alone_stands_for_a_derivation_only_where_the_other_is_missing(labels, name, numbers):
    chosen, notes = choose_channels([channel(label) for label in labels])
    assert chosen[NAMES.index(name)] == numbers
    assert (f"{name}: made of two electrodes" in notes) == (len(numbers) == 2)


def test_what_is_odd_about_a_channel_that_is_taken_is_said(tmp_path):
    odd = {"label": "C3-M2", "physical minimum": "200,0", "physical maximum": "-200,0"}
    opened = open_psg(psg(tmp_path / "1_1.edf", channels=[odd, {"label": "Temp", "physical minimum": "-1,0"}]))
    said = [note for note in opened.notes if "comma" in note or "amplification" in note]
    assert said == ["EEG C3-M2: decimal comma read as a point",
                    "EEG C3-M2: physical minimum above the maximum: read as a negative amplification"]  # fmt: skip


def test_a_derivation_is_made_of_two_electrodes(tmp_path):
    path = written(tmp_path, [noise("C3", offset=50.0), noise("M2", size=5.0)])
    epochs, there, _ = modality(path, "EEG C3-M2")
    a, b = read_channels(open_psg(path).header, open_psg(path).timeline, [0, 1])
    assert there.all() and np.allclose(epochs.ravel(), a - b, atol=0.1)


@pytest.mark.parametrize(("unit", "rate"), [("uV", 128), ("mV", 128), ("uV", 256), ("uV", 64), ("V", 512)])
def test_two_electrodes_may_have_a_unit_and_a_rate_each(unit, rate, tmp_path):
    factor = {"uV": 1.0, "mV": 1e-3, "V": 1e-6}[unit]
    tone = {hz: 20 * np.sin(2 * np.pi * 3 * np.arange(90 * hz) / hz) for hz in (128, rate)}
    other = Column("M2", unit, (-100 * factor, 100 * factor), rate, -factor * tone[rate])
    path = written(tmp_path, [Column("C3", "uV", (-100, 100), 128, tone[128]), other])
    epochs, there, about = modality(path, "EEG C3-M2")
    assert there.all() and np.allclose(epochs[1], 2 * tone[128][: epochs.shape[1]], atol=0.5)
    assert (f"in {unit}, converted" in about) == (factor != 1)


@pytest.mark.parametrize(("unit", "wanted", "factor"), [
    ("µV", "µV", 1), ("", "µV", 1), ("mV", "µV", 1e3), ("V", "µV", 1e6), ("nV", "µV", 1e-3),
    ("%", "%", 1), ("", "%", 1), ("fraction", "%", 100), ("mmHg", "mmHg", 1), ("", "mmHg", 1), ("kPa", "mmHg", 7.50062),
    ("%", "mmHg", 7.6), ("Vol%", "mmHg", 7.6),
])  # fmt: skip
def test_a_unit_is_converted_and_what_changes_anything_or_is_not_known_is_said(unit, wanted, factor):
    for modality in (modality for modality in MODALITIES if modality.unit == wanted):
        found, said = unit_factor(modality, unit)
        assert found == pytest.approx(factor)
        assert said == ("" if factor == 1 else f"in {unit}, converted to {wanted}")
        assert "no unit known" in unit_factor(modality, "furlong")[1]
    assert unit_factor(MODALITIES[NAMES.index("C-FLOW")], "furlong") == (1.0, "")


@pytest.mark.parametrize("unit, factor", [("%", 1.0), ("", 0.01), ("fraction", 0.01)])
def test_oxygen_is_percent_at_any_rate(unit, factor, tmp_path):
    for rate in (1, 4):
        column = noise("SpO2", "%", rate, limit=127.0, size=1.0, offset=95.0)
        own = Column("SpO2", unit, (0.0, 127.0 * factor), rate, np.clip(column.values, 0, 100) * factor)
        path = written(tmp_path, [own], f"1_{rate}")
        epochs, there, _ = modality(path, "SPO2")
        assert there.all() and abs(epochs.mean() - 95) < 0.5


def test_a_probe_that_is_off_measures_nothing(tmp_path):
    values = np.full(90, 96.0)
    values[30:60] = 127.0
    values[5:10] = 0.0  # a hole that is bridged
    epochs, there, _ = modality(written(tmp_path, [Column("SpO2", "%", (0.0, 127.0), 1, values)]), "SPO2")
    assert there.tolist() == [True, False, True]
    assert np.allclose(epochs[there], 96.0, atol=0.1)
    assert (epochs[~there] == 0).all()


def test_a_flat_channel_is_absent_and_a_flat_oximeter_is_not(tmp_path):
    flat = Column("EEG C3-M2", "uV", (-200.0, 200.0), 128, np.zeros(128 * 90))
    steady = Column("SpO2", "%", (0.0, 127.0), 1, np.full(90, 97.0))
    path = written(tmp_path, [flat, steady])
    assert not modality(path, "EEG C3-M2")[1].any()
    assert modality(path, "SPO2")[1].all()


@pytest.mark.parametrize("rate", [100, 128, 200, 256, 400, 500, 512])
def test_a_wave_keeps_its_place_and_size_at_every_rate(rate):
    seconds = np.arange(60 * rate) / rate
    made = resampled(np.sin(2 * np.pi * 3 * seconds).astype(np.float32) + 40, rate, 60 * 128)
    assert np.abs(made - 40 - np.sin(2 * np.pi * 3 * np.arange(60 * 128) / 128))[256:-256].max() < 0.02


@pytest.mark.parametrize("rate, hz", [(256, 100), (512, 200), (400, 150)])
def test_nothing_above_half_the_rate_folds_down(rate, hz):
    seconds = np.arange(60 * rate) / rate
    made = resampled(np.sin(2 * np.pi * hz * seconds).astype(np.float32), rate, 60 * 128)
    assert np.abs(made)[256:-256].max() < 0.01


def test_a_clock_that_runs_slow_is_no_other_rate():
    made = resampled(np.arange(2560, dtype=np.float32), 255.9997, 1280)
    assert np.allclose(made[100:1100], np.arange(1280)[100:1100] * 2, atol=0.6)


@pytest.mark.parametrize("rate", [255.95, 400.1, 499.93])
def test_an_odd_rate_moves_nothing_within_an_hour(rate):
    wave = np.sin(2 * np.pi * np.arange(round(3600 * rate)) / rate / 4).astype(np.float32)
    made = resampled(wave, rate, 3600 * 128)
    assert np.abs(made - np.sin(2 * np.pi * np.arange(3600 * 128) / 128 / 4))[-5000:-500].max() < 0.1


def test_gaps_of_edf_plus_stay_missing(tmp_path):
    channels = [{"label": "EEG C3-M2"}]
    path = psg(tmp_path / "1_1.edf", n_records=3, channels=channels, onsets=[0.0, 30.0, 120.0], reserved="EDF+D")
    _, there, _ = modality(path, "EEG C3-M2")
    assert there.tolist() == [True, True, False, False, True]


def test_annotations_of_edf_plus_are_read(tmp_path):
    texts = listed((0, 30, "Sleep stage W"), (30, 60, "Sleep stage N2"), (35, 12, "Obstructive Apnea"))
    path = psg(tmp_path / "1_1.edf", n_records=3, channels=[{"label": "EEG C3-M2"}], texts=texts)
    labels = open_psg(path).labels
    assert labels.stage.tolist() == [0, 2, 2]
    assert labels.seconds[1, EVENTS.index("apnea_obstructive")] == 12


def test_edf_plus_without_annotations_is_kept_without_labels(tmp_path):
    path = psg(tmp_path / "1_1.edf", n_records=3, channels=[{"label": "EEG C3-M2"}], onsets=[0.0, 30.0, 60.0])
    opened = open_psg(path)
    assert opened.labels.stage.tolist() == [-1] * 3 and np.isnan(opened.labels.seconds).all()
    assert "no annotations: kept without labels" in opened.notes
    assert "no annotations: kept without labels" in open_psg(path, table(tmp_path, HEAD)).notes


@pytest.mark.parametrize("content, found", [
    (b"", "an empty file"), (b"\n\r\n", "an empty file"), (bytes(300), "NUL bytes only"),
    ("hello world\n", "hello world"), (b"\x89PNG\r\n\x1a\n", "PNG"),
])  # fmt: skip
def test_a_table_that_is_none_is_refused_by_name(content, found, tmp_path):
    with pytest.raises(AnnotationsError, match=r"1_1\.tsv: expected") as raised:
        read_annotations(table(tmp_path, content))
    assert found in str(raised.value)


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_umlauts_are_read_as_they_were_written(tmp_path, coding):
    found, _ = read_annotations(table(tmp_path, (HEAD + "0\t20\tEntsättigung … SpO2\n").encode(coding)))
    assert [one.text for one in found] == ["Entsättigung … SpO2"]


@pytest.mark.parametrize("content", [b"", bytes(300), HEAD, HEAD + "0\t30\tpt sneezed\n"])
def test_a_table_that_says_nothing_costs_labels_and_no_signal(content, tmp_path):
    opened = open_psg(written(tmp_path, [noise("EEG C3-M2")]), table(tmp_path, content))
    assert opened.n_epochs == 3
    assert (opened.labels.stage == -1).all() and np.isnan(opened.labels.seconds).all()
    assert any("kept without labels" in note for note in opened.notes)


def test_times_of_a_clock_are_why_a_study_has_no_labels(tmp_path):
    content = HEAD + "22:15:00\t30\tSleep stage N2\n"
    opened = open_psg(written(tmp_path, [noise("EEG C3-M2")]), table(tmp_path, content))
    assert "1 lines without an onset in seconds are left out: kept without labels" in opened.notes


def test_a_channel_of_one_letter_is_no_eye():
    assert not any(choose_channels([channel("L"), channel("EMG L"), channel("EMG R")])[0])


def test_commas_a_bom_windows_lines_and_columns_in_another_order_are_read(tmp_path):
    text = "\ufeffdescription\tonset\tduration\r\nSleep stage N2\t0,0\t30\r\nHypopnea\t10,25\t12,5\r\n"
    found, notes = read_annotations(table(tmp_path, text))
    assert [(a.onset_s, a.duration_s, a.text) for a in found] == [(0, 30, "Sleep stage N2"), (10.25, 12.5, "Hypopnea")]
    assert notes == []


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_texts_in_quotation_marks_and_utf_16_are_read(coding, tmp_path):
    text = '"Onset"\t"Duration"\t"Description"\r\n"0"\t"30,0"\t"Sleep stage N2"\r\n5\t"9"\t"""left"" arousal"\r\n'
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(coding, "")
    found, notes = read_annotations(table(tmp_path, (mark + text).encode(coding)))
    assert [(a.onset_s, a.duration_s, a.text) for a in found] == [(0, 30, "Sleep stage N2"), (5, 9, '"left" arousal')]
    assert notes == []
    with pytest.raises(AnnotationsError, match="an empty file"):
        read_annotations(table(tmp_path, f"{mark}\n".encode(coding)))


def test_lines_that_cannot_be_are_counted(tmp_path):
    lines = ["0\t-5\tHypopnea", "x\t5\tHypopnea", "3\t5\t", "1e9999\t5\tHypopnea", "7\t5\tHypopnea"]
    found, notes = read_annotations(table(tmp_path, HEAD + "\n".join(lines)))
    assert [a.onset_s for a in found] == [7]
    assert sorted(int(note.split()[0]) for note in notes) == [1, 1, 2]


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_reading_of_a_table(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    path.write_bytes(HEAD.encode() + content)
    found, _ = read_annotations(path)
    assert all(abs(a.onset_s) <= MAX_SPAN_S and (a.duration_s is None or a.duration_s >= 0) for a in found)


def test_events_that_overlap_or_nest_count_once_and_kinds_count_apart():
    night = [Annotation(0, 90, "Sleep stage N2"), Annotation(10, 20, "Hypopnea"), Annotation(12, 5, "Hypopnea"),
             Annotation(25, 15, "Hypopnea"), Annotation(20, 10, "EEG arousal")]  # fmt: skip
    seconds = label_epochs(night, 3, 0.0).seconds
    assert seconds[:, EVENTS.index("hypopnea_other")].tolist() == [20, 10, 0]
    assert seconds[:, EVENTS.index("arousal")].tolist() == [10, 0, 0]


def test_what_lies_outside_the_signals_is_left_out_and_said():
    night = [Annotation(0, 60, "Sleep stage N2"), Annotation(-20, 10, "Hypopnea"), Annotation(-5, 15, "Hypopnea"),
             Annotation(55, 60, "Hypopnea"), Annotation(500, 20, "Hypopnea"),
             Annotation(5, 0, "EEG arousal")]  # fmt: skip
    labels = label_epochs(night, 2, 0.0)
    assert labels.seconds[:, EVENTS.index("hypopnea_other")].tolist() == [10, 5]
    assert any(note.startswith("2 events outside") for note in labels.notes)
    assert any("without a duration" in note for note in labels.notes)


@example(spans=[(200, 20), (10, 20)])
@given(spans=st.lists(st.tuples(st.floats(-100, 400), st.floats(0, 200)), max_size=12))
def test_no_epoch_has_more_than_30_seconds_of_a_kind_in_whatever_order_events_are_written(spans):
    night = [Annotation(a, b, "Hypopnea") for a, b in spans]
    labels = label_epochs([Annotation(-100, 500, "Sleep stage N2"), *night], 9, 0.0)
    own = labels.seconds[:, EVENTS.index("hypopnea_other")]
    whole = np.zeros(270_000, bool)
    for a, b in spans:
        whole[max(round(a * 1000), 0) : max(round((a + b) * 1000), 0)] = True
    assert np.allclose(own, whole.reshape(9, -1).sum(axis=1) / 1000, atol=0.05)


@pytest.mark.parametrize("stage", ["Sleep stage N2", "Sleep stage ?"])
def test_unknown_texts_are_counted_and_listed(stage):
    night = [Annotation(0, 30, stage), *[Annotation(i, 0, "pt sneezed") for i in range(3)]]
    assert label_epochs(night, 1, 0.0).unknown == {"pt sneezed": 3}


@pytest.mark.parametrize("text, event", [
    ("Central Apnea", "apnea_central"), ("MIXED APNEA", "apnea_mixed"), ("Obstructive apnoea", "apnea_obstructive"),
    ("Apnea", "apnea_obstructive"), ("Hypopnea, obstructive", "hypopnea_obstructive"),
    ("Oxygen Desaturation", "desaturation"),
    ("SpO2 desat", "desaturation"), ("EEG arousal", "arousal"), ("RERA", "arousal"), ("no apnea", None),
    ("Hypopnea?", None), ("? apnea", None), ("Body event", None), ("Sleep stage W", None),
    ("arousals", "arousal"),
    ("Obstruktive Apnoe", "apnea_obstructive"), ("Zentrale Apnoe", "apnea_central"),
    ("Gemischte Apnoe", "apnea_mixed"), ("Hypopnoe obstruktiv", "hypopnea_obstructive"),
    ("Entsättigung", "desaturation"), ("Weckreaktion", "arousal"), ("keine Apnoe", None),
    ("Apnée mixte", "apnea_mixed"), ("APNÉE CENTRALE", "apnea_central"), ("Hypopne\u0301e", "hypopnea_other"),
    ("Désaturation", "desaturation"), ("Micro-éveil", "arousal"), ("pas d'apnée", None),
])  # fmt: skip
def test_an_event_is_known_by_its_words(text, event):
    assert event_of(text) == event


@pytest.mark.parametrize("shift", [0.0, 12.5, -4.25])
def test_epochs_are_those_of_the_scorer_where_signals_begin_apart(shift, tmp_path):
    lines = [f"{shift + 30 * i}\t30\tSleep stage {'N2' if i % 2 else 'W'}" for i in range(6)]
    lines.append(f"{shift + 62}\t10\tCentral Apnea")
    path = written(tmp_path, [noise("EEG C3-M2", seconds=200)])
    opened = open_psg(path, table(tmp_path, HEAD + "\n".join(lines)))
    assert opened.first_s == shift % 30
    skipped = int(shift < 0)  # the scorer's first epoch began before the signals
    assert opened.labels.stage[: 6 - skipped].tolist() == [0, 2, 0, 2, 0, 2][skipped:]
    assert opened.labels.seconds[2 - skipped, 0] == 10
    epochs, _, _ = modality(path, "EEG C3-M2", tmp_path / "1_1.tsv")
    whole = read_channels(opened.header, opened.timeline, [0])[0]
    assert np.allclose(epochs[0], whole[round(shift % 30 * 128) :][:3840], atol=0.02)


def test_a_last_epoch_that_is_not_whole_is_left_out(tmp_path):
    assert open_psg(written(tmp_path, [noise("EEG C3-M2", seconds=89)])).n_epochs == 2
    with pytest.raises(CaseFileError, match=f"at least {EPOCH_S} s"):
        open_psg(written(tmp_path, [noise("EEG C3-M2", seconds=29)], "2_1"))


def test_reading_a_part_is_reading_the_whole_and_cutting(tmp_path):
    path = written(tmp_path, [noise("EEG C3-M2", rate=256, seconds=300)])
    opened = open_psg(path)
    ((_, whole, _, _),) = read_modalities(opened)
    ((_, part, _, _),) = read_modalities(opened, 4, 7)
    assert np.allclose(part[:, 128:-128], whole[4:7, 128:-128], atol=0.05)


@pytest.mark.parametrize("study, patient", [("10031_2", "10031"), ("a_b_1", "a_b"), ("10031", "10031")])
def test_a_patient_is_all_before_the_last_underscore(study, patient):
    assert patient_of(study) == patient
