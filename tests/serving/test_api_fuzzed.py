"""The API under requests made from its own document: described there, or just not, with odd headers."""

import os
import shutil
from collections import Counter

import h5py
import hypothesis
import numpy as np
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

from dreem_case.api import make_app
from dreem_case.core.cache import ResultCache
from dreem_case.nights.store import open_store
from dreem_case.serving.answers import Answers
from dreem_case.serving.metrics import Metrics
from dreem_case.serving.scoring_pool import ScoringPool

schemathesis.checks.load_all_checks()
# A request in good form may ask for a record that cannot be staged: 422.
REFUSED_IN_FORM = schemathesis.checks.CHECKS.get_one("positive_data_acceptance")

N_REQUESTS = 1000 * int(os.environ.get("FUZZ_TIMES", "1"))
RECORDS = [None, "night", "torn", "silent", "night.h5"]  # those of the store, and one that is not there
HEADERS = ["If-None-Match", "If-Match", "If-Modified-Since", "Accept", "Range", "Cookie", "Origin", "Content-Type"]
HEADERS += ["X-Forwarded-For", "X-Forwarded-Prefix", "X-HTTP-Method-Override", "Authorization", "Content-Encoding"]
VALUES = ["*", 'W/"', '"a", "b"', "bytes=0-1", "text/html", "q=9", "0", "-1", "../..", "gzip", "%00", "a" * 5000]


@pytest.fixture
def folder(short_nights, tmp_path):
    """A store with a night, a torn file and one without signal; beside it what nobody may get."""
    folder = tmp_path / "store" / "nights"
    folder.mkdir(parents=True)
    shutil.copy(min((short_nights / "h5").glob("*.h5")), folder / "night.h5")
    (folder / "torn.h5").write_bytes(b"no HDF5")
    with h5py.File(folder / "silent.h5", "w") as file:
        file["eeg1"] = np.zeros(15_000, np.float32)
    shutil.copy(folder / "night.h5", folder.parent / "secret.h5")
    return folder


def requests_of(operation):
    """Return a strategy for requests to an operation: documented or not, with odd headers, for records that exist."""
    modes = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    values = st.one_of(st.sampled_from(VALUES), st.text(st.characters(min_codepoint=32, max_codepoint=126)))

    def change(case, record, headers):
        if record and "record" in case.path_parameters:
            case.path_parameters["record"] = record
        case.headers.update(headers)
        return case

    headers = st.dictionaries(st.sampled_from(HEADERS), values.map(str.strip), max_size=3)
    return st.builds(change, st.one_of(modes), st.sampled_from(RECORDS), headers)


def test_every_answer_to_a_request_made_from_the_document_is_documented(folder, short_model, tmp_path):
    secret, seen = str(folder.parent), Counter()

    def send(case):
        response = case.call_and_validate(headers={"Accept-Encoding": "identity"}, excluded_checks=[REFUSED_IN_FORM])
        if response.status_code >= 500 or secret in response.text or "Traceback" in response.text:
            raise AssertionError(f"{case.as_curl_command()}: {response.status_code} {response.text}")
        seen[case.operation.label, response.status_code] += 1

    with ScoringPool(short_model) as pool:
        app = make_app(Answers(open_store(folder), ResultCache(tmp_path / "cache", 10**8), pool), Metrics())
        schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
        operations = [result.ok() for result in schema.get_all_operations()]
        bounds = hypothesis.settings(
            max_examples=-(-N_REQUESTS // len(operations)), deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        for operation in operations:
            bounds(hypothesis.given(requests_of(operation))(send))()
    assert seen.total() >= N_REQUESTS
    for path in "/hypnogram/{record}", "/hypnogram/{record}/details":
        assert all(seen[f"GET {path}", status] for status in (200, 404, 422)), seen
