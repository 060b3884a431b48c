"""Requests that no page sends: made from the API's own document, or written byte by byte."""

import socket
from collections import Counter

import hypothesis
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

schemathesis.checks.load_all_checks()
# A request in good form may ask for a record that cannot be staged: 422.
REFUSED_IN_FORM = schemathesis.checks.CHECKS.get_one("positive_data_acceptance")

RECORDS = [None, "night", "torn", "silent", "night.h5"]  # those of `store_of_three`, and one that is not there
HEADERS = ["If-None-Match", "If-Match", "If-Modified-Since", "Accept", "Range", "Cookie", "Origin", "Content-Type"]
HEADERS += ["X-Forwarded-For", "X-Forwarded-Prefix", "X-HTTP-Method-Override", "Authorization", "Content-Encoding"]
VALUES = [
    "*",
    'W/"',
    '"a", "b"',
    "bytes=0-1",
    "text/html",
    "q=9",
    "0",
    "-1",
    "../..",
    "gzip",
    "DELETE",
    "%00",
    "a" * 5000,
]


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


def send_by_document(app, n_requests: int, secret: str) -> Counter:  # how often each operation gave each status
    """Send requests that the app's document describes, or just does not; raise for an answer that is not described.

    No answer may be a server's error or contain `secret`.
    """
    schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
    operations = [result.ok() for result in schema.get_all_operations()]
    seen = Counter()

    def send(case):
        response = case.call_and_validate(headers={"Accept-Encoding": "identity"}, excluded_checks=[REFUSED_IN_FORM])
        if response.status_code >= 500 or secret in response.text or "Traceback" in response.text:
            raise AssertionError(f"{case.as_curl_command()}: {response.status_code} {response.text}")
        seen[case.operation.label, response.status_code] += 1

    bounds = hypothesis.settings(
        max_examples=-(-n_requests // len(operations)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for operation in operations:
        bounds(hypothesis.given(requests_of(operation))(send))()
    return seen


# Request targets as they go over the wire

TARGETS = [
    f"/{place}/{record}{end}".encode()
    for place in ("hypnogram", "night", "page", "openapi")
    for end in ("", "/details")
    for record in (
        *("..", ".", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "..%5c..%5csecret", "..%252fsecret"),
        *("%c0%ae%c0%ae%2fsecret", "%00", "night%00", "night%00.h5", "%0d%0aX-Injected:%20yes", "%0a", "%ff%fe"),
        *("%", "%zz", "%u0041", "%e2%80%ae1", "night%20", "%20night", "night.", "night;a=b", "night?", "night#x"),
        *("x.h5", "h5%2fnight", "./night", "-night", "{record}", "${jndi:x}", "<script>", "'%20or%201=1", "a" * 129),
        *("a" * 4000, "a" * 100_000, "/" * 500, "../" * 500, "%2e%2e%2f" * 200, "con", "__init__.py", "*"),
    )
]
TARGETS += [
    b"/hypnogram/n\xc3\xa4chte",
    b"/hypnogram/\xff\xfe",
    b"/hypnogram/a\0b",
    b"//records",
    b"/records//",
    b"\\records",
]
TARGETS += [b"http://elsewhere/records", b"*", b"records", b"", b"/../records", b"/%2e%2e/records", b"/records%2f"]
TARGETS += [
    b"/records?limit=" + value for value in (b"1e9", b"-1", b"0", b"9" * 5000, b"%00", b"1&limit=2", b"NaN", b"\xff")
]
TARGETS += [
    b"/records?after=" + value for value in (b"../..", b"%00", b"a" * 7000, b"a" * 50_000, b"%ff", b"{", b"a&after=b")
]
TARGETS += [b"/records?" + b"&".join(b"a%d=b" % i for i in range(900)), b"/records?" + b"&" * 5000, b"/records?%zz=%"]

HOST = b"Host: localhost\r\n"
MESSAGES = [
    b"GET /records HTTP/1.1\r\n\r\n",
    b"GET /records\r\n\r\n",
    b"GET /records HTTP/9.9\r\n" + HOST + b"\r\n",
    b"get /records HTTP/1.1\r\n" + HOST + b"\r\n",
    b"BREW /records HTTP/1.1\r\n" + HOST + b"\r\n",
    b"TRACE /records HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /records HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}",
    b"DELETE /hypnogram/night HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /hypnogram/night HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"GET /records HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET /records HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"".join(b"X%d: a\r\n" % i for i in range(500)) + b"\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"X a\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b" folded: a\r\n\r\n",
    b"GET /records HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    b"GET /records HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /records HTTP/1.1\r\nHost: ../..\r\n\r\n",
    b"GET  /records  HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\n\r\n\r\n",
    b"\0" * 1000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"a" * 100_000,
]
MESSAGES += [b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" for target in TARGETS]


def answer_to(port: int, message: bytes, time_limit_s: float = 10) -> bytes:  # all that came back, perhaps nothing
    """Send a message to a server on loopback, and nothing more; return what comes back until the server ends it."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=time_limit_s) as connection:
        try:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # the server does not want to hear more, and may have said why
        try:
            while part := connection.recv(2**16):
                parts.append(part)
        except ConnectionError:
            pass
    return b"".join(parts)
