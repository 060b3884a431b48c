"""Places for results: a folder and a bucket keep the same promises."""

import errno
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreem_case.core.outputs import OutputError, open_outputs
from tests.support.faulty_server import say, welcome, without_length
from tests.support.stores import REGION, client


@pytest.fixture(params=["folder", "bucket"])
def outputs(request, tmp_path, server, credentials):
    """An empty place, below something."""
    if request.param == "folder":
        return open_outputs(tmp_path / "a" / "results")
    bucket = f"results-{uuid.uuid4().hex}"
    client(server).create_bucket(Bucket=bucket)
    return open_outputs(f"s3://{bucket}/a/results", server, REGION)


def test_what_is_written_is_read_listed_and_removed(outputs):
    outputs.write("a.json", b"old")
    outputs.write("a.json", b"new")
    outputs.write("details/a.json", b"{}")
    assert outputs.read("a.json") == b"new"
    assert outputs.sizes() == {"a.json": 3}
    assert outputs.read("b.json") is None
    assert (outputs.names(), outputs.names("details"), outputs.names("absent")) == ({"a.json"}, {"a.json"}, set())
    outputs.remove("details/a.json")
    outputs.remove("details/a.json")
    assert outputs.read("details/a.json") is None


def test_names_that_differ_in_case_are_two_files(outputs):
    assert outputs.keeps_case
    outputs.write("A.json", b"1")
    outputs.write("a.json", b"2")
    assert (outputs.read("A.json"), outputs.read("a.json")) == (b"1", b"2")


def test_a_bucket_lists_more_than_a_page(server, credentials):
    bucket = f"results-{uuid.uuid4().hex}"
    client(server).create_bucket(Bucket=bucket)
    outputs = open_outputs(f"s3://{bucket}", server, REGION)
    from moto.s3.models import s3_backends

    for i in range(1001):  # the server is in this process
        s3_backends["123456789012"]["aws"].put_object(bucket, f"rows/{i}.json", b"")
    assert len(outputs.names("rows")) == 1001


@pytest.mark.parametrize(
    ("code", "found"), [(errno.ENOSPC, "a full disk"), (errno.EROFS, "read only"), (errno.EACCES, "no permission")]
)
def test_a_folder_that_takes_nothing_says_that_it_lasts(tmp_path, monkeypatch, code, found):
    outputs = open_outputs(tmp_path)
    outputs.write("a.json", b"old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OutputError, match=found) as error:
            outputs.write("a.json", b"new")
    assert error.value.lasting
    assert outputs.read("a.json") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_in_the_way_harms_only_its_own_name(tmp_path):
    outputs = open_outputs(tmp_path)
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError, match="Is a directory") as error:
        outputs.write("a.json", b"new")
    assert not error.value.lasting
    outputs.write("b.json", b"new")


def test_a_writer_that_is_killed_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    outputs = open_outputs(tmp_path)
    outputs.write("a.json", b"old")
    code = (
        "import os, signal, sys\nfrom dreem_case.core.outputs import open_outputs\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "open_outputs(sys.argv[1]).write('a.json', b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert outputs.read("a.json") == b"old"
    assert len(list((tmp_path / ".partial").iterdir())) == 1
    outputs.write("a.json", b"newer")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_who_writes_nothing_leaves_nothing_and_who_writes_only_that(tmp_path):
    outputs = open_outputs(tmp_path / "a" / "results")
    assert (outputs.read("a.json"), outputs.sizes(), outputs.keeps_case) == (None, {}, True)
    outputs = open_outputs(tmp_path / "b" / "results")
    outputs.remove("a.json")
    assert not (tmp_path / "b").exists()
    outputs.write("details/a.json", b"{}")
    assert [str(path.relative_to(tmp_path / "b")) for path in sorted((tmp_path / "b").rglob("*"))] == [
        "results", "results/details", "results/details/a.json"
    ]  # fmt: skip


def test_many_that_write_at_a_time_do_not_remove_each_others_places(tmp_path):
    outputs = open_outputs(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        for written in [threads.submit(outputs.write, f"{i}.json", b"1") for i in range(400)]:
            written.result()
    assert outputs.sizes() == {f"{i}.json": 1 for i in range(400)}
    assert len(list(tmp_path.iterdir())) == 400


@pytest.mark.parametrize(
    ("address", "found"),
    [("s3://", "s3://bucket"), ("http://host/x", "neither a folder nor s3://bucket"), (__file__, "a file where"),
     ("", "an empty address")],
)  # fmt: skip
def test_what_is_no_place_is_an_error(address, found):
    with pytest.raises(OutputError, match=found) as error:
        open_outputs(address)
    assert error.value.lasting


def test_a_bucket_says_why_it_takes_nothing(server, between, credentials):
    with pytest.raises(OutputError, match="no such bucket") as error:
        open_outputs("s3://absent-bucket", server, REGION).names()
    assert error.value.lasting
    client(server).create_bucket(Bucket="guarded")
    outputs = open_outputs("s3://guarded", between.endpoint, REGION)
    between.only, between.fault = ("GET", ""), say(403, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(OutputError, match=r"answers 403 \(AccessDenied\)") as error:
        outputs.read("a.json")
    assert error.value.lasting
    for status in 503, 429:
        between.fault = say(status)
        with pytest.raises(OutputError, match=f"answers {status}") as error:
            outputs.read("a.json")
        assert not error.value.lasting
    between.fault = welcome
    with pytest.raises(OutputError, match="no list of a bucket"):
        outputs.names()
    between.fault = None
    behind = open_outputs("s3://guarded", server, REGION)
    behind.write("a.json", b"[1, 2]")
    between.fault = without_length
    with pytest.raises(OutputError, match=r"found a bucket that does not send a\.json as a whole") as error:
        outputs.read("a.json")
    assert not error.value.lasting


def test_a_folder_needs_no_boto():
    code = "import sys, dreem_case.many.batch; print({'boto3', 'pyarrow', 'distributed', 'sklearn'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
