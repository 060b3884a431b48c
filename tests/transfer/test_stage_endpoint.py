"""POST /stage stages what a device sends, and answers everything else with a problem document."""

import json
import struct
import threading
from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks are an extra: pip install dreem_case[nets]")

from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.nights.night import Signal
from dreem_case.transfer import endpoint
from dreem_case.transfer.endpoint import MAX_EPOCHS, StageError, make_blueprint, read_npy
from dreem_case.transfer.network_stager import KINDS, SpectrogramStager, TinySleepNetStager, sign
from dreem_case.transfer.windows import make_windows
from tests.support.described import check_answer, check_description

NPY = "application/x-npy"
ASKED = "/stage?rate=100&derivation=Fpz-Cz"


@pytest.fixture(scope="module")
def client():
    app = Flask("stage")
    app.register_blueprint(make_blueprint())
    return app.test_client()


def windows(n=4, dtype="<f4", seed=0):
    return np.random.default_rng(seed).normal(0, 30, (n, 3000)).astype(dtype)


def npy(array, **settings):
    file = BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def header(text, body=b"", version=b"\x01\x00"):
    text = text.encode("latin1")
    size = struct.pack("<H", len(text)) if version == b"\x01\x00" else struct.pack("<I", len(text))
    return b"\x93NUMPY" + version + size + text + body


def refused(response, status):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    document = response.get_json()
    assert document["status"] == status and document["expected"] and document["found"]
    assert len(response.data) < 1000


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<f2", "<i2", "<i4"])
def test_windows_are_staged_one_answer_an_epoch(client, dtype):
    response = client.post(ASKED, data=npy(windows(6, dtype)), content_type=NPY)
    assert response.status_code == 200
    found = response.get_json()
    assert len(found["stages"]) == len(found["probabilities"]) == len(found["review"]) == len(found["usable"]) == 6
    assert set(found["stages"]) <= set(found["stage_names"]) and found["derivation"] == "Fpz-Cz"
    assert np.allclose(np.sum(found["probabilities"], axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("kind", [TinySleepNetStager, SpectrogramStager])
def test_a_larger_network_than_the_packages_is_served_where_the_settings_name_it(kind, client, monkeypatch, tmp_path):
    stager = kind()
    stager.network = KINDS[kind.kind].build().eval()
    sign(stager, [make_windows("a", "Fpz-Cz", Signal(windows(2).ravel(), 100, "µV", "eeg"), 2)])
    stager.save(tmp_path)
    monkeypatch.setenv("DREEM_CASE_TRANSFER_MODEL", str(tmp_path))
    endpoint._model.cache_clear()
    try:
        found = client.post(ASKED, data=npy(windows(6)), content_type=NPY).get_json()
    finally:
        endpoint._model.cache_clear()
    assert found["model_version"].startswith(kind.kind) and len(found["stages"]) == 6


def test_json_and_npy_get_the_same_answer(client):
    sent = windows(3).round(2)
    body = {"windows": sent.tolist(), "rate": 100, "derivation": "Fpz-Cz"}
    by_json = client.post("/stage", json=body).get_json()
    assert by_json == client.post(ASKED, data=npy(sent), content_type=NPY).get_json()


def test_a_table_column_by_column_gets_the_same_answer(client):
    sent = windows(4)
    answers = [client.post(ASKED, data=npy(one), content_type=NPY) for one in (sent, np.asfortranarray(sent))]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].get_json() == answers[1].get_json()


def test_an_epoch_of_nan_is_not_usable_and_the_others_are_staged(client):
    sent = windows(5)
    sent[2] = np.nan
    found = client.post(ASKED, data=npy(sent), content_type=NPY).get_json()
    assert found["usable"] == [True, True, False, True, True]
    assert np.isfinite(found["probabilities"]).all()
    rows = [[None] * 3000 if i == 2 else row for i, row in enumerate(sent.tolist())]  # as strict JSON says it
    assert client.post("/stage", json={"windows": rows, "rate": 100, "derivation": "Fpz-Cz"}).get_json() == found


@pytest.mark.parametrize("gain", [1e-6, 1e-3, 1e3])
def test_numbers_that_are_hardly_microvolts_are_noted(client, gain):
    found = client.post(ASKED, data=npy((windows(5) * gain).astype("<f4")), content_type=NPY).get_json()
    assert any("expected an EEG in µV" in note for note in found["notes"])
    assert client.post(ASKED, data=npy(windows(5)), content_type=NPY).get_json()["notes"] == []


def test_an_epoch_of_zeros_is_not_usable(client):
    sent = windows(5)
    sent[2] = 0
    found = client.post(ASKED, data=npy(sent), content_type=NPY).get_json()
    assert found["usable"] == [True, True, False, True, True]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "", "application/x-pickle", "image/png"]
)
def test_another_kind_of_body_is_415(client, content_type):
    refused(client.post(ASKED, data=npy(windows()), content_type=content_type), 415)


def test_too_much_is_413(client, monkeypatch):
    refused(client.post(ASKED, data=npy(np.zeros((MAX_EPOCHS + 1, 3000), "<i2")), content_type=NPY), 413)
    monkeypatch.setattr(endpoint, "MAX_BODY_BYTES", 10_000)
    refused(client.post(ASKED, data=npy(windows()), content_type=NPY), 413)
    refused(client.post("/stage", data=b"[" * 20_000, content_type="application/json"), 413)


