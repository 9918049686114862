"""Clients that keep asking for images while things die, and remember every promise they were given.

Each request carries an Idempotency-Key and is repeated under it until somebody answers: a client that lost
its connection cannot know whether it was heard.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests.harness.appliance import Appliance
from tests.harness.http_client import GENERATE, UNREACHABLE, Answer, Client
from tests.harness.seed import CHECKPOINT

# Between two tries at a server that is away.
RETRY_S = 0.1


@dataclass(slots=True)
class Ledger:
    """What the clients were told. `ids` is the one to compare with the rows."""

    ids: dict[str, set[int]] = field(default_factory=dict)
    """Every id that was given for an idempotency key: two would be a doubled job."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Final answers other than 2xx."""
    unfinished: set[str] = field(default_factory=set)
    """Keys that nobody had answered when the load stopped."""
    retries: int = 0
    """Tries that ended in a broken connection or a 5xx."""

    @property
    def accepted(self) -> list[int]:
        """Ids of all accepted jobs."""
        return sorted({job_id for ids in self.ids.values() for job_id in ids})


class Load:
    """`with Load(appliance) as load:` runs its clients inside the block; `load.ledger` is whole after it."""

    def __init__(
        self,
        appliance: Appliance,
        *,
        clients: int = 6,
        steps: int = 10,
        pause_s: float = 0.1,
        prompt: Callable[[int], str] = lambda number: f"a lighthouse, number {number}",
    ) -> None:
        """Half of the requests wait for their image, half do not. `prompt` gets a running number."""
        self.ledger = Ledger()
        self._appliance = appliance
        self._steps = steps
        self._pause_s = pause_s
        self._prompt = prompt
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._count = 0
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"client-{number}", daemon=True)
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=90)

    def has_heard(self, count: int) -> bool:
        """Whether that many requests have been accepted so far."""
        return len(self.ledger.ids) >= count

    def _run(self, client_number: int) -> None:
        key = self._appliance.keys[client_number % len(self._appliance.keys)]
        with Client(self._appliance.port, key=key, timeout_s=40) as client:
            while not self._stop.is_set():
                with self._lock:
                    self._count += 1
                    number = self._count
                self._ask(client, number)
                self._stop.wait(self._pause_s)

    def _ask(self, client: Client, number: int) -> None:
        """One request until it is answered, or until the load stops."""
        name = uuid4().hex
        fields: dict[str, object] = {
            "prompt": self._prompt(number),
            "model_id": CHECKPOINT,
            "width": 64,
            "height": 64,
            "num_inference_steps": self._steps,
            "instant_response": number % 2 == 0,
        }
        while True:
            answer = self._try(client, name, fields)
            if answer is not None and answer.status < 500:
                self._note(name, answer)
                return
            with self._lock:
                self.ledger.retries += 1
            if self._stop.wait(RETRY_S):
                with self._lock:
                    self.ledger.unfinished.add(name)
                return

    def _try(self, client: Client, name: str, fields: dict[str, object]) -> Answer | None:
        try:
            return client.post(GENERATE, fields, Idempotency_Key=name)
        except UNREACHABLE:
            return None

    def _note(self, name: str, answer: Answer) -> None:
        with self._lock:
            if answer.status // 100 == 2:
                self.ledger.ids.setdefault(name, set()).add(int(answer.json()["id"]))
            else:
                self.ledger.refusals[f"{answer.status} {answer.body[:120]!r}"] += 1
