"""How the adapters of one call are computed: what each layer adds to which rows.

Rows with the same adapters at the same strengths form a group. Where all rows are one group, a layer costs
two plain matrix products more. Otherwise the groups' low-rank factors are stacked, padded with zeros to the
largest rank, so that a linear layer costs two batched products however many adapters the call has.
Convolutions and the kinds that are not low-rank are computed for one group after the other. Rows without
adapters are not written to.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gpu_runtime.adapters.deltas import Delta, LowRank, memory_of
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.errors import UnsupportedCombination

Weighted = tuple[Delta, float]
"""A delta with the strength that a request gives it."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Low-rank parts of one group in one layer as one product, strengths folded in."""

    down: Tensor
    """[rank, in]."""
    up: Tensor
    """[out, rank]."""

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.down, self.up)


@dataclass(frozen=True, slots=True)
class Stack:
    """Factors of several groups for one linear layer, padded to one rank."""

    rows: Tensor | None
    """[rows] int64, on the device: the rows that have adapters here; None for all."""
    groups: Tensor | None
    """[rows] int64, on the device: the group of each of those rows; None for one row a group, in order."""
    down: Tensor
    """[groups, rank, in]."""
    up: Tensor
    """[groups, out, rank]."""

    def tensors(self) -> tuple[Tensor, ...]:
        indices = (index for index in (self.rows, self.groups) if index is not None)
        return (self.down, self.up, *indices)

    def add(self, output: Tensor, x: Tensor) -> None:
        """Add to `output` [B, ..., out] for `x` [B, ..., in], in place."""
        chosen = x.reshape(x.shape[0], -1, x.shape[-1])
        target = output.view(output.shape[0], -1, output.shape[-1])
        down, up = self.down, self.up
        # Factors are repeated rather than rows brought into order: they are much smaller than activations.
        if self.groups is not None:
            down, up = down.index_select(0, self.groups), up.index_select(0, self.groups)
        if self.rows is not None:
            chosen = chosen.index_select(0, self.rows)
        inner = torch.bmm(chosen, down.transpose(1, 2))
        if self.rows is None:
            target.baddbmm_(inner, up.transpose(1, 2))
        else:
            target.index_add_(0, self.rows, torch.bmm(inner, up.transpose(1, 2)))


@dataclass(frozen=True, slots=True)
class Single:
    """One delta for one group."""

    index: Tensor | None
    """[rows] int64, on the device; None for all rows."""
    delta: Delta
    strength: float

    def tensors(self) -> tuple[Tensor, ...]:
        return self.delta.tensors() if self.index is None else (self.index, *self.delta.tensors())

    def add(self, output: Tensor, x: Tensor, layer: Any) -> None:  # Any: an untyped module
        """Add to `output` for `x`, rows first, in place."""
        if self.index is None:
            output.add_(self.delta.compute(x, layer), alpha=self.strength)
            return
        added = self.delta.compute(x.index_select(0, self.index), layer) * self.strength
        shape = (len(self.index), *output.shape[1:])
        output.index_add_(0, self.index, added.expand(shape))


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What one layer adds."""

    rows: int | None
    """Rows the call must have; None where every row adds the same and their number does not matter."""
    everywhere: Factors | None
    stack: Stack | None
    singles: tuple[Single, ...]

    def tensors(self) -> Iterator[Tensor]:
        """All that it keeps alive, those of the adapters among them."""
        for part in (self.everywhere, self.stack, *self.singles):
            if part is not None:
                yield from part.tensors()

    def apply(self, output: Tensor, x: Tensor, layer: Any) -> Tensor:  # Any: an untyped module
        """The layer's output with the adapters' part. Changes `output`, which nothing else holds yet."""
        if self.rows is not None and x.shape[0] != self.rows:
            raise UnsupportedCombination(
                f"adapters of {self.rows} rows met a layer that was called with {x.shape[0]}"
            )
        if self.everywhere is not None:
            inner = functional.linear(x, self.everywhere.down)
            output = output + functional.linear(inner, self.everywhere.up)
        if self.stack is not None or self.singles:
            output = output.contiguous()
        if self.stack is not None:
            self.stack.add(output, x)
        for single in self.singles:
            single.add(output, x, layer)
        return output


@dataclass(frozen=True, slots=True)
class Plan:
    """What all layers of one network add in one call."""

    layers: Mapping[str, LayerPlan]
    """By module path; only layers that some row's adapters touch."""
    adapters: frozenset[str]
    """Keys of the adapters."""
    size_bytes: int
    """Of all tensors it keeps alive, shared ones among them: the adapters may leave first."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a call that have the same adapters."""

    uses: tuple[LoraUse, ...]
    rows: tuple[int, ...]

    def deltas(self, component: str, path: str) -> tuple[Weighted, ...]:
        """What its adapters add in one layer."""
        return tuple(
            (delta, use.scale) for use in self.uses for delta in use.lora.layers[component].get(path, ())
        )


