"""Lines of the children: to one rotated file each, and to the screen with a coloured prefix."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from deploy.appliance.terminal import Terminal

MAX_FILE_BYTES: Final = 10_000_000
KEPT_FILES: Final = 4
"""Old files kept beside the current one, for each child."""
_NAME_WIDTH: Final = 6
_JSON: Final = b"{"
"""How a line begins that a process wrote with DARKROOM_LOG_FORMAT=json."""
_COLOURS: Final = {"web": "cyan", "gpu": "magenta", "house": "blue", "imports": "yellow", "pg": "green"}


class RotatingFile:
    """`name.log`, moved to `name.log.1` and on when it is full."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES, kept: int = KEPT_FILES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file: BinaryIO = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Appends one line, rotating first if it would not fit."""
        if self._file.tell() + len(line) > self._max_bytes:
            self._rotate()
        self._file.write(line)

    def close(self) -> None:
        """Closes the current file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        self._file = self.path.open("ab", buffering=0)


class LogSink:
    """Where the supervisor sends every line. Not thread-safe: the supervisor's loop is its only writer."""

    def __init__(self, folder: Path, terminal: Terminal, *, on_screen: bool = True) -> None:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.folder = folder
        self.on_screen = on_screen
        """Off while the first-run progress owns the screen; the files get everything either way."""
        self._terminal = terminal
        self._files: dict[str, RotatingFile] = {}

    def path(self, name: str) -> Path:
        """The file of one child."""
        return self.folder / f"{name}.log"

    def write(self, name: str, line: bytes) -> None:
        """One line of `name`, without its line end."""
        if name not in self._files:
            self._files[name] = RotatingFile(self.path(name))
        # A line of JSON says itself when it was, and whatever reads the file takes all of it for JSON.
        stamp = b"" if line.startswith(_JSON) else _stamp()
        self._files[name].write(stamp + line + b"\n")
        if self.on_screen:
            self._show(name, line.decode(errors="replace"))

    def tail(self, name: str, lines: int = 12) -> list[str]:
        """The last lines of a child, without their time stamps."""
        try:
            text = self.path(name).read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [
            line if line.startswith(_JSON.decode()) else line.partition(" ")[2]
            for line in text.splitlines()[-lines:]
        ]

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()

    def _show(self, name: str, text: str) -> None:
        prefix = self._terminal.style(f"{name:<{_NAME_WIDTH}}|", _COLOURS.get(name, "dim"))
        try:
            self._terminal.line(f"{prefix} {text}")
        except BrokenPipeError:  # `quickstart | head`: the reader has gone, the appliance goes on
            self.on_screen = False
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # lives until the process ends
            self._terminal.stream = sys.stdout


def _stamp() -> bytes:
    """The present moment, with the blank behind it."""
    return (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z ").encode()
