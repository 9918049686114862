"""An HTTP server on loopback that answers as it is told, cuts included, and remembers requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    """Close the connection without an answer, once the request has been read."""
    promised: int | None = None
    """Content-Length, where it is not true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


CUT = Answer(is_cut=True)


def told(value: object, status: int = 200, **headers: str) -> Answer:
    """JSON."""
    return Answer(status=status, body=json.dumps(value).encode(), headers=headers)


def refused(status: int, code: str, detail: str = "no", **more: Any) -> Answer:
    """problem+json."""
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail, **more}
    return told(body, status)


class ScriptedServer:
    """`answers` are given in order."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.got: list[Got] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def paths(self) -> list[str]:
        """Methods and paths, queries included."""
        return [f"{got.method} {got.path}" for got in self.got]


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            names = {name.lower(): value for name, value in self.headers.items()}
            server.got.append(Got(method=self.command, path=self.path, headers=names, body=body))
            answer = server.answers.pop(0)
            self.close_connection = True
            if answer.is_cut:
                return
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", "Connection": "close", **answer.headers}
            length = len(answer.body) if answer.promised is None else answer.promised
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def do_GET(self) -> None:
            self._any()

        def do_POST(self) -> None:
            self._any()

        def do_PUT(self) -> None:
            self._any()

        def do_DELETE(self) -> None:
            self._any()

        def log_message(self, format: str, *args: object) -> None:
            """Not to the terminal."""

    return Handler
