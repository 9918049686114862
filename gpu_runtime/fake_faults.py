"""Faults of the stand-in engine, asked for in a prompt.

    [fault:oom]    the request fails with OutOfMemory
    [fault:nan]    the request fails with NumericFault
    [fault:slow]   a tick with this request takes SLOW_FACTOR times as long
    [fault:hang]   step() never returns
    [fault:crash]  the process kills itself with SIGKILL

Each may carry the step at which it strikes, counted from 1 (`[fault:crash@3]`), and the probability that it
does (`[fault:oom%0.1]`, `[fault:oom@3%0.1]`), drawn once when the request is submitted.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

SLOW_FACTOR = 10.0

FAULT_CODE = re.compile(
    r"\[fault:(?P<kind>oom|nan|hang|crash|slow)(?:@(?P<step>\d+))?(?:%(?P<probability>[\d.]+))?\]"
)


@dataclass(frozen=True, slots=True)
class FaultCode:
    """One fault that a prompt asks for."""

    kind: str
    step: int
    """Step at which it strikes, from 1."""


def read_faults(prompt: str, dice: random.Random) -> tuple[FaultCode, ...]:
    """The faults that a prompt asks for, after drawing those that carry a probability."""
    return tuple(
        FaultCode(kind=found["kind"], step=int(found["step"] or 1))
        for found in FAULT_CODE.finditer(prompt)
        if found["probability"] is None or dice.random() < float(found["probability"])
    )
