"""Recordings become nights of a store: everything that reads stores reads them, and nothing is lost on the way."""

import hashlib
import json
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from dreem_case.cli import main
from dreem_case.nights.edf_import import ImportPlaceError, claim_folder, import_pair, record_name
from dreem_case.nights.edf_pairs import find_pairs, person_of
from dreem_case.nights.store import open_store
from tests.support.edf_files import HEIGHT_UV, hypnogram, psg
from tests.support.stores import client

pytest.importorskip("edfio", reason="reading EDF is an extra")


def run(*arguments):
    return CliRunner().invoke(main, ["edf", *map(str, arguments)])


@pytest.fixture
def recordings(tmp_path):
    """A folder with a pair of Sleep-EDF's names, a telemetry pair, and a broken recording."""
    folder = tmp_path / "recordings"
    (folder / "inner").mkdir(parents=True)
    labels = [(0, 120, "Sleep stage W"), (120, 120, "Sleep stage 2")]
    labels += [(240, 30, "Movement time"), (270, 30, "Sleep stage R")]
    psg(folder / "SC4001E0-PSG.edf", channels=[{}, {"label": "EEG Pz-Oz"}, {"label": "Resp", "samples": "30"}])
    hypnogram(folder / "SC4001EC-Hypnogram.edf", *labels)
    psg(folder / "inner" / "ST7011J0-PSG.edf", fs_hz=128)
    hypnogram(folder / "inner" / "ST7011JP-Hypnogram.edf", *labels)
    (folder / "SC4131E0-PSG.edf").write_bytes(b"0" + b" " * 255)
    return folder


def test_pairs_are_found_and_persons_named(recordings):
    (recordings / "my night.edf").touch()
    (recordings / "._my night.edf").touch()  # beside a file that a Mac has copied
    (recordings / "my night_hypnogram.edf").touch()
    (recordings / "alone-Hypnogram.edf").touch()
    found = find_pairs(recordings)
    named = {pair.record: (pair.person, pair.hypnogram and pair.hypnogram.name) for pair in found.pairs}
    assert named == {
        "SC4001E0": ("SC400", "SC4001EC-Hypnogram.edf"), "ST7011J0": ("ST701", "ST7011JP-Hypnogram.edf"),
        "SC4131E0": ("SC413", None), "my night": ("my night", "my night_hypnogram.edf"),
    }  # fmt: skip
    assert any("alone-Hypnogram.edf: expected a recording" in note for note in found.notes)
    assert any("SC413: one night only" in note for note in found.notes)
    assert person_of("SC4001E0") == person_of("SC4002E0") != person_of("SC4011E0")


def test_nights_of_a_person_whom_their_names_tell_as_bids_does_have_one_person():
    nights = "sub-07_ses-1", "sub-07_ses-2_task-sleep_eeg", "Sub-07.2", "sub-07"
    assert {person_of(record) for record in nights} == {"SUB-07"} != {person_of("sub-071_ses-1")}
    others = ["sub-", "subject 7", "night_sub-07"]
    assert list(map(person_of, others)) == others


