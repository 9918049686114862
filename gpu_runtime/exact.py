"""Calls of a fixed number of rows, so that an image's bytes depend on its request alone.

A denoiser's kernels sum in another order for another number of rows, and in the same order for the same
number: measured on the CPU for UNets and transformers of 0.1 to 200 million parameters with 2 to 4 rows and 1
or 2 threads, a row's result depends neither on its place in the call nor on the rows beside it. So calls of
the exact tier have `EngineConfig.exact_rows` forward rows always, filled up by repeating images.

That holds where a layer's numbers for all rows fill up whole vectors of 32: what is left over at the end,
which the last row alone has, is computed by other instructions. Widths of released networks are multiples of
32; the tiny SDXL, whose time embedding is 40 wide, needs calls of 4 rows.

That does not hold for the small products of low-rank adapters, whose rows' places count, nor for ControlNets
and IP-adapters, which run for some rows of a call. Images that bring such networks share with none, and have
their places in a call by themselves.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from gpu_runtime.families.family import Row


def divided(rows: Sequence[Row], size: int) -> list[list[int]]:
    """Positions of the rows of each call: at most `size` forward rows, in order."""
    open_calls: dict[Hashable, list[int]] = {}
    calls: list[list[int]] = []
    for position, row in enumerate(rows):
        company = _company(position, row)
        call = open_calls.get(company)
        if call is None or _forward_rows([rows[i] for i in call]) + _forward_rows([row]) > size:
            call = open_calls[company] = []
            calls.append(call)
        call.append(position)
    return calls


def filled(rows: Sequence[Row], size: int) -> list[Row]:
    """The rows of one call, followed by repetitions up to `size` forward rows, an even number."""
    missing = size - _forward_rows(rows)
    if missing % 2:
        # Only an image without an unconditional row makes the number odd, so there is one to repeat.
        single = next(row for row in rows if _forward_rows([row]) == 1)
        return [*rows, *[single] * missing]
    width = _forward_rows(rows[:1])
    return [*rows, *[rows[0]] * (missing // width)]


def _forward_rows(rows: Sequence[Row]) -> int:
    return sum(1 if row.conditioning.negative is None else 2 for row in rows)


def _company(position: int, row: Row) -> Hashable:
    """Equal for rows that may be in one call."""
    conditioning = row.conditioning
    brings_networks = conditioning.loras or conditioning.controls or conditioning.prompts_of_pictures
    return position if brings_networks else "anyone"
