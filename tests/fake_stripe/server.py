"""The HTTP server: API under /v1, pages for browsers, controls under /_fake."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fake_stripe.account import assemble
from tests.fake_stripe.api import Request, answer
from tests.fake_stripe.control import control
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.faults import ConnectionCut
from tests.fake_stripe.pages import Page, show, submit
from tests.fake_stripe.params import parse


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is written in parts; without this each waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    fake: Fake

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `fake.log` has the requests."""

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            if parts.path.startswith(("/v1/", "/v2/")):
                self._serve_api(method, parts.path, body if method == "POST" else parts.query)
            elif parts.path.startswith("/_fake/"):
                name = parts.path.removeprefix("/_fake/").strip("/")
                self._send_json(200, control(self.fake, name, parse(body or parts.query)), {})
            else:
                self._serve_page(method, parts.path, body)
        except ConnectionCut:
            self.close_connection = True
        except Refusal as refusal:
            self._send_json(refusal.status, refusal.body(), {})

    def _serve_api(self, method: str, path: str, encoded: str) -> None:
        headers = {name.title(): value for name, value in self.headers.items()}
        given, extra = answer(self.fake, Request(method=method, path=path, encoded=encoded, headers=headers))
        self._send_json(given.status, given.body, extra)

    def _serve_page(self, method: str, path: str, body: str) -> None:
        with self.fake.lock:
            self.fake.request_id = self.fake.request_key = None
            if method == "POST":
                page = submit(self.fake, path, dict(parse_qsl(body, keep_blank_values=True)))
            else:
                page = show(self.fake, path)
        self._send_page(page)

    def _send_page(self, page: Page) -> None:
        headers = {"Location": page.location} if page.location else {}
        self._send(page.status, page.body.encode(), page.content_type, headers)

    def _send_json(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", self.fake.request_id or "req_none")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the game; anything else is a bug of the fake and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


def serve(fake: Fake, *, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """A server that is bound, not yet running; `fake.url` says where."""
    handler = type("BoundHandler", (Handler,), {"fake": fake})
    server = _Server((host, port), handler)
    fake.url = f"http://{host}:{server.server_address[1]}"
    return server


@contextmanager
def fake_stripe(*, port: int = 0, **options: Any) -> Iterator[Fake]:
    """A running fake on a free port of this machine; `options` are `assemble`'s."""
    fake = assemble(**options)
    with _running(serve(fake, port=port)):
        yield fake


@contextmanager
def fake_stripes() -> Iterator[Callable[[], Fake]]:
    """Fakes one after the other at one address: each call gives a new one, and ends the one before."""
    first = assemble()
    server = serve(first)

    def take_over() -> Fake:
        fake = assemble()
        fake.url = first.url
        server.RequestHandlerClass.fake = fake  # type: ignore[attr-defined]  # the class that `serve` made
        return fake

    with _running(server):
        yield take_over


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
