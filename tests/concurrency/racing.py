"""Many rounds of one race between the same threads, each on a database connection of its own.

All acts of a round begin at one gate and the round is over at another: no round runs into the next, and
nobody has won before the others came. DARKROOM_DRILL_COUNT sets the rounds of every race.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any, Self

from django.db import connection, transaction

from tests.apps.generation.studio import PATIENCE_S

Outcome = type[BaseException] | None
"""What an act ended in; None when it was done."""
Act = Callable[[], Any]
"""Any: whatever it returns."""
Refusals = tuple[type[Exception], ...]
DRILL_S = 3_000
"""A thousand rounds may take; a race that hangs is noticed by `PATIENCE_S` before."""


def done_or_refused(act: Act, refusals: Refusals) -> Outcome:
    """Of an act that opens its own transaction."""
    try:
        act()
    except refusals as refusal:
        return type(refusal)
    return None


class Track:
    """Racers who wait for the next round; between rounds the test looks at what came of the last."""

    def __init__(self, racers: int, *, outcome: Callable[[Act, Refusals], Any] = done_or_refused) -> None:
        self.racers = racers
        self._outcome = outcome
        self._start, self._finish = Barrier(racers + 1), Barrier(racers + 1)
        self._acts: Sequence[Act] = ()
        self._refusals: Refusals = ()
        self._outcomes: list[Any] = []
        self._faults: list[BaseException] = []

    @contextmanager
    def open(self) -> Iterator[Self]:
        """The racers' threads run inside."""
        threads = [Thread(target=self._racer, args=(number,), daemon=True) for number in range(self.racers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._start.abort()
            for thread in threads:
                thread.join(PATIENCE_S)

    def race(self, acts: Sequence[Act], *refusals: type[Exception]) -> Counter[Any]:
        """One round with an act for each racer, or for some; how often each outcome came.

        Anything but `refusals` that an act raises is raised here, too.
        """
        if len(acts) > self.racers:
            raise ValueError(f"{len(acts)} acts for {self.racers} racers")
        self._acts, self._refusals, self._outcomes = acts, refusals, []
        try:
            self._start.wait(PATIENCE_S)
            self._finish.wait(PATIENCE_S)
        finally:
            # Also the reason why nobody came to the gate.
            if self._faults:
                raise self._faults[0]
        return Counter(self._outcomes)

    def _racer(self, number: int) -> None:
        try:
            connection.ensure_connection()
            while True:
                self._start.wait()
                if number < len(self._acts):
                    self._run(self._acts[number])
                self._finish.wait(PATIENCE_S)
        except BrokenBarrierError:
            """The track is closed."""
        except BaseException as fault:  # noqa: BLE001  # without a connection there is no race
            self._faults.append(fault)
            self._start.abort()
        finally:
            connection.close()

    def _run(self, act: Act) -> None:
        try:
            self._outcomes.append(self._outcome(act, self._refusals))
        except BaseException as fault:  # noqa: BLE001  # a thread's failure must reach the test
            self._faults.append(fault)


class Race:
    """Runs acts at once, round after round, each in a transaction of its own."""

    def __init__(self, racers: int) -> None:
        self.racers = racers

    def run(
        self,
        rounds: int,
        acts_of: Callable[[int], Sequence[Act]],
        *,
        refusals: Refusals,
    ) -> list[Counter[Any]]:
        """What came of each round; `acts_of(round)` gives every racer its act of that round.

        Anything but `refusals` that an act raises is raised here, too.
        """
        plans = [acts_of(number) for number in range(rounds)]
        with Track(self.racers, outcome=self._outcome).open() as track:
            return [track.race(acts, *refusals) for acts in plans]

    @staticmethod
    def _outcome(act: Act, refusals: Refusals) -> Any:
        def in_transaction() -> None:
            with transaction.atomic():
                act()

        return done_or_refused(in_transaction, refusals)
