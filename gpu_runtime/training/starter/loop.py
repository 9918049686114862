"""The training loop that the VAE and the denoiser share: schedule, checkpoints, progress, exact resume.

What happens at a step is a pure function of (weights, optimiser state, step number): every step draws from a
generator seeded with the step, so a resumed run equals an uninterrupted one. Knows nothing about models.

Several processes may train one model: each takes its own views, and gradients are averaged once a step. On a
busy CPU two processes of one thread finish far sooner than one process of two threads, whose threads wait for
each other at every operation.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan:
    """How long and how fast."""

    steps: int
    lr: float
    warmup_steps: int = 100
    cosine_from: float = 0.5
    """Share of the steps after which the rate falls, along a cosine, to 2 %."""
    checkpoint_every_s: float = 120.0
    sheet_every_s: float = 240.0
    stop_after_s: float = math.inf
    """Leave, with a checkpoint, after this long: the next call goes on from there."""


class Trainee(Protocol):
    """What is trained: one step of it, and all of its state."""

    optimiser: torch.optim.Optimizer

    def loss(self, step: int) -> Tensor: ...

    def after_step(self, step: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...  # tensors and numbers, nested as torch.save takes them

    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # what state_dict gave


def rate(plan: LoopPlan, step: int) -> float:
    """Learning rate at a step: linear warm-up, flat, cosine down to 2 % at the last step."""
    warm = min(1.0, (step + 1) / max(1, plan.warmup_steps))
    done = step / max(1, plan.steps)
    fall = max(0.0, (done - plan.cosine_from) / max(1e-9, 1 - plan.cosine_from))
    return plan.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The only source of chance at a step, another one in each process."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step + process_rank() * 500_000_003)


def process_rank() -> int:
    """This process's number among those that train together; 0 where there is one."""
    return dist.get_rank() if dist.is_initialized() else 0


def run(trainee: Trainee, plan: LoopPlan, checkpoint: Path, sheet: Callable[[int], None]) -> int:
    """Trains from the checkpoint, or from nothing, to the plan's last step. Returns the step reached.

    Only the first process writes checkpoints and sheets.
    """
    step = load_checkpoint(trainee, checkpoint)
    started = time.monotonic()
    keeper = _Keeper(trainee, plan, checkpoint, sheet)
    smooth, is_stopping = math.nan, False
    hidden = process_rank() > 0
    with tqdm(
        total=plan.steps, initial=step, desc=checkpoint.stem, unit="step", mininterval=5.0, disable=hidden
    ) as bar:
        while step < plan.steps and not is_stopping:
            wants_stop = time.monotonic() - started > plan.stop_after_s
            loss, is_stopping = one_step(trainee, plan, step, wants_stop)
            step += 1
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            bar.set_postfix(loss=f"{smooth:.4f}", lr=f"{rate(plan, step - 1):.1e}", refresh=False)
            bar.update()
            keeper.tick(step)
    keeper.finish(step)
    return step


class _Keeper:
    """Saves and draws when it is time; does nothing in any process but the first."""

    def __init__(
        self, trainee: Trainee, plan: LoopPlan, checkpoint: Path, sheet: Callable[[int], None]
    ) -> None:
        self.trainee, self.plan, self.checkpoint, self.sheet = trainee, plan, checkpoint, sheet
        self.saved = self.drawn = time.monotonic()

    def tick(self, step: int) -> None:
        if process_rank() > 0:
            return
        if time.monotonic() - self.saved > self.plan.checkpoint_every_s:
            save_checkpoint(self.trainee, self.checkpoint, step)
            self.saved = time.monotonic()
        if time.monotonic() - self.drawn > self.plan.sheet_every_s:
            self.sheet(step)
            self.drawn = time.monotonic()

    def finish(self, step: int) -> None:
        if process_rank() == 0:
            save_checkpoint(self.trainee, self.checkpoint, step)
            self.sheet(step)


def one_step(trainee: Trainee, plan: LoopPlan, step: int, wants_stop: bool = False) -> tuple[float, bool]:
    """One update. Returns the loss and whether any process wants to stop.

    Raises FloatingPointError when the loss is not finite: a spoilt run must not be saved.
    """
    for group in trainee.optimiser.param_groups:
        group["lr"] = rate(plan, step)
    trainee.optimiser.zero_grad(set_to_none=True)
    loss = trainee.loss(step)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"loss is {value} at step {step}")
    loss.backward()
    is_stopping = _average_gradients(trainee.optimiser, wants_stop)
    trainee.optimiser.step()
    trainee.after_step(step)
    return value, is_stopping


def _average_gradients(optimiser: torch.optim.Optimizer, wants_stop: bool) -> bool:
    """Replaces gradients by their means over the processes; the wish to stop travels in the same message."""
    if not dist.is_initialized():
        return wants_stop
    parameters: list[nn.Parameter] = [p for group in optimiser.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    message = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([float(wants_stop)])])
    dist.all_reduce(message)
    message /= dist.get_world_size()
    parts = message[:-1].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return bool(message[-1] > 0)


def save_checkpoint(trainee: Trainee, path: Path, step: int) -> None:
    """Writes beside the old file and then replaces it: a crash leaves one whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    torch.save({"step": step, "optimiser": trainee.optimiser.state_dict(), **trainee.state_dict()}, draft)
    draft.replace(path)


def load_checkpoint(trainee: Trainee, path: Path) -> int:
    """Restores the trainee and returns the number of steps done; 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    trainee.optimiser.load_state_dict(state.pop("optimiser"))
    step = int(state.pop("step"))
    trainee.load_state_dict(state)
    return step
