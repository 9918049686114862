"""A small mail server in a thread: takes mail by SMTP, says no when told to, keeps what it took."""

from __future__ import annotations

import email
import email.message
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SmtpServer(socketserver.ThreadingTCPServer):
    """Speaks as much of RFC 5321 as clients need."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.taken: list[email.message.EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refusal: str | None = None
        """What it answers to RCPT while it is not None."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}?tls=none"


class _Session(socketserver.StreamRequestHandler):
    server: SmtpServer

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self._say("220 tests")
        recipients: list[str] = []
        while line := self.rfile.readline():
            verb = line[:4].upper().decode("ascii", "replace").strip()
            if verb == "DATA":
                self._say("354 go on")
                self._take(recipients)
                recipients = []
            elif verb == "RCPT" and self.server.refusal:
                self._say(self.server.refusal)
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                if verb == "RCPT":
                    recipients.append(line.decode().partition("<")[2].partition(">")[0])
                self._say("250 fine")

    def _take(self, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.server.taken.append(message)
        self.server.recipients.append(recipients)
        self._say("250 taken")


@contextmanager
def running() -> Iterator[SmtpServer]:
    """The server, listening until the block ends."""
    with SmtpServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
