"""What the command says: results on stdout, everything about them on stderr.

With `--json` stdout is one JSON document and stderr says nothing but errors, those as JSON as well. Texts of
the server and of other people are shown without their control characters: a prompt must not move the cursor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from darkroom.cli.exits import exit_code
from darkroom.errors import DarkroomError, InvalidRequest, JobFailed, Refused

Cell = str | Text
LONGEST_COLUMN = 32
"""Of a column that is not the last; names longer than this fold."""
SHORTEST_COLUMN = 12
"""Of the last one, on however narrow a terminal."""
PADDING = 2
"""Between columns."""


class Output:
    """Where results and words go."""

    def __init__(
        self,
        *,
        is_json: bool = False,
        is_quiet: bool = False,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self.results = Console(file=stdout or sys.stdout, highlight=False, soft_wrap=True)
        self.words = Console(file=stderr or sys.stderr, highlight=False)

    @property
    def is_live(self) -> bool:
        """Whether somebody watches who can be shown something that moves."""
        return self.words.is_terminal and not (self.is_json or self.is_quiet)

    @property
    def is_for_people(self) -> bool:
        """Whether results go to a terminal, not into a pipe or a file."""
        return self.results.is_terminal and not self.is_json

    def result(self, text: str) -> None:
        """A line of the result."""
        self.results.print(Text(plain(text)))

    def note(self, text: str, style: str = "") -> None:
        """A line about what goes on."""
        if not (self.is_json or self.is_quiet):
            self.words.print(Text(plain(text), style=style), soft_wrap=True)

    def document(self, value: object) -> None:
        """The one JSON document of this run."""
        self.results.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: frozenset[str] = frozenset()
    ) -> None:
        """Columns as wide as they need to be; in pipes with tabs, so that `cut` finds them."""
        if not self.is_for_people:
            for row in rows:
                self.results.file.write("\t".join(plain(str(cell)) for cell in row) + "\n")
            return
        cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, PADDING, 0, 0))
        left = self.results.width
        for index, column in enumerate(columns):
            width = min(max([len(column), *(row[index].cell_len for row in cells)]), LONGEST_COLUMN)
            if index == len(columns) - 1:
                # The last one takes what is left, and folds.
                width = max(left, SHORTEST_COLUMN)
            left -= width + PADDING
            justify: Literal["left", "right"] = "right" if column in numbers else "left"
            table.add_column(column, justify=justify, overflow="fold", width=width)
        for row in cells:
            table.add_row(*row)
        self.results.print(table, soft_wrap=False)

    def facts(self, rows: Mapping[str, Cell]) -> None:
        """Names and values below each other."""
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            text = value if isinstance(value, Text) else Text(plain(value))
            self.results.print(Text(f"{name:<{width}}  ", style="dim") + text)

    def error(self, error: DarkroomError) -> None:
        """What went wrong, in words or as JSON."""
        if self.is_json:
            self.words.file.write(json.dumps({"error": describe(error)}, ensure_ascii=False) + "\n")
            return
        self.words.print(Text("darkroom: ", style="bold red") + Text(plain(str(error))), soft_wrap=True)


def describe(error: DarkroomError) -> dict[str, Any]:  # Any: JSON
    """An error for scripts."""
    told: dict[str, Any] = {
        "type": type(error).__name__,
        "exit_code": exit_code(error),
        "message": str(error),
    }
    if isinstance(error, Refused):
        told |= {"status": error.status, "code": error.code, "message": error.detail}
        told |= {"request_id": error.request_id} if error.request_id else {}
    if isinstance(error, InvalidRequest) and error.field:
        told["field"] = error.field
    if isinstance(error, JobFailed):
        told |= {"code": error.code, "job": error.job.id}
    return told


def plain(text: str) -> str:
    """Without what moves cursors or ends lines."""
    return "".join(character if character.isprintable() else " " for character in text)


def age(moment: str | None) -> str:
    """How long ago a time of the server was: `3 min`."""
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    seconds = (datetime.now(UTC) - then).total_seconds()
    return duration(seconds) if seconds >= 60 else f"{max(0, int(seconds))} s"


def duration(seconds: float) -> str:
    """One unit is enough: `2.1 s`, `3 min`, `5 h`, `12 d`."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    for unit, length, limit in (("min", 60, 3600), ("h", 3600, 86400)):
        if seconds < limit:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds // 86400)} d"


def size(count: float) -> str:
    """Bytes for people: `2.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


STATES = {
    "succeeded": "green",
    "active": "green",
    "running": "cyan",
    "queued": "yellow",
    "failed": "red",
    "quarantined": "red",
    "canceled": "dim",
    "expired": "dim",
    "revoked": "dim",
}


def state(word: str) -> Text:
    """A state in its colour."""
    return Text(plain(word), style=STATES.get(word, ""))