def acting(rows: Sequence[Sequence[LoraUse]], component: str) -> tuple[tuple[LoraUse, ...], ...]:
    """The rows' adapters without those that change nothing in this component."""
    return tuple(
        tuple(use for use in row if use.scale != 0 and use.lora.layers.get(component)) for row in rows
    )


def plan_key(component: str, rows: Sequence[Sequence[LoraUse]]) -> Hashable:
    """Equal for calls that add the same to the same rows."""
    return component, tuple(tuple((use.lora.key, use.scale) for use in row) for row in rows)


def make_plan(component: str, rows: Sequence[Sequence[LoraUse]]) -> Plan:
    """Stack what `rows` need in this component; at least one row has an adapter that acts there."""
    groups = _groups(rows)
    paths = dict.fromkeys(
        path for group in groups for use in group.uses for path in use.lora.layers[component]
    )
    indices: dict[tuple[int, ...], Tensor] = {}
    layers = {path: _layer_plan(groups, component, path, len(rows), indices) for path in paths}
    return Plan(
        layers,
        adapters=frozenset(use.lora.key for row in rows for use in row),
        size_bytes=memory_of(tensor for layer in layers.values() for tensor in layer.tensors()),
    )


def _groups(rows: Sequence[Sequence[LoraUse]]) -> list[Group]:
    members: dict[Hashable, list[int]] = {}
    for position, row in enumerate(rows):
        if row:
            members.setdefault(tuple((use.lora.key, use.scale) for use in row), []).append(position)
    return [Group(tuple(rows[found[0]]), tuple(found)) for found in members.values()]


def _layer_plan(
    groups: Sequence[Group],
    component: str,
    path: str,
    total: int,
    indices: dict[tuple[int, ...], Tensor],
) -> LayerPlan:
    low: list[tuple[Group, list[tuple[LowRank, float]]]] = []
    singles: list[Single] = []
    everywhere: Factors | None = None
    is_shared = len(groups) == 1 and len(groups[0].rows) == total
    for group in groups:
        stackable, others = _divide(group.deltas(component, path))
        if stackable and is_shared:
            everywhere = _factors(stackable)
        elif stackable:
            low.append((group, stackable))
        for delta, strength in others:
            index = None if is_shared else _index(group.rows, total, delta.device, indices)
            singles.append(Single(index, delta, strength))
    stack = _stack(low, total, indices) if low else None
    return LayerPlan(None if is_shared else total, everywhere, stack, tuple(singles))


def _divide(deltas: Sequence[Weighted]) -> tuple[list[tuple[LowRank, float]], list[Weighted]]:
    """Low-rank deltas of a linear layer, and all others."""
    stackable: list[tuple[LowRank, float]] = []
    others: list[Weighted] = []
    for delta, strength in deltas:
        if isinstance(delta, LowRank) and delta.down.dim() == 2:
            stackable.append((delta, strength))
        else:
            others.append((delta, strength))
    return stackable, others


def _factors(deltas: Sequence[tuple[LowRank, float]]) -> Factors:
    downs = [delta.down for delta, _ in deltas]
    ups = [_scaled(delta.up, delta.scale * strength) for delta, strength in deltas]
    if len(deltas) == 1:
        return Factors(downs[0], ups[0])
    return Factors(torch.cat(downs), torch.cat(ups, dim=1))


def _scaled(up: Tensor, scale: float) -> Tensor:
    """Scaled in float32, so that only one rounding to the dtype happens."""
    return up if scale == 1 else (up.float() * scale).to(up.dtype)


def _stack(
    members: Sequence[tuple[Group, list[tuple[LowRank, float]]]],
    total: int,
    indices: dict[tuple[int, ...], Tensor],
) -> Stack:
    """Factors of all groups, each written straight to its place."""
    ranks = [sum(delta.rank for delta, _ in deltas) for _, deltas in members]
    sample = members[0][1][0][0]
    down = sample.down.new_zeros(len(members), max(ranks), sample.down.shape[1])
    up = sample.up.new_zeros(len(members), sample.up.shape[0], max(ranks))
    for place, (_, deltas) in enumerate(members):
        start = 0
        for delta, strength in deltas:
            stop = start + delta.rank
            down[place, start:stop] = delta.down
            up[place, :, start:stop] = _scaled(delta.up, delta.scale * strength)
            start = stop
    placed = sorted((row, place) for place, (group, _) in enumerate(members) for row in group.rows)
    rows, groups = tuple(row for row, _ in placed), tuple(place for _, place in placed)
    device = sample.up.device
    return Stack(
        _index(rows, total, device, indices), _index(groups, len(members), device, indices), down, up
    )


def _index(
    rows: tuple[int, ...], total: int, device: torch.device, known: dict[tuple[int, ...], Tensor]
) -> Tensor | None:
    """Positions as an index, one tensor for all layers; None for all of them in order."""
    if rows == tuple(range(total)):
        return None
    if rows not in known:
        known[rows] = torch.tensor(rows, dtype=torch.int64, device=device)
    return known[rows]
