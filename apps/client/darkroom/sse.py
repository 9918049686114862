"""Server-sent events from bytes as they arrive (the parsing part of the HTML standard, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event."""

    name: str
    data: str


class EventParser:
    """Feed it bytes, cut anywhere; it gives the events that are whole."""

    def __init__(self) -> None:
        self.last_id = ""
        """For `Last-Event-ID`; stays when another stream is begun."""
        self.retry_ms: int | None = None
        """How long the server wants to be left alone before the next connection."""
        self._rest = b""
        self._name = ""
        self._id = ""
        self._data: list[str] = []

    def begin(self) -> None:
        """Another connection: what was cut off is forgotten."""
        self._rest, self._name, self._id, self._data = b"", "", self.last_id, []

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Events that `chunk` completes."""
        # A carriage return at the end may be half of a line's end.
        held, self._rest = self._rest + chunk, b""
        lines = held.replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            event = self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) < 8:
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        # Only now: of an event that is cut off nothing counts.
        self.last_id = self._id
        return ServerEvent(name, "\n".join(data)) if data else None
