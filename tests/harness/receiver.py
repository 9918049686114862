"""A webhook receiver on loopback: real HTTP, misbehaving on demand, that remembers every request.

    with Receiver() as receiver:
        receiver.script = [Fate(status=500), Fate(resets=True)]     # then 200 for all that follow
        ...
        receiver.requests                                           # what came, in order

`receiver.allowed` belongs into DARKROOM_FETCH_ALLOW. `draw` decides each request's fate in place of the
script; it is called under a lock.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"thank you"
    hangs_s: float = 0.0
    """Say nothing for so long, or until the receiver lets go; then close the connection."""
    resets: bool = False
    """End the connection with a TCP reset, after the request has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    fate: Fate

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def is_taken(self) -> bool:
        """Whether the sender was told that it has arrived."""
        return 200 <= self.fate.status < 300 and not self.fate.resets and not self.fate.hangs_s


Draw = Callable[[str, Mapping[str, str], bytes], Fate]
"""From path, headers by names in lower case, and body."""


class Receiver:
    """Serves inside the block."""

    def __init__(self, draw: Draw | None = None) -> None:
        self.script: list[Fate] = []
        """Fates of the next requests, whatever their path."""
        self.by_path: dict[str, Fate] = {}
        """Fates of all requests of a path, where the script has ended."""
        self.requests: list[Got] = []
        self.broken_off = 0
        """Requests whose sender died before it had sent all that it had announced."""
        self.most_at_once: dict[str, int] = {}
        """Per path."""
        self._draw = draw
        self._lock = threading.Lock()
        self._now: dict[str, int] = {}
        self._let_go = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def allowed(self) -> str:
        return f"127.0.0.1/32:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def taken(self) -> list[str]:
        """Ids whose sender was told so, in order."""
        with self._lock:
            return [got.event_id for got in self.requests if got.is_taken]

    def meet(self, path: str, headers: Mapping[str, str], body: bytes) -> Fate:
        """Remember a request and decide what becomes of it."""
        with self._lock:
            if self._draw is not None:
                fate = self._draw(path, headers, body)
            elif self.script:
                fate = self.script.pop(0)
            else:
                fate = self.by_path.get(path.split("?")[0], Fate())
            self.requests.append(Got(path=path, headers=headers, body=body, fate=fate))
            self._now[path] = self._now.get(path, 0) + 1
            self.most_at_once[path] = max(self.most_at_once.get(path, 0), self._now[path])
        return fate

    def note_broken_off(self) -> None:
        """A request ended too early."""
        with self._lock:
            self.broken_off += 1

    def leave(self, path: str) -> None:
        """The request is answered."""
        with self._lock:
            self._now[path] -= 1

    def hang(self, seconds: float) -> None:
        """Wait, but not beyond `let_go`, nor the receiver's own end."""
        self._let_go.wait(seconds)

    def let_go(self) -> None:
        """Whatever hangs is closed now, and whatever would hang from now on."""
        self._let_go.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that has gone is none of ours."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                receiver.note_broken_off()
                self.close_connection = True
                return
            names = {name.lower(): value for name, value in self.headers.items()}
            fate = receiver.meet(self.path, names, body)
            try:
                self._answer(fate)
            finally:
                receiver.leave(self.path)

        def _answer(self, fate: Fate) -> None:
            if fate.hangs_s:
                receiver.hang(fate.hangs_s)
            elif fate.resets:
                # Lingering for no time at all makes close() send RST.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.send_response(fate.status)
                for name, value in fate.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(fate.body)))
                self.end_headers()
                self.wfile.write(fate.body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Not to the terminal."""

    return Handler
