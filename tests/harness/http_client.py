"""The smallest keep-alive client: a benchmark measures the server, not a client library."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

GENERATE = "/api/v7/images/text-to-image"
FETCH = "/api/v6/images/fetch"

# Less than gunicorn keeps an idle connection: one that it has closed must not be used again.
IDLE_LIMIT_S = 5.0

# What a request to a server that is dying or starting may raise.
UNREACHABLE = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status and body of one response."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection on loopback, opened again after a failure. For one thread."""

    def __init__(self, port: int, *, key: str = "", timeout_s: float = 60.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._headers = {"Content-Type": "application/json", "X-API-Key": key}
        self._used_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, fields: dict[str, object], **headers: str) -> Answer:
        """Headers are given with underscores. Raises one of UNREACHABLE."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, json.dumps(fields).encode(), named)

    def get(self, path: str) -> Answer:
        """Raises one of UNREACHABLE."""
        return self.send("GET", path, None, {})

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """Raises one of UNREACHABLE; the next call then connects anew."""
        if time.monotonic() - self._used_at > IDLE_LIMIT_S:
            self._connection.close()
        try:
            self._connection.request(method, path, body, {**self._headers, **headers})
            response = self._connection.getresponse()
            answer = Answer(status=response.status, body=response.read())
        except UNREACHABLE:
            self._connection.close()
            raise
        self._used_at = time.monotonic()
        return answer
