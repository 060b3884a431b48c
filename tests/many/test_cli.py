"""The command line: listing, downloading, and going on where a download ended."""

import errno
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import uuid

import click
import pytest
from click.testing import CliRunner

from dreem_case import cli
from dreem_case.core import s3
from dreem_case.many.batch import Summary
from dreem_case.nights import s3_store
from dreem_case.nights.folder_store import FolderStore
from dreem_case.nights.store import GIVE_UP, open_store
from tests.conftest import until
from tests.support.faulty_server import cut, say, stop
from tests.support.stores import REGION, BucketPlace, h5_content, put


@pytest.fixture(scope="module")
def other_content(tmp_path_factory):
    return h5_content(tmp_path_factory.mktemp("made"), n_epochs=21)


@pytest.fixture
def place(server, between, content, monkeypatch):
    """A bucket with two nights, to which the environment leads."""
    place = BucketPlace(server, f"nights-{uuid.uuid4().hex}")
    put(place, "a", content, ["WAKE", "N1"])
    put(place, "b", content)
    place.write("manifest.json", b'{"source": "simulated nights, seed 1"}')
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    monkeypatch.setenv("DREEM_CASE_STORE", place.address)
    monkeypatch.setenv("DREEM_CASE_S3_ENDPOINT", between.endpoint)
    monkeypatch.setenv("DREEM_CASE_S3_REGION", REGION)
    monkeypatch.setenv("DREEM_CASE_S3_ANONYMOUS", "1")
    return place


@pytest.fixture
def out(tmp_path):
    return tmp_path / "copies" / "nights"


def run(*words):
    """Run the command; return its exit code, its output and what it said beside."""
    result = CliRunner().invoke(cli.main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def command(*words):
    """The same as a process of its own."""
    return [sys.executable, "-c", "from dreem_case.cli import main; main()", *map(str, words)]


@pytest.mark.parametrize(("stdout", "found"), [
    (">&-", "expected a standard output, found it closed"),
    (">/dev/full", "expected a standard output that takes what is said, found No space left on device"),
])  # fmt: skip
def test_what_is_said_to_nobody_is_no_success_and_no_traceback(stdout, found):
    words = ["sh", "-c", f'"$0" "$@" {stdout}', *command("--help")]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"Error: {found}\n")


@pytest.mark.parametrize("cores", ["x", "", "1.5"])
def test_a_number_of_cores_that_is_none_is_told_by_every_command(monkeypatch, tmp_path, cores):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", cores)
    for words in (("records", "--store", tmp_path), ("ecg", "watch", "--scored", tmp_path)):
        code, _, told = run(*words)
        assert (code, told) == (2, f"Error: LOKY_MAX_CPU_COUNT: expected a number of cores, found '{cores}'\n")


