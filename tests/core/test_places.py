"""Files in a folder or a bucket: the same list, the same content, and faults that are named."""

import os
import socket
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from dreem_case.core.open_data import SUMS, fetch_open_data
from dreem_case.core.places import PlaceError, PlaceUnavailable, fetched, files_in
from tests.support.faulty_server import cut, too_long, welcome, without_length
from tests.support.stores import client

FILES = {"100.hea": b"100 2 360", "100.dat": bytes(range(200))}


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, server, credentials, monkeypatch):
    """An address, and what puts a file there."""
    if request.param == "folder":
        (tmp_path / "place" / "below").mkdir(parents=True)
        return str(tmp_path / "place"), lambda name, content: (tmp_path / "place" / name).write_bytes(content)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    bucket = f"b-{tmp_path.name}".replace("_", "-").lower()[:60]
    client(server).create_bucket(Bucket=bucket)
    client(server).put_object(Bucket=bucket, Key="at/below/x.hea", Body=b"")
    return f"s3://{bucket}/at", lambda name, content: client(server).put_object(
        Bucket=bucket, Key=f"at/{name}", Body=content
    )


def test_files_are_listed_in_order_without_those_below_and_hidden_ones(place):
    address, put = place
    for name, content in (FILES | {"._100.hea": b"", ".DS_Store": b""}).items():
        put(name, content)
    assert [(name, file.n_bytes) for name, file in files_in(address).items()] == [("100.dat", 200), ("100.hea", 9)]


def test_the_server_named_for_the_project_goes_before_that_of_aws(server, credentials, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DREEM_CASE_S3_ENDPOINT", server)
    client(server).create_bucket(Bucket="at-home")
    client(server).put_object(Bucket="at-home", Key="100.hea", Body=b"x")
    assert list(files_in("s3://at-home")) == ["100.hea"]


def test_files_are_fetched_as_they_are(place):
    address, put = place
    for name, content in FILES.items():
        put(name, content)
    with fetched(address, files_in(address)) as folder:
        assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_of_many_files_those_are_listed_whose_names_begin_as_wanted(place):
    address, put = place
    for name in ("100.hea", "100.dat", "101.hea", "patients.csv"):
        put(name, b"x")
    found = files_in(address, begins=("100", "patients"))
    assert list(found) == ["100.dat", "100.hea", "patients.csv"]
    assert found.items() <= files_in(address).items()


def test_content_of_the_same_size_is_another_version(place):
    address, put = place
    put("100.hea", b"100 2 360")
    before = files_in(address)["100.hea"]
    put("100.hea", b"100 2 250")
    assert files_in(address)["100.hea"] != before


def test_a_database_is_compared_with_its_list_and_goes_on_where_it_stopped(server, tmp_path):
    bucket, wanted = "database", FILES.__contains__
    client(server).create_bucket(Bucket=bucket, ACL="public-read")

    def put(name: str, content: bytes) -> None:
        client(server).put_object(Bucket=bucket, Key=name, Body=content, ACL="public-read")

    for name, content in FILES.items():
        put(name, content)
    put(SUMS, "".join(f"{sha256(content).hexdigest()} {name}\n" for name, content in FILES.items()).encode())
    fetch = partial(fetch_open_data, f"s3://{bucket}", tmp_path, [""], wanted, server)
    assert list(fetch()) == [("100.dat", True), ("100.hea", True)]
    assert list(fetch()) == [("100.dat", False), ("100.hea", False)]
    put("100.dat", b"another")
    (tmp_path / "100.dat").unlink()
    with pytest.raises(PlaceError, match=r"100\.dat: expected SHA-256"):
        list(fetch())
    assert not (tmp_path / "100.dat").exists()


@pytest.mark.parametrize("address", ["gs://bucket", "s3://", "s3://bucket\n/x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(PlaceError, match="expected an address"):
        files_in(address)


def test_a_folder_that_is_not_there_is_named_without_its_path(tmp_path):
    with pytest.raises(PlaceError, match=r"^none: expected a folder"):
        files_in(tmp_path / "none")


def test_a_bucket_that_is_not_there_will_not_be_there_later(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with pytest.raises(PlaceError) as caught:
        files_in("s3://nobodys-bucket")
    assert type(caught.value) is PlaceError


def test_a_server_that_does_not_answer_may_answer_later():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PlaceUnavailable):
            files_in("s3://bucket", url)


def test_a_file_too_large_is_not_fetched(place, monkeypatch):
    address, put = place
    if "://" not in address:
        pytest.skip("a folder is not fetched")
    put("100.dat", bytes(100))
    monkeypatch.setattr("dreem_case.core.places.MAX_BYTES", 50)
    with pytest.raises(PlaceError, match="at most 50 bytes, found 100"), fetched(address, files_in(address)):
        pass


@pytest.mark.parametrize("fault", [cut, too_long, without_length, welcome])
def test_what_is_fetched_is_what_was_listed_or_nothing(fault, place, between, monkeypatch):
    address, put = place
    if "://" not in address:
        pytest.skip("a folder is not fetched")
    put("100.dat", bytes(100))
    between.only, between.fault = ("GET", ".dat"), fault
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
    with pytest.raises(PlaceUnavailable, match=r"100\.dat: expected the 100 "), fetched(address, files_in(address)):
        pass


def test_a_file_replaced_since_it_was_listed_is_not_fetched_beside_the_others(place):
    address, put = place
    if "://" not in address:
        pytest.skip("a folder is not fetched")
    put("100.dat", bytes(100))
    listed = files_in(address)
    put("100.dat", bytes([1] * 100))
    with pytest.raises(PlaceUnavailable, match="found another content"), fetched(address, listed):
        pass


def test_files_of_one_size_and_time_that_change_places_are_other_versions(tmp_path):
    paths = [tmp_path / name for name in ("100.dat", "101.dat", "moved")]
    for path in paths[:2]:
        path.write_text(path.name)
        os.utime(path, (1e9, 1e9))
    before = files_in(tmp_path)
    for source, target in (0, 2), (1, 0), (2, 1):
        paths[source].rename(paths[target])
    assert all(file != before[name] for name, file in files_in(tmp_path).items())


def test_nothing_fetched_stays(place):
    address, put = place
    put("100.hea", b"x")
    with fetched(address, files_in(address)) as folder:
        kept = Path(folder)
    assert kept.exists() == ("://" not in address)
