"""What a person sees while the appliance starts: headings, steps with their duration, failures.

On a terminal a running step is one live line with a clock; elsewhere (a pipe, CI) it is plain lines, so
that nothing is silent for long either way. Standard library only. Knows nothing about what the steps do.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

QUIET_S: Final = 2.0
"""A step that lasts longer shows that it is going on."""
_TITLE_WIDTH: Final = 52
_REMINDER_S: Final = 10.0
"""Without a terminal, a long step prints a line this often."""

_CODES: Final = {
    "bold": "1", "dim": "2",
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip


class Step:
    """A running step; `detail` is what it is busy with and may be set from any thread."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started_s


class Terminal:
    """Writes to one stream; colour and live lines only if that is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.is_live = self.stream.isatty()
        self._is_utf8 = (self.stream.encoding or "").lower().replace("-", "") == "utf8"
        self._tick, self._cross, self._spinner = (
            ("✓", "✗", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") if self._is_utf8 else ("ok", "!!", "|/-\\")
        )
        self._rule = "─" if self._is_utf8 else "-"

    def style(self, text: str, *styles: str) -> str:
        """`text` in the named styles on a terminal, unchanged elsewhere."""
        if not self.is_live or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in styles)}m{text}\x1b[0m"

    def shows_true_colour(self, colorterm: str | None) -> bool:
        """Whether 24-bit colours and block characters can be drawn; `colorterm` is the variable COLORTERM."""
        return self.is_live and self._is_utf8 and colorterm in ("truecolor", "24bit")

    def line(self, text: str = "") -> None:
        """One whole line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def heading(self, text: str, note: str = "") -> None:
        """A title above a group of lines."""
        self.line(f"\n{self.style(text, 'bold')}" + (f"  {self.style(note, 'dim')}" if note else ""))

    def rule(self) -> None:
        """A line across, at most as wide as the terminal."""
        width = min(shutil.get_terminal_size((80, 24)).columns, 80)
        self.line(self.style(self._rule * width, "dim"))

    def done(self, title: str, note: str = "") -> None:
        """A step that succeeded."""
        self.line(
            f"  {self.style(self._tick, 'green')} {title:<{_TITLE_WIDTH}} {self.style(note, 'dim')}".rstrip()
        )

    def failed(self, text: str) -> None:
        """A step or check that failed, and what to do."""
        self.line(f"  {self.style(self._cross, 'red')} {text}")

    def warn(self, text: str) -> None:
        """Something the reader must not miss and that is not a failure."""
        self.line(f"  {self.style('!', 'yellow', 'bold')} {self.style(text, 'yellow')}")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Shows `title` while the block runs, then how long it took; a raised exception marks it failed."""
        step = Step(title)
        finished = threading.Event()
        ticker = threading.Thread(
            target=self._tick_until, args=(step, finished), name="progress", daemon=True
        )
        ticker.start()
        try:
            yield step
        except BaseException:
            self._end_ticker(ticker, finished)
            self.failed(f"{step.title} ({step.elapsed_s:.1f} s)")
            raise
        self._end_ticker(ticker, finished)
        self.done(step.title, f"{step.elapsed_s:6.1f} s")

    def _end_ticker(self, ticker: threading.Thread, finished: threading.Event) -> None:
        finished.set()
        ticker.join()
        if self.is_live:
            self.stream.write("\r\x1b[2K")

    def _tick_until(self, step: Step, finished: threading.Event) -> None:
        if self.is_live:
            frame = 0
            while not finished.wait(0.1):
                self._draw(step, self._spinner[frame % len(self._spinner)])
                frame += 1
            return
        wait_s = QUIET_S
        while not finished.wait(wait_s):
            self.line(
                f"  ... {step.title} ({step.elapsed_s:.0f} s){': ' + step.detail if step.detail else ''}"
            )
            wait_s = _REMINDER_S

    def _draw(self, step: Step, frame: str) -> None:
        width = shutil.get_terminal_size((80, 24)).columns - 1
        text = f"  {frame} {step.title} {step.elapsed_s:5.1f} s  {step.detail}"[:width]
        self.stream.write(f"\r\x1b[2K{self.style(text, 'cyan')}")
        self.stream.flush()