def test_too_much_that_does_not_say_its_length_is_413(client, monkeypatch):
    monkeypatch.setattr(endpoint, "MAX_BODY_BYTES", 10_000)
    for body in b"[" * 10_001, b"[" * 50_000:
        pieces = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        sent = client.post("/stage", input_stream=BytesIO(body), content_type=NPY, environ_overrides=pieces)
        refused(sent, 413)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3000), }"
BODY = bytes(12_000)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x93NUMPY", b"x" * 100, b"\x80\x04\x95.", b"\x93NUMPY\x01\x00\xff\xff",
        pytest.param(npy(np.array([{"a": 1}], object), allow_pickle=True), id="pickled objects"),
        header(GOOD.replace("<f4", "|O"), BODY), header(GOOD.replace("<f4", "<c8"), BODY * 2),
        header(GOOD.replace("<f4", "<U4"), BODY), header(GOOD.replace("False", "True"), BODY),
        header(GOOD.replace("(1, 3000)", "(999999999, 3000)"), BODY),
        header(GOOD.replace("(1, 3000)", "(-1, 3000)"), BODY),
        header(GOOD.replace("(1, 3000)", f"({2**62}, 3000)"), BODY), header(GOOD.replace("(1, 3000)", "(3000,)"), BODY),
        header(GOOD.replace("(1, 3000)", "(1, 1, 3000)"), BODY), header(GOOD, BODY[:-1]), header(GOOD, BODY + b"x"),
        header(GOOD.replace("(1, 3000)", "(1, 2999)"), BODY[:-4]), header("(" * 3000, BODY),
        header("-" * 3000 + "1", BODY),
        header("__import__('os').system('true')", BODY), header(GOOD, BODY, b"\x03\x00"),
        header(GOOD + " " * 5000, BODY),
        header(GOOD.replace("(1, 3000)", "(0, 3000)")), header(GOOD, BODY),  # the last one is flat
        header(GOOD.replace("<f4", "[('a', '<f4')]"), BODY),
        npy(np.full((2, 3000), np.nan, "<f4")), npy(np.full((2, 3000), np.inf, "<f8")),
        npy(np.full((2, 3000), 1e30, "<f8")),
    ],
)  # fmt: skip
def test_an_npy_body_of_something_else_is_422(client, content):
    refused(client.post(ASKED, data=content, content_type=NPY), 422)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"3", b"[" * 9000, b'{"a":' * 5000, b"\xff\xfe", b'{"windows": 1}',
        b'{"windows": []}',
        b'{"windows": [[1, 2]]}', json.dumps({"windows": [[[0.0]] * 3000]}).encode(),
        json.dumps({"windows": [["1"] * 3000], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [[None] * 3000], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [[True] * 3000], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [[float("nan")] * 3000], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [[10**400] * 3000], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [[1.0, [2.0]] * 1500], "rate": 100, "derivation": "C3"}).encode(),
        json.dumps({"windows": [list(range(3000)), [1]], "rate": 100, "derivation": "C3"}).encode(),
    ],
)  # fmt: skip
def test_a_json_body_of_something_else_is_422(client, body):
    refused(client.post("/stage", data=body, content_type="application/json"), 422)


@pytest.mark.parametrize("rate", ["", "0", "-100", "99.9", "256", "nan", "inf", "1e999", "x", "100 Hz", "0x64"])
def test_another_rate_is_422(client, rate):
    refused(client.post(f"/stage?rate={rate}&derivation=C3", data=npy(windows()), content_type=NPY), 422)


@pytest.mark.parametrize("rate", [None, True, "x", [100], {"hz": 100}, 128, 10**400])
@pytest.mark.parametrize("derivation", ["C3", None, 3, "", "x" * 41, "a\nb", ["C3"]])
def test_rate_and_derivation_of_json_are_checked(client, rate, derivation):
    body = {"windows": windows(1).tolist(), "rate": rate, "derivation": derivation}
    refused(client.post("/stage", json=body), 422)


def test_more_at_once_is_told_to_come_back(client, monkeypatch):
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(endpoint, "_AT_ONCE", full)
    response = client.post(ASKED, data=npy(windows()), content_type=NPY)
    refused(response, 503)
    assert int(response.headers["Retry-After"]) > 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda text: npy(windows(1))[:80] + text))
def test_no_bytes_at_all_make_reading_fail_otherwise(content):
    try:
        assert read_npy(content).ndim == 2
    except StageError as error:
        assert error.status == 422


def test_the_endpoint_answers_as_its_openapi_document_says(client, monkeypatch):
    stage = check_description(client.application, set())["/stage"]["post"]
    assert set(stage["responses"]) == {"200", "413", "415", "422", "503"}
    for body, kind in ((npy(windows()), NPY), (b"", NPY), (b"{}", "text/plain")):
        check_answer(stage, client.post(ASKED, data=body, content_type=kind))
    monkeypatch.setattr(endpoint, "MAX_BODY_BYTES", 10)
    check_answer(stage, client.post(ASKED, data=npy(windows()), content_type=NPY))
