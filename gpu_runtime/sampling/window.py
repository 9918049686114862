"""Which calls of a sampler an image takes part in: all, the last ones of an image to change, or a share.

Positions count denoiser calls, of which samplers of order 2 make two a step. Source of the arithmetic:
`get_timesteps` of diffusers' image-to-image pipelines; `denoising_end`, `denoising_start` of its SDXL ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_runtime.errors import UnsupportedCombination


@dataclass(frozen=True, slots=True)
class Part:
    """What a request takes of a sampler's steps."""

    strength: float = 1.0
    """Share of the steps that is done when an image is changed, 0 to 1; the first ones are left out."""
    begin_at: float | None = None
    """Share of the training schedule that somebody else has done, 0 to 1; `strength` is ignored then."""
    end_at: float | None = None
    """Share of the training schedule after which somebody else goes on, 0 to 1."""


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class Window:
    """Calls `begin` to `end` of a sampler, `end` not among them."""

    begin: int
    end: int
    steps: int
    """What these calls are in the user's count."""


def window_of(
    part: Part,
    times: Sequence[float],
    *,
    steps: int,
    order: int,
    train_steps: int,
    skips_whole_steps: bool = False,
) -> Window:
    """The calls that `part` takes of those at `times`. Raises UnsupportedCombination if none is left.

    `skips_whole_steps`: round the number of left-out steps down, as the pipelines of rectified flows do;
    those of Stable Diffusion round the number of steps done down.
    """
    begin, done = 0, steps
    if part.begin_at is not None:
        begin = _begin_of_share(part.begin_at, times, order=order, train_steps=train_steps)
    elif part.strength < 1:
        exact = steps * part.strength
        done = steps - int(steps - exact) if skips_whole_steps else int(exact)
        begin = (steps - done) * order
    end = len(times)
    if part.end_at is not None and 0 < part.end_at < 1:
        cutoff = _cutoff(part.end_at, train_steps)
        end = begin + sum(time >= cutoff for time in times[begin:])
    if done < 1 or end <= begin:
        raise UnsupportedCombination(f"of {steps} steps none is left to do{_because(part)}")
    is_cut = part.begin_at is not None or end < len(times)
    # A last call of an order 2 sampler without its second half is a step as well.
    return Window(begin, end, min(done, -(-(end - begin) // order)) if is_cut else done)


def _begin_of_share(share: float, times: Sequence[float], *, order: int, train_steps: int) -> int:
    if not 0 < share < 1:
        return 0
    cutoff = _cutoff(share, train_steps)
    calls = sum(time < cutoff for time in times)
    # The first step of an order 2 sampler is one call: an even number would begin in the middle of a step.
    is_halved = order == 2 and calls % 2 == 0
    return len(times) - min(len(times), calls + is_halved)


def _cutoff(share: float, train_steps: int) -> int:
    return round(train_steps - share * train_steps)


def _because(part: Part) -> str:
    if part.begin_at is not None or part.end_at is not None:
        return f" between {part.begin_at or 0} and {part.end_at or 1} of the schedule"
    return f" at strength {part.strength}"
