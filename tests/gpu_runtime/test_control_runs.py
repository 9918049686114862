"""Which results of ControlNets come together, and how strongly each acts in which block."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpu_runtime.controls.runs import FADING, INNERMOST, plan_runs
from gpu_runtime.controls.use import ControlUse, acting
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.messages import ControlBalance
from gpu_runtime.weights.loans import NetworkLoan

BALANCED, PROMPT, CONTROL = ControlBalance.BALANCED, ControlBalance.PROMPT, ControlBalance.CONTROL
UNION = NetworkLoan(
    digest="union", folder=Path("/nowhere"), class_name="ControlNetUnionModel", dtype=torch.float32
)


def use(balance: ControlBalance, *, mode: int, end: float = 1.0) -> ControlUse:
    picture = torch.full((1, 3, 8, 8), float(mode))
    return ControlUse(loan=UNION, picture=picture, scale=0.5, mode=mode, balance=balance, end=end)


def inputs(*rows: tuple[ControlUse, ...]) -> ForwardInputs:
    """Of conditional rows alone."""
    return ForwardInputs(
        latents=torch.zeros(len(rows), 4, 8, 8),
        timesteps=torch.zeros(len(rows)),
        context=torch.zeros(len(rows), 1, 1),
        guided=(),
        guidance=torch.zeros(0, 1, 1, 1),
        controls=rows,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [(BALANCED, PROMPT), (CONTROL, BALANCED), (PROMPT, CONTROL)],
    ids=lambda each: each.name,
)
@pytest.mark.parametrize("modes", [(0, 3), (2, 2)], ids=["two modes", "one mode"])
def test_controls_of_one_network_that_differ_in_balance_act_each_by_its_own(
    first: ControlBalance, second: ControlBalance, modes: tuple[int, int]
) -> None:
    uses = (use(first, mode=modes[0]), use(second, mode=modes[1]))
    outermost = torch.zeros(1, 1)
    for run in plan_runs(inputs(uses), slice(0, 1)):
        outermost += run.spread(torch.ones(len(run.uses), 1), 1, block=0)
    faded = FADING**INNERMOST
    wanted = sum(0.5 * (faded if each.fades else 1.0) for each in uses)
    torch.testing.assert_close(outermost, torch.full((1, 1), wanted))


def test_controls_of_one_network_and_balance_are_read_at_once() -> None:
    [run] = plan_runs(inputs((use(PROMPT, mode=0), use(PROMPT, mode=3))), slice(0, 1))
    assert [[each.mode for each in read] for read in run.uses] == [[0, 3]]


def test_control_that_has_ended_is_given_only_to_those_it_is_read_with() -> None:
    ended, apart, together = use(BALANCED, mode=0, end=0.5), use(PROMPT, mode=1), use(BALANCED, mode=3)
    assert acting((ended, apart), 3, 4) == (apart,)
    assert [(each.mode, each.scale) for each in acting((ended, together), 3, 4)] == [(0, 0.0), (3, 0.5)]
