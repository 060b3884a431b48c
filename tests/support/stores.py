"""Places for stores to stand on: a folder, and a bucket of a real S3 server on loopback."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import boto3
import numpy as np
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from dreem_case.nights.casefile import write_night
from dreem_case.nights.night import Night, Signal
from dreem_case.nights.store import Store, open_store

REGION = "us-east-1"


@cache
def h5_content(folder: Path, n_epochs: int = 2, value: float = 0.0) -> bytes:
    """The h5 file of a night with one derivation that holds one value."""
    eeg = Signal(np.full(n_epochs * 7500, value, np.float32), 250, "µV", "eeg")
    return write_night(Night("made", {"eeg1": eeg}, n_epochs), folder).read_bytes()


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3 server on loopback; give its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
        server._server.server_close()


@cache
def client(endpoint: str):
    """An S3 client with some credentials."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.client("s3", endpoint_url=endpoint, region_name=REGION, **keys)


class FolderPlace:
    """A folder, written to as a bucket is."""

    def __init__(self, folder: Path):
        self.folder, self.address = folder, str(folder)
        folder.mkdir()

    def write(self, key: str, content: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def write_many(self, keys: list[str]) -> None:
        for key in keys:
            self.write(key, b"")

    def remove(self, key: str) -> None:
        (self.folder / key).unlink()
        if not any((self.folder / key).parent.iterdir()):  # as in a bucket, where a folder is what lies in it
            (self.folder / key).parent.rmdir()

    def remove_all(self) -> None:
        shutil.rmtree(self.folder)

    def open(self, inner: str = "", **settings) -> Store:
        return open_store(f"{self.address}/{inner}".rstrip("/"), **settings)


class BucketPlace:
    """A bucket, or a part of one."""

    def __init__(self, endpoint: str, bucket: str, prefix: str = ""):
        self.endpoint, self.bucket, self.prefix = endpoint, bucket, prefix
        self.address = f"s3://{bucket}/{prefix}"
        self.client = client(endpoint)
        self.client.create_bucket(Bucket=bucket)

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content, ACL="public-read")

    def write_many(self, keys: list[str]) -> None:
        backend = s3_backends["123456789012"]["aws"]  # the server is in this process: a thousand puts in no time
        for key in keys:
            backend.put_object(self.bucket, self.prefix + key, b"")

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def remove_all(self) -> None:
        for file in self.client.list_objects_v2(Bucket=self.bucket)["Contents"]:
            self.client.delete_object(Bucket=self.bucket, Key=file["Key"])
        self.client.delete_bucket(Bucket=self.bucket)

    def open(self, inner: str = "", **settings) -> Store:
        settings = {"endpoint": self.endpoint, "region": REGION, "anonymous": True} | settings
        return open_store(self.address + inner, **settings)


def put(place: FolderPlace | BucketPlace, record: str, content: bytes, stages: list[str] | None = None) -> None:
    """Write a record to a place in the case's layout."""
    place.write(f"h5/{record}.h5", content)
    if stages is not None:
        place.write(f"hypnograms/{record}.json", json.dumps(stages).encode())
