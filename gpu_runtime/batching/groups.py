"""The rows of one request that are in the same pass, and so have one key and one price."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.fair_shares import Share
from gpu_runtime.batching.turns import Device, ExtraNetwork
from gpu_runtime.messages import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """What all passes of a request have in common."""

    share: Share
    """Whose virtual time its steps are charged to."""
    weight: float
    """Relative share of the account's plan, above 0."""
    deadline: float
    """By the clock of `Device.now`; infinite when there is none."""
    arrival: int
    """Number of the request in the order of their coming."""


@dataclass(slots=True, kw_only=True)
class Group:
    """Rows that still have steps to do in one pass of one request."""

    request_id: str
    stage: int
    customer: Customer
    key: BatchKey
    row_cost: float
    """Of one step of one row, in TFLOP."""
    forward_rows: int
    """Denoiser rows that one row brings to a call."""
    networks: frozenset[ExtraNetwork] = frozenset()
    """What its steps need on the device beside the checkpoint."""
    last_turn: int
    """Turn of its latest row, or of its coming: decides who waited longest."""
    steps_left: dict[int, int] = field(default_factory=dict)
    """The rows, by image index, each with its calls to come; 0 where the caller did not say."""

    @property
    def share(self) -> Share:
        """Whose virtual time its steps are charged to."""
        return self.customer.share

    @property
    def priority(self) -> Priority:
        """Its class."""
        return self.customer.share.priority

    @property
    def rows(self) -> list[int]:
        """Image indexes in the order in which they are served."""
        return list(self.steps_left)

    @property
    def charge(self) -> float:
        """What one step of one row adds to the account's virtual time."""
        return self.row_cost / self.customer.weight

    def seconds_left(self, device: Device, max_rows: int) -> float:
        """Until its rows are through this pass if the device did nothing else."""
        fitting = min(max_rows, max(1, device.most_rows(self.key) // self.forward_rows))
        together = min(len(self.steps_left), fitting)
        calls = math.ceil(len(self.steps_left) / together) * max(self.steps_left.values())
        return calls * device.call_cost(self.key, together * self.forward_rows)