def test_an_import_is_a_store_with_everything_kept(recordings, tmp_path):
    result = run("import", recordings, "--out", tmp_path / "store", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1  # of the broken one
    assert [problem["record"] for problem in told["problems"]] == ["SC4131E0"]
    store = open_store(tmp_path / "store")
    assert store.records() == ["SC4001E0", "ST7011J0"] == store.scored()
    assert store.source == "EDF recordings in recordings"
    night = store.open_night("SC4001E0")
    assert night.hypnogram.tolist() == [0] * 4 + [2] * 4 + [-1, 4]
    assert night.eeg_names == ("eeg1", "eeg2")
    assert night.signals.header("eeg1").fs_hz == 100
    assert store.open_night("ST7011J0").signals.header("eeg1").fs_hz == 128
    assert night.signals["eeg1"].values[25] == pytest.approx(HEIGHT_UV)
    about = json.loads((tmp_path / "store" / "imports" / "SC4001E0.json").read_text())
    assert about["derivations"]["eeg2"]["name"] == "Pz-Oz"
    assert (about["person"], about["unscored"]) == ("SC400", [[8, 9, "Movement time"]])


@pytest.mark.parametrize("label", ["EEG Fpz-Cz\0rest", "\0EEG Fpz-Cz", "EEG Fpz-Cz\0\0", "\tEEG Fpz-Cz\t"])
def test_a_label_filled_up_with_other_bytes_is_its_name(label, tmp_path):
    psg(tmp_path / "n-PSG.edf", channels=[{"label": label}])
    about = import_pair(find_pairs(tmp_path).pairs[0], tmp_path / "store")
    assert about["derivations"]["eeg1"]["name"] == "Fpz-Cz"
    with h5py.File(tmp_path / "store" / "h5" / "n.h5") as file:
        assert file["eeg1"].attrs["derivation"] == "Fpz-Cz"


def test_no_text_of_a_file_speaks_to_the_terminal(tmp_path):
    psg(tmp_path / "n.edf", channels=[{"label": "EEG \x1b[31mC3", "unit": "\x1b[2JV"}])
    for command in (["check", tmp_path / "n.edf"], ["import", tmp_path, "--out", tmp_path / "store"]):
        result = CliRunner().invoke(main, ["edf", *map(str, command)], color=True)
        assert result.exit_code == 0 and "\x1b" not in result.output and "\\x1b[31mC3" in result.output


def test_names_of_patients_stay_where_they_are(tmp_path):
    psg(tmp_path / "n.edf", patient="007 F 01-MAY-1951 Jane_Doe", recording="Startdate 24-APR-1989 Dr_Who X X")
    assert run("import", tmp_path / "n.edf", "--out", tmp_path / "store").exit_code == 0
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or (b"Jane" not in path.read_bytes() and b"Who" not in path.read_bytes())


def test_a_second_import_replaces_and_leaves_no_old_labels(recordings, tmp_path):
    pair = find_pairs(recordings).pairs[0]
    import_pair(pair, tmp_path / "store")
    import_pair(pair.__class__(pair.record, pair.person, pair.psg, None), tmp_path / "store")
    assert open_store(tmp_path / "store").scored() == []


def test_a_gap_is_missing_in_the_store_as_well(tmp_path):
    path = psg(tmp_path / "n.edf", onsets=[30 * i + 60 * (i >= 4) for i in range(10)], reserved="EDF+D")
    assert run("import", path, "--out", tmp_path / "store").exit_code == 0
    values = open_store(tmp_path / "store").open_night("n").signals["eeg1"].values
    assert np.isnan(values[12000:18000]).all() and np.isfinite(np.delete(values, slice(12000, 18000))).all()


def test_lights_of_a_table_are_put_on_epochs(recordings, tmp_path):
    table = tmp_path / "lights.json"
    table.write_text(json.dumps({"SC4001": {"lights_off": "16:14:00", "lights_on": "16:17:30"}}), encoding="utf-8")
    run("import", recordings, "--out", tmp_path / "store", "--lights", table)
    about = json.loads((tmp_path / "store" / "imports" / "SC4001E0.json").read_text())
    assert (about["lights_off_epoch"], about["lights_on_epoch"]) == (2, 9)
    (recordings / "SC4001EC-Hypnogram.edf").unlink()
    run("import", recordings, "--out", tmp_path / "unscored", "--lights", table)
    about = json.loads((tmp_path / "unscored" / "imports" / "SC4001E0.json").read_text())
    assert (about["lights_off_epoch"], about["lights_on_epoch"]) == (2, 9)


def test_lights_go_with_the_recording_of_exactly_this_name_and_count_from_its_start(tmp_path):
    for name in "night1", "night10", "night2":
        psg(tmp_path / f"{name}.edf", date="03.11.26", time="22.00.00")
    (tmp_path / "night1.csv").write_text("onset,duration,description\n0,300,N2\n")
    hypnogram(tmp_path / "night2-hyp.edf", (0, 300, "Sleep stage 2"), date="01.01.85", time="00.00.00")
    (tmp_path / "lights.json").write_text(json.dumps({n: {"lights_off": "22:01"} for n in ("night1", "night2")}))
    done = run("import", tmp_path, "--out", tmp_path / "store", "--lights", tmp_path / "lights.json", "--json")
    assert [night["lights_off_epoch"] for night in json.loads(done.stdout)["imported"]] == [2, None, 2]


def test_lights_of_a_recording_without_a_start_are_not_known(tmp_path):
    psg(tmp_path / "a.edf", date="unknown", time="")
    (tmp_path / "lights.json").write_text(json.dumps({"a": {"lights_off": "22:01"}}))
    done = run("import", tmp_path / "a.edf", "--out", tmp_path / "store", "--lights", tmp_path / "lights.json")
    assert "lights off is not known: expected a recording or a hypnogram that says when it started" in done.output


@pytest.mark.parametrize("odd", ["half past ten", "25:00", "22:59:61", 7, [1]])
def test_a_clock_time_that_is_none_is_noted_and_costs_nothing_else(recordings, tmp_path, odd):
    (tmp_path / "lights.json").write_text(json.dumps({"SC4001": {"lights_off": odd, "lights_on": "16:15:00"}}))
    result = run("import", recordings, "--out", tmp_path / "store", "--lights", tmp_path / "lights.json", "--json")
    night = next(night for night in json.loads(result.stdout)["imported"] if night["record"] == "SC4001E0")
    assert (night["lights_off_epoch"], night["lights_on_epoch"]) == (None, 4)
    assert any("lights off is not known: expected a time of the day" in note for note in night["notes"])


def test_nights_of_two_sources_do_not_share_a_folder(tmp_path):
    claim_folder(tmp_path / "store", "one database")
    claim_folder(tmp_path / "store", "one database")
    claim_folder(tmp_path / "other", "A & B")
    claim_folder(tmp_path / "other", "A & B")  # a source is kept as a plain line
    with pytest.raises(ImportPlaceError, match="expected no nights, or another one, found one database"):
        claim_folder(tmp_path / "store", "another one")
    (tmp_path / "bare" / "h5").mkdir(parents=True)
    (tmp_path / "bare" / "h5" / "a.h5").touch()
    with pytest.raises(ImportPlaceError, match=r"found nights without a manifest.json"):
        claim_folder(tmp_path / "bare", "another one")


def test_where_no_recording_is_found_no_folder_is_claimed(recordings, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("recordngs", "empty"):
        result = run("import", tmp_path / source, "--out", tmp_path / "store")
        assert result.exit_code == 1
        assert f"{source}: expected recordings in EDF or BDF, found none" in result.output
    assert not (tmp_path / "store").exists()


def test_a_recording_that_the_disk_does_not_take_is_named(recordings, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreem_case.nights.edf_import._write_h5", full)
    result = run("import", recordings / "SC4001E0-PSG.edf", "--out", tmp_path / "store")
    assert (result.exit_code, result.stderr) == (1, "not imported: SC4001E0: [Errno 28] No space left on device\n")


def test_an_import_that_is_stopped_in_the_signals_leaves_labels_of_the_old_ones(recordings, tmp_path, monkeypatch):
    pair = find_pairs(recordings).pairs[0]
    import_pair(pair, tmp_path / "store")
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")}
    monkeypatch.setattr("dreem_case.nights.edf_import._write_h5", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        import_pair(pair.__class__(pair.record, pair.person, pair.psg, None), tmp_path / "store")
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")} == before


def test_more_than_a_day_has_to_be_trimmed(tmp_path):
    path = psg(tmp_path / "n.edf", onsets=[0, *(90000 + 30 * i for i in range(9))], reserved="EDF+D")
    result = run("import", path, "--out", tmp_path / "store")
    assert result.exit_code == 1 and "--trim keeps what is around sleep" in result.output


def test_without_the_extra_a_line_says_how_to_get_it(recordings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edfio", None)
    for command in (["check", recordings / "SC4001EC-Hypnogram.edf"], ["import", recordings, "--out", tmp_path / "o"]):
        found = run(*command)
        assert (found.exit_code, found.output) == (1, "Error: edfio is not installed: pip install 'dreem_case[edf]'\n")


def test_record_names_are_safe():
    assert record_name("my night (1)/../x") == "my-night-1-..-x"


def test_check_says_what_a_file_is_and_ends_with_1_for_one_of_no_use(recordings):
    result = run("check", recordings / "SC4001EC-Hypnogram.edf", recordings / "SC4131E0-PSG.edf", "--json")
    good, bad = json.loads(result.output)
    assert result.exit_code == 1
    assert good["stages"] == good["stages_trimmed"] == {"WAKE": 4, "N1": 0, "N2": 4, "DEEP": 0, "REM": 1}
    assert bad["error"].startswith("SC4131E0: expected")


# Sleep-EDF from its bucket


@pytest.fixture
def bucket(server, recordings):
    """A bucket as PhysioNet's is laid out, which anybody may read."""
    name, content = "open-sleep-edfx", {}
    for path in sorted(recordings.rglob("*.edf")):
        study = "sleep-telemetry" if path.name.startswith("ST") else "sleep-cassette"
        content[f"{study}/{path.name}"] = path.read_bytes()
    s3 = client(server)
    s3.create_bucket(Bucket=name, ACL="public-read")
    for key, value in content.items():
        s3.put_object(Bucket=name, Key=f"sleep-edfx/1.0.0/{key}", Body=value, ACL="public-read")
    sums = "".join(f"{hashlib.sha256(value).hexdigest()} {key}\n" for key, value in content.items())
    s3.put_object(Bucket=name, Key="sleep-edfx/1.0.0/SHA256SUMS.txt", Body=sums.encode(), ACL="public-read")
    yield name
    for found in s3.list_objects_v2(Bucket=name)["Contents"]:
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def fetch(bucket, server, out, *more):
    return run("download", "--out", out, "--store", f"s3://{bucket}/sleep-edfx/1.0.0", "--endpoint", server, *more)


def test_a_download_goes_on_where_it_was_stopped_and_can_be_imported(bucket, server, tmp_path):
    first = fetch(bucket, server, tmp_path / "got", "SC400")
    assert first.exit_code == 0 and "2 files new" in first.output
    rest = fetch(bucket, server, tmp_path / "got", "--study", "both")
    assert rest.exit_code == 0 and "3 files new" in rest.output and "SC413: one night only" in rest.output
    assert "0 files new" in fetch(bucket, server, tmp_path / "got", "--study", "both").output
    run("import", tmp_path / "got", "--out", tmp_path / "store")
    assert open_store(tmp_path / "store").records() == ["SC4001E0", "ST7011J0"]


def test_a_file_that_differs_from_its_checksum_takes_no_place(bucket, server, tmp_path):
    key = "sleep-edfx/1.0.0/sleep-cassette/SC4001E0-PSG.edf"
    client(server).put_object(Bucket=bucket, Key=key, Body=b"another file", ACL="public-read")
    result = fetch(bucket, server, tmp_path / "got")
    assert result.exit_code == 1 and "expected SHA-256" in result.output
    assert list((tmp_path / "got").rglob("*E0-PSG*")) == []
    unlisted = "sleep-edfx/1.0.0/sleep-cassette/SC4999E0-PSG.edf"
    client(server).put_object(Bucket=bucket, Key=unlisted, Body=b"new", ACL="public-read")
    assert "expected a checksum in SHA256SUMS.txt" in fetch(bucket, server, tmp_path / "got", "SC4999").output


def test_what_is_not_there_is_said(bucket, server, tmp_path):
    assert "expected files of SC9, found none" in fetch(bucket, server, tmp_path / "got", "SC9").output
    assert fetch("no-such-bucket", server, tmp_path / "got").exit_code == 1
    assert run("download", "--out", tmp_path, "--store", "physionet").exit_code == 1


def test_one_recording_finds_its_hypnogram_beside_it(recordings, tmp_path):
    assert run("import", recordings / "SC4001E0-PSG.edf", "--out", tmp_path / "store").exit_code == 0
    assert open_store(tmp_path / "store").scored() == ["SC4001E0"]
    other = run("import", recordings / "SC4001E0-PSG.edf", "--out", tmp_path / "other", "--hypnogram",
                recordings / "inner" / "ST7011JP-Hypnogram.edf")  # fmt: skip
    assert other.exit_code == 1 and "expected a hypnogram of the same night" in other.output


@pytest.mark.parametrize("name, mark", [("10_1.tsv", "\t"), ("10_1.csv", ","), ("10_1_scoring.csv", ";")])
def test_a_table_of_texts_is_a_hypnogram(name, mark, tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    psg(folder / "10_1.edf", n_records=3)
    lines = ["onset duration description", "0 30 Sleep_stage_W", "30 60 Sleep_stage_N2", "31 9 Hypopnea"]
    (folder / name).write_text("\n".join(line.replace(" ", mark).replace("_", " ") for line in lines))
    done = run("import", folder / "10_1.edf", "--out", tmp_path / "store")
    assert done.exit_code == 0 and "nobody scored" not in done.output
    assert json.loads((tmp_path / "store" / "hypnograms" / "10_1.json").read_text()) == ["WAKE", "N2", "N2"]


def test_a_table_goes_with_its_recording_only_where_no_hypnogram_does(recordings):
    for name in "SC4001E0", "health_record":
        (recordings / f"{name}.tsv").touch()
    found = find_pairs(recordings)
    assert [pair.hypnogram.suffix for pair in found.pairs if pair.hypnogram] == [".edf", ".edf"]
    assert not any(".tsv" in note for note in found.notes)


def test_a_table_that_is_none_is_named_and_costs_one_recording(tmp_path):
    for name in "10_1", "11_1":
        psg(tmp_path / f"{name}.edf", n_records=3)
    (tmp_path / "10_1.tsv").write_text("hello")
    done = run("import", tmp_path, "--out", tmp_path / "store")
    assert done.exit_code == 1 and "10_1.tsv: expected columns onset, duration and description" in done.output
    assert open_store(tmp_path / "store").records() == ["11_1"]


def test_recordings_of_one_name_have_the_hypnograms_of_their_own_folders(tmp_path):
    for person, name in ("p1", "night.tsv"), ("p2", "night-hyp.edf"), ("p3", "odd.tsv"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "night.edf").touch()
        (tmp_path / person / name).touch()
    (tmp_path / "night.tsv").touch()  # of none of the three
    found = [pair.hypnogram and pair.hypnogram.relative_to(tmp_path).as_posix() for pair in find_pairs(tmp_path).pairs]
    assert found == ["p1/night.tsv", "p2/night-hyp.edf", None]


def test_a_file_of_another_kind_beside_a_recording_without_a_hypnogram_is_named(tmp_path):
    for name in "a.edf", "a.xml", "b.edf", "b.tsv", "b.txt":
        (tmp_path / name).touch()
    assert find_pairs(tmp_path).notes == ("a.xml is not read: a hypnogram of a is EDF+, or texts in TSV or CSV",)


def test_a_csv_of_something_else_beside_a_recording_is_named_and_costs_nothing(tmp_path):
    psg(tmp_path / "a.edf", n_records=3)
    (tmp_path / "a.csv").write_text("time,pulse\n0,61\n")
    done = run("import", tmp_path, "--out", tmp_path / "store")
    assert done.exit_code == 0 and "a.csv is not read: a hypnogram of a is EDF+" in done.output
    assert open_store(tmp_path / "store").records() == ["a"]


def test_a_hypnogram_of_no_kind_that_is_read_is_named_by_its_file(tmp_path):
    (tmp_path / "scored.xml").write_text("<?xml version='1.0'?>")
    done = run("import", psg(tmp_path / "a.edf"), "--hypnogram", tmp_path / "scored.xml", "--out", tmp_path / "store")
    assert done.exit_code == 1
    assert "a: scored.xml: expected an EDF or BDF file, or a TSV or CSV table, found one that begins" in done.output
