"""The API under requests made from its own document, and under messages that no client would send."""

import os
import shutil
import threading

import h5py
import numpy as np
import pytest
from werkzeug.serving import make_server

from dreem_case.api import make_app
from dreem_case.core.cache import ResultCache
from dreem_case.nights.store import open_store
from dreem_case.serving.answers import Answers
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import ScoringPool
from tests.support.hostile_requests import MESSAGES, answer_to, send_by_document

N_REQUESTS = 1000 * int(os.environ.get("FUZZ_TIMES", "1"))


@pytest.fixture(scope="module")
def folder(short_nights, tmp_path_factory):
    """A store with a night, a torn file and one without signal; beside it what nobody may get."""
    folder = tmp_path_factory.mktemp("store") / "nights"
    folder.mkdir()
    shutil.copy(min((short_nights / "h5").glob("*.h5")), folder / "night.h5")
    (folder / "torn.h5").write_bytes(b"no HDF5")
    with h5py.File(folder / "silent.h5", "w") as file:
        file["eeg1"] = np.zeros(15_000, np.float32)
    shutil.copy(folder / "night.h5", folder.parent / "secret.h5")
    return folder


@pytest.fixture(scope="module")
def app(folder, short_model, tmp_path_factory):
    cache = ResultCache(tmp_path_factory.mktemp("cache"), 10**8)
    with ScoringPool(short_model) as pool:
        yield make_app(Answers(open_store(folder), cache, pool), Metrics())


def test_every_answer_to_a_request_made_from_the_document_is_documented(app, folder):
    seen = send_by_document(app, N_REQUESTS, secret=str(folder.parent))
    assert seen.total() >= N_REQUESTS
    for path in "/hypnogram/{record}", "/hypnogram/{record}/details":
        assert all(seen[f"GET {path}", status] for status in (200, 404, 422)), seen


@pytest.fixture(scope="module")
def port(app):
    """The port of a server with the app."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_message_that_no_client_sends_gets_an_error_of_the_client_and_nothing_else(port, folder):
    for message in MESSAGES:
        answer = answer_to(port, message)
        head = answer.partition(b"\r\n\r\n")[0]
        status = int(head.split()[1]) if head.startswith(b"HTTP/") else None
        told = f"{message[:200]}: {answer[:500]}"
        assert status is None or status < 500 or status == 505, told  # 505: no such version of HTTP
        assert b"\nX-Injected" not in head, told
        for secret in (str(folder.parent).encode(), b"Traceback", b"root:", b"secret.h5"):
            assert secret not in answer, told
    assert b"alive" in answer_to(port, b"GET /healthz HTTP/1.0\r\n\r\n")
