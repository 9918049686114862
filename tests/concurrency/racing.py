"""Many rounds of one race between the same threads, each on a database connection of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import Any

from django.db import connection, transaction

from tests.apps.generation.studio import PATIENCE_S

Outcome = type[BaseException] | None
"""What an act ended in; None when it was done."""


class Race:
    """Runs acts at once, round after round, each in a transaction of its own."""

    def __init__(self, racers: int) -> None:
        self.racers = racers

    def run(
        self,
        rounds: int,
        acts_of: Callable[[int], Sequence[Callable[[], Any]]],
        *,
        refusals: tuple[type[Exception], ...],
    ) -> list[Counter[Outcome]]:
        """What came of each round; `acts_of(round)` gives every racer its act of that round.

        Anything but `refusals` that an act raises is raised here, too.
        """
        outcomes: list[Counter[Outcome]] = [Counter() for _ in range(rounds)]
        plans = [acts_of(number) for number in range(rounds)]
        faults: list[BaseException] = []
        gate = Barrier(self.racers)

        def racer(position: int) -> None:
            try:
                connection.ensure_connection()
                for number in range(rounds):
                    gate.wait(PATIENCE_S)
                    outcomes[number][self._outcome(plans[number][position], refusals)] += 1
            except BaseException as fault:  # noqa: BLE001  # a thread's failure must reach the test
                faults.append(fault)
                gate.abort()
            finally:
                connection.close()

        threads = [Thread(target=racer, args=(position,), daemon=True) for position in range(self.racers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        return outcomes

    @staticmethod
    def _outcome(act: Callable[[], Any], refusals: tuple[type[Exception], ...]) -> Outcome:
        try:
            with transaction.atomic():
                act()
        except refusals as refusal:
            return type(refusal)
        return None
