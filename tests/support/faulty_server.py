"""A server that stands between a client and an S3 server, and what it can do to an answer."""

import http.client
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing on standard error, which a test may read, of a client that has had enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Between:
    """A server between a store and the S3 server, which does to an answer what it is told to."""

    def __init__(self, behind: str):
        self.fault: Callable | None = None  # called with the handler, the answer and its body; None: pass it on
        self.only = ("GET", ".h5")  # the requests that the fault befalls
        self.requests: list[tuple[str, str, dict]] = []
        outer, host = self, behind.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.command, self.path, dict(self.headers)))
                connection = http.client.HTTPConnection(host, timeout=10)
                try:
                    connection.request(self.command, self.path, headers=dict(self.headers))
                    answer = connection.getresponse()
                    body = answer.read()
                finally:
                    connection.close()
                method, part = outer.only
                struck = outer.fault and self.command == method and part in self.path
                (outer.fault if struck else pass_on)(self, answer, body)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def head(handler, answer, length=None, status=None):
    handler.send_response(status or answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
            handler.send_header(name, value)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def pass_on(handler, answer, body):
    head(handler, answer, answer.getheader("Content-Length", len(body)))
    handler.wfile.write(body)


def hang_up(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut(handler, answer, body):
    """Close in the middle of the body."""
    head(handler, answer, len(body))
    handler.wfile.write(body[: len(body) // 2])
    hang_up(handler)


def stop(handler, answer, body):
    """Send half, then nothing, and keep the line."""
    if handler.command == "GET":
        head(handler, answer, len(body))
        handler.wfile.write(body[: len(body) // 2])
    handler.rfile.read(1)  # until the other side has had enough
    hang_up(handler)


def drip(handler, answer, body):
    """Send a byte now and then, each well within the time-out."""
    head(handler, answer, len(body))
    try:
        for byte in body:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)
    except OSError:
        hang_up(handler)


def reset(handler, answer, body):
    """Close before a word is said."""
    hang_up(handler)


def say(status, body=b"<Error><Code>InternalError</Code><Message>bucket nights</Message></Error>"):
    def fault(handler, answer, _):
        head(handler, answer, len(body), status)
        handler.wfile.write(body if handler.command != "HEAD" else b"")

    return fault


def welcome(handler, answer, body):
    """Be another web server."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", "20")
    handler.end_headers()
    handler.wfile.write(b"<html>welcome</html>" if handler.command != "HEAD" else b"")


def without_length(handler, answer, body):
    """An answer whose end is where the connection ends."""
    head(handler, answer)
    handler.wfile.write(body[: len(body) // 2])
    hang_up(handler)


def too_long(handler, answer, body):
    """Another body than the one that was announced when the object was asked for."""
    head(handler, answer, len(body) + 100)
    handler.wfile.write(body + b"x" * 100)