def copies(out):
    """Everything that lies in a folder, hidden files too."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


ALL = ["h5/a.h5", "h5/b.h5", "hypnograms/a.json", "manifest.json"]


def test_records_are_listed_one_a_line(place):
    assert run("records") == (0, "a\nb\n", "")


def test_other_files_in_a_store_are_named(tmp_path, content):
    for name in "a.h5", "raw.HDF5":
        (tmp_path / name).write_bytes(content)
    beside = "not used: 'raw.HDF5': expected the ending .h5, found .HDF5\n"
    assert run("records", "--store", tmp_path) == (0, "a\n", beside)
    assert run("features", "--store", tmp_path, "--cache", tmp_path / "cache", "--n-jobs", 1)[2] == beside


def test_a_download_brings_nights_hypnograms_and_their_source(place, out, content):
    assert run("download", "--out", out) == (0, "2 copied, 0 there already, 0 failed\n", "")
    assert copies(out) == ALL
    assert (out / "h5" / "a.h5").read_bytes() == content
    assert json.loads((out / "hypnograms" / "a.json").read_text()) == ["WAKE", "N1"]
    copy = FolderStore(out)
    assert copy.records() == ["a", "b"]
    assert copy.source == "simulated nights, seed 1"
    assert copy.look("a").modified_s == place.open().look("a").modified_s


def test_a_download_of_some_records_brings_these(place, out):
    assert run("download", "--out", out, "b", "b") == (0, "1 copied, 0 there already, 0 failed\n", "")
    assert copies(out) == ["h5/b.h5", "manifest.json"]


def test_what_is_there_is_not_downloaded_again(place, between, out, other_content):
    run("download", "--out", out)
    between.requests.clear()
    assert run("download", "--out", out)[1] == "0 copied, 2 there already, 0 failed\n"
    assert [path for method, path, _ in between.requests if method == "GET" and ".h5" in path] == []
    put(place, "a", other_content, ["REM"])
    assert run("download", "--out", out)[1] == "1 copied, 1 there already, 0 failed\n"
    assert (out / "h5" / "a.h5").read_bytes() == other_content
    assert (out / "hypnograms" / "a.json").read_text() == '["REM"]'


def test_a_copy_that_was_altered_or_cut_is_made_again(place, out, content):
    run("download", "--out", out)
    (out / "h5" / "a.h5").write_bytes(content[:-1])
    os.utime(out / "h5" / "b.h5", (0, 0))
    assert run("download", "--out", out)[1] == "2 copied, 0 there already, 0 failed\n"
    assert (out / "h5" / "a.h5").read_bytes() == content


def test_a_new_hypnogram_is_brought_and_ones_own_stays(place, out):
    run("download", "--out", out)
    (out / "hypnograms" / "b.json").write_text('["N2"]')
    place.write("hypnograms/a.json", b'["DEEP"]')
    code, said, beside = run("download", "--out", out)
    assert (code, said) == (0, "0 copied, 2 there already, 0 failed\n")
    assert beside == "b: the store has no hypnogram; the one that is here stays\n"
    assert (out / "hypnograms" / "a.json").read_text() == '["DEEP"]'
    assert (out / "hypnograms" / "b.json").read_text() == '["N2"]'


def test_one_record_that_fails_does_not_stop_the_others(place, between, out, content):
    for record in "c", "d":
        put(place, record, content)
    between.only, between.fault = ("GET", "b.h5"), cut
    code, said, beside = run("download", "--out", out)
    assert (code, said) == (1, "3 copied, 0 there already, 1 failed\n")
    assert beside == "b: expected an answer from the store, found downloads that break off\n"
    assert copies(out) == ["h5/a.h5", "h5/c.h5", "h5/d.h5", "hypnograms/a.json", "manifest.json"]
    between.fault = None
    assert run("download", "--out", out)[:2] == (0, "1 copied, 3 there already, 0 failed\n")


def test_records_that_are_not_there_are_named(place, out):
    code, said, beside = run("download", "--out", out, "../a", "c", "a", "\x1b[2J", "x" * 500)
    assert (code, said) == (1, "1 copied, 0 there already, 4 failed\n")
    assert [line.split(": ")[0] for line in beside.splitlines()] == ["../a", "c", r"\x1b[2J", "x" * 60]
    assert "\x1b" not in beside
    assert copies(out.parent) == ["nights/h5/a.h5", "nights/hypnograms/a.json", "nights/manifest.json"]


def test_a_store_that_fails_on_and_on_is_given_up(place, between, out, content):
    place.write_many([f"h5/night-{i}.h5" for i in range(20)])
    between.only, between.fault = ("HEAD", ".h5"), say(503)
    code, said, beside = run("download", "--out", out)
    assert (code, said) == (1, "0 copied, 0 there already, 22 failed\n")
    assert beside.splitlines()[GIVE_UP:] == ["gave up with 19 more to go"]


def test_a_full_disk_ends_the_download(place, out, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(s3_store.S3Store, "save", full)
    code, said, beside = run("download", "--out", out)
    assert (code, said) == (1, "0 copied, 0 there already, 2 failed\n")
    assert beside.splitlines()[1:] == ["gave up with 1 more to go"]
    assert "No space left" in beside
    assert copies(out) == ["manifest.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_download_that_is_stopped_goes_on(place, between, out, content, number):
    between.only, between.fault = ("GET", "b.h5"), stop
    unheard = subprocess.DEVNULL

    def begun():
        return any(path.stat().st_size for path in out.glob("dreem-case-*/h5"))

    with subprocess.Popen(command("download", "--out", out), stdout=unheard, stderr=unheard) as process:
        until(lambda: process.poll() is not None or (begun() and (out / "h5/a.h5").exists()))
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) != 0
    assert FolderStore(out).records() == ["a"]
    if number == signal.SIGINT:
        assert copies(out) == ["h5/a.h5", "hypnograms/a.json", "manifest.json"]
    between.fault = None
    assert run("download", "--out", out)[:2] == (0, "1 copied, 1 there already, 0 failed\n")
    assert copies(out) == ALL
    assert (out / "h5" / "b.h5").read_bytes() == content


def test_nights_do_not_go_among_those_of_another_source(place, out, content):
    out.mkdir(parents=True)
    (out / "manifest.json").write_text('{"source": "real nights"}')
    code, _, beside = run("download", "--out", out)
    assert code == 2
    assert "expected a folder for simulated nights, seed 1, found one that holds real nights" in beside
    (out / "manifest.json").unlink()
    (out / "z.h5").write_bytes(content)
    code, _, beside = run("download", "--out", out)
    assert code == 2
    assert f"found one that holds nights in {out.name}" in beside
    assert copies(out) == ["z.h5"]


def test_a_store_that_does_not_tell_its_source_ends_a_download_in_a_sentence(place, between, out):
    run("download", "--out", out)
    between.fault, between.only = say(403), ("GET", "manifest.json")
    code, _, beside = run("download", "--out", out)
    assert code == 2
    assert f"Error: {place.address}: expected an answer from the store, found status 403" in beside


def test_the_module_is_a_program(tmp_path):
    words = [sys.executable, "-m", "dreem_case.cli", "records", "--store", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected nights, found none" in done.stderr


def test_a_command_that_cannot_begin_says_why(place, between, out, tmp_path, monkeypatch):
    for words, why in [
        (("records", "--store", tmp_path / "absent"), "found no folder"),
        (("records", "--store", tmp_path), "expected nights, found none"),
        (("records", "--store", "s3://"), "expected an address s3://bucket"),
        (("records", "--store", "s3://absent-bucket"), "found status 404"),
        (("records", "--endpoint", "http://127.0.0.1:9"), "no whole answer"),
        (("download",), "--out"),
        (("download", "--out", __file__), "is a file"),
        (("download", "--store", tmp_path, "--out", out), "expected nights, found none"),
        (("dance",), "No such command"),
    ]:
        code, said, beside = run(*words)
        assert (code, said) == (2, "")
        assert why in beside
        assert "Traceback" not in beside
    monkeypatch.delenv("DREEM_CASE_STORE")
    assert run("records")[0] == 2


def test_a_terminal_sees_progress(place, out):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.run(command("download", "--out", out), stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    os.close(theirs)
    seen = os.read(ours, 10**5).decode()
    os.close(ours)
    assert process.stdout == b"2 copied, 0 there already, 0 failed\n"
    assert "2/2 b" in seen
    assert "B/s" in seen


@pytest.mark.parametrize(("value", "anonymous"), [("yes", True), ("1", True), ("no", None), ("0", None), (None, None)])
def test_requests_go_unsigned_where_the_server_would_send_them_so(value, anonymous, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(cli.StorePlace, "open", lambda place: found.append(place) or FolderStore(tmp_path))
    monkeypatch.delenv("DREEM_CASE_S3_ANONYMOUS", raising=False)
    if value:
        monkeypatch.setenv("DREEM_CASE_S3_ANONYMOUS", value)
    run("records", "--store", "s3://nights")
    run("records", "--store", "s3://nights", "--anonymous")
    assert found == [cli.StorePlace("s3://nights", anonymous=anonymous), cli.StorePlace("s3://nights", anonymous=True)]


def test_what_programs_read_is_json(place, out):
    assert run("records", "--json") == (0, '["a", "b"]\n', "")
    put(place, "x" * 200, b"")
    code, said, _ = run("download", "--out", out, "--json", "a", "c")
    (not_used,) = json.loads(said).pop("not_used")
    assert not_used.startswith("'xxx")
    assert code == 1
    counts = {"copied": 1, "there already": 0, "failed": 1, "not_used": [not_used]}
    problem = {"record": "c", "code": "record_not_found", "detail": "expected a record of this store, found no 'c'"}
    assert json.loads(said) == counts | {"problems": [problem]}


@pytest.mark.parametrize("address", ["folder", "bucket"])
def test_simulated_nights_are_a_store(address, server, tmp_path, credentials):
    reached = ("--endpoint", server, "--region", REGION)
    out = tmp_path / "nights" if address == "folder" else BucketPlace(server, "made", "nights").address
    code, said, beside = run("simulate", "--out", out, "--nights", 1, "--hours", 0.1, "--json", *reached)
    assert (code, beside) == (0, "")
    assert json.loads(run("records", "--store", out, "--json", *reached)[1]) == json.loads(said)
    night = open_store(out, server, REGION).open_night(json.loads(said)[0])
    assert len(night.eeg_names) == 7
    assert night.hypnogram is not None


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--seed", -1), "-1 is not in the range"), (("--out", __file__), "found a file where a folder should be"),
     (("--out", "gs://nights"), "neither a folder nor s3://bucket")],
)
def test_a_simulation_that_cannot_begin_says_why(words, why, tmp_path):
    code, said, beside = run("simulate", "--nights", 1, "--hours", 0.1, "--out", tmp_path, *words)
    assert (code, said) == (2, "")
    assert why in beside
    assert "Error: " in beside


def test_simulated_nights_do_not_go_among_others(tmp_path):
    words = ("simulate", "--nights", 1, "--hours", 0.1, "--out")
    named, unnamed, plain = tmp_path / "named", tmp_path / "unnamed", tmp_path / "plain"
    for folder, name, content in [
        (named, "manifest.json", '{"source": "real nights of the lab"}'), (unnamed, "h5/a.h5", ""), (plain, "a.H5", "")
    ]:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
        code, said, beside = run(*words, folder)
        assert (code, said) == (2, "")
        assert "expected no nights, or simulated ones of this seed, found" in beside
        assert copies(folder) == [name]
        assert (folder / name).read_text() == content
    code, made, _ = run(*words, tmp_path / "made")
    assert (code, run(*words, tmp_path / "made")[1]) == (0, made)
    assert run(*words, tmp_path / "made", "--seed", 2)[0] == 2
    assert FolderStore(tmp_path / "made").source == "simulated nights, seed 1"


def test_a_simulation_that_is_interrupted_goes_on(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("dreem_case.nights.casefile.write_night", interrupted)
        assert run("simulate", "--nights", 1, "--hours", 0.1, "--out", tmp_path)[0] == 1
    assert run("simulate", "--nights", 1, "--hours", 0.1, "--out", tmp_path)[0] == 0


@pytest.fixture
def scoring(short_nights, short_model, tmp_path):
    """The options of a run over a store with three nights and two other files."""
    nights = tmp_path / "nights"
    nights.mkdir()
    for path in (short_nights / "h5").glob("*.h5"):
        (nights / path.name).write_bytes(path.read_bytes()[:-1] if "1" in path.name else path.read_bytes())
    (nights / "notes.txt").touch()
    (nights / "raw.HDF5").touch()
    return "--store", nights, "--model", short_model, "--out", tmp_path / "out", "--cache", tmp_path / "cache"


def test_a_store_is_scored_and_each_night_that_is_not_is_named(scoring, tmp_path, short_nights):
    code, said, beside = run("score", *scoring, "--n-jobs", 1, "--json")
    found = json.loads(said)
    refused = [problem["record"] for problem in found["problems"]]
    assert refused
    assert (code, found["scored"], found["refused"], found["left"]) == (1, 3 - len(refused), len(refused), 0)
    assert found["stopped"] == ""
    assert found["not_used"] == ["'raw.HDF5': expected the ending .h5, found .HDF5"]
    assert all(set(problem) == {"record", "code", "detail"} for problem in found["problems"])
    assert f"not used: {found['not_used'][0]}" in beside
    assert f"{refused[0]}: expected" in beside
    assert (tmp_path / "out" / "nights.parquet").is_file()
    code, said, _ = run("score", *scoring, "--n-jobs", 1)
    assert said == f"0 scored, {3 - len(refused)} there already, {len(refused)} refused, 0 failed, 0 left\n"


def test_results_are_exported_and_agree_with_the_hypnograms(short_nights, short_model, tmp_path):
    scored, tables = tmp_path / "out", tmp_path / "tables"
    there = "--store", short_nights, "--model", short_model, "--out", scored, "--cache", tmp_path / "cache"
    assert run("score", *there, "--n-jobs", 1)[0] == 0
    n = len(list(scored.glob("*.json")))
    said = f"{n} nights in nights.csv, {n} tables of epochs, 0 failed\n"
    assert run("export", scored, "--out", tables)[:2] == (0, said)
    assert len((tables / "nights.csv").read_text().splitlines()) == n + 1
    code, said, _ = run("compare", scored, tables / "epochs", "--json")
    found = json.loads(said)
    assert (code, found["n_nights"], found["n_differ"], found["problems"]) == (0, n, 0, [])
    first = found["nights"][0]["record"]
    (scored / "details" / f"{first}.json").write_text("[]")
    code, said, beside = run("export", scored, "--out", tables)
    assert code == 1 and said.endswith("1 failed\n") and f"{first}: expected its details" in beside
    (full := tmp_path / "full").write_text("")
    code, _, beside = run("export", scored, "--out", full)
    assert code == 2 and f"{scored} to {full}: expected a place that takes results, found a file" in beside
    code, _, beside = run("export", tables, "--out", tmp_path)
    assert code == 2 and "expected the results of `dreem-case score`, found no nights.parquet" in beside


def test_two_scorings_are_compared_whatever_form_they_have(tmp_path):
    for name, text in [
        ("a/night-1.json", '["WAKE", "N1", null, "N3"]'), ("a/night-2.json", '["REM"]'), ("a/bad.json", "{}"),
        ("b/night-1.csv", "onset,duration,description\n0,30,Sleep stage W\n30,90,Sleep stage N2\n"),
        ("b/notes.txt", ""),
    ]:  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    code, said, beside = run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "differ.csv")
    assert code == 1 and beside == "bad.json: expected a JSON list of stage names, found a dict\n"
    assert said.splitlines()[1].split()[:3] == ["night-1", "3", "2"]
    assert "in one place only, not compared: night-2" in said
    assert (tmp_path / "differ.csv").read_text().splitlines()[1:] == ["night-1,1,30,N1,N2", "night-1,3,90,DEEP,N2"]
    for words, why in [
        (["b", "c"], "c: expected a folder or s3://bucket, found none"),
        (["b", "b/notes.txt"], "notes.txt: expected a folder or s3://bucket, found a file"),
        (["a", "."], "found none among 2 and 0; those of a store lie in its folder hypnograms"),
        (["a", "b", "--out", tmp_path / "b"], "is a directory"),
        (["a", "b", "--out", tmp_path / "b" / "notes.txt" / "d.csv"], "notes.txt"),
    ]:
        code, said, beside = run("compare", *(tmp_path / word if word != "--out" else word for word in words))
        assert code and not said and why in beside and "Traceback" not in beside


def test_a_folder_of_edf_files_is_told_how_to_become_a_store(tmp_path):
    (tmp_path / "night.EDF").touch()
    code, _, beside = run("records", "--store", tmp_path)
    assert code == 2 and "expected nights, found none" in beside
    assert "not used: EDF files such as 'night.EDF': `dreem-case edf import` makes nights of them" in beside


def test_a_night_has_the_time_that_it_is_given(scoring, monkeypatch):
    jobs = []
    monkeypatch.setattr("dreem_case.many.batch.score_store", lambda job, *_: jobs.append(job) or Summary(0))
    assert run("score", *scoring, "--time-limit-s", 1.5, "--memory-mb", 3000)[0] == 0
    assert (jobs[0].time_limit_s, jobs[0].memory_mb) == (1.5, 3000)


def test_a_scoring_that_cannot_begin_says_why(scoring, tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.core.workers.CONNECT_S", 0.5)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    options = dict(zip(scoring[::2], scoring[1::2], strict=True))
    for other, why in [
        ({"--store": tmp_path / "empty"}, "expected nights, found none"),
        ({"--model": tmp_path / "empty"}, "expected a model's manifest, found no such file"),
        ({"--model": "gs://lab/model"}, "found the address gs://lab/model, which is neither a folder nor s3://bucket"),
        ({"--cache": __file__}, f"{__file__}: expected a folder to write results to"),
        ({"--out": f"{options['--store']}/hypnograms"}, "results apart from the files of the store, found"),
        ({"--out": ""}, "expected a place that takes results, found an empty address"),
        ({"--store": ""}, "expected a folder or s3://bucket, found an empty address"),
        ({"--out": __file__}, "expected a place that takes results, found a file where a folder should be"),
        ({"--out": "s3://absent-bucket", "--endpoint": "http://127.0.0.1:9"}, "s3://absent-bucket: expected a place"),
        ({"--dask": "tcp://127.0.0.1:9"}, "expected a Dask scheduler at tcp://127.0.0.1:9, found none"),
        ({"--dask": "tcp://127.0.0.1:9", "--n-jobs": 1}, "found both"),
        ({"--time-limit-s": "inf"}, "inf is not in the range 1<=x<=86400"),
        ({"--time-limit-s": "nan"}, "nan is no finite number"),
    ]:
        words = [word for pair in (options | other).items() for word in pair]
        code, said, beside = run("score", *words)
        assert (code, said) == (2, ""), beside
        assert why in beside
        assert "Traceback" not in beside


def test_every_seed_is_one_that_all_libraries_take():
    kinds, groups = [], [cli.main]
    while groups:
        group = groups.pop()
        commands = [group.get_command(None, name) for name in group.list_commands(None)]
        groups += [command for command in commands if isinstance(command, click.Group)]
        kinds += [option.type for command in commands for option in command.params if option.name == "seed"]
    assert len(kinds) >= 9
    assert {(kind.min, kind.max) for kind in kinds} == {(0, 2**32 - 1)}


@pytest.mark.parametrize("words", [["--help"], *([name, "-h"] for name in sorted(cli.main.commands))])
def test_each_command_has_help(words):
    code, said, _ = run(*words)
    assert code == 0
    assert said.startswith("Usage:")


def test_simulated_nights_need_no_room_but_that_of_their_place(tmp_path, monkeypatch):
    (tmp_path / "full").touch()  # no folder at all
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    assert run("simulate", "--out", tmp_path / "out", "--nights", 1, "--hours", 0.1)[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"h5", "hypnograms", "manifest.json"}


def test_a_place_that_is_full_is_told_in_words(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreem_case.nights.casefile.write_night", full)
    code, _, beside = run("simulate", "--out", tmp_path / "out", "--nights", 1, "--hours", 0.1)
    assert code == 2 and "Traceback" not in beside and "No space left on device" in beside
