"""From the tensors that a LoRA file has for one layer to the layer's deltas, whatever the algorithm.

Files are untrusted: every side is compared with the layer's before anything is multiplied, so that no
product is larger than the layer allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gpu_runtime.adapters.deltas import Bias, Damaged, Delta, Full, Kronecker, LowRank, Misfit
from gpu_runtime.adapters.lora_keys import Part

Tensors = Mapping[Part, Tensor]

DeclaredScale = Callable[[int], float]
"""The scale for a rank, where no alpha stands beside the layer's tensors."""

MAX_SCALE = 1e4
"""Trainers write an alpha of a few times the rank at most. Far beyond that the sums are no longer finite."""


def build(tensors: Tensors, shape: torch.Size, declared: DeclaredScale) -> tuple[Delta, ...]:
    """The deltas of a layer whose weight has this shape.

    Raises Misfit for an incomplete or odd set, Damaged for an empty tensor and for a scale that is no number
    to multiply with.
    """
    empty = [part.value for part, tensor in tensors.items() if tensor.numel() == 0]
    if empty:
        raise Damaged(f"{empty[0]} is empty")
    deltas: list[Delta] = []
    if Part.DOWN in tensors or Part.UP in tensors:
        deltas += _low_rank(tensors, shape, declared)
    if Part.HADA_W1_A in tensors or Part.HADA_W2_A in tensors:
        deltas.append(_hadamard(tensors, shape, declared))
    if any(part in tensors for part in (Part.LOKR_W1, Part.LOKR_W1_A)):
        deltas.append(_kronecker(tensors, shape, declared))
    if Part.FULL in tensors:
        deltas.append(Full(_float(tensors[Part.FULL]), 1.0))
    if Part.BIAS in tensors:
        deltas.append(Bias(tensors[Part.BIAS], 1.0))
    if not deltas:
        raise Misfit(f"{', '.join(tensors)} alone make no difference of a layer")
    return tuple(delta.fit(shape) for delta in deltas)


def _low_rank(tensors: Tensors, shape: torch.Size, declared: DeclaredScale) -> list[Delta]:
    down, up = _require(tensors, Part.DOWN), _require(tensors, Part.UP)
    rank = down.shape[0]
    scale = _scale(tensors, rank, declared)
    if Part.MID in tensors:
        mid = _float(tensors[Part.MID])
        _require_rank(rank, shape)
        if tuple(mid.shape) != (rank, rank, *shape[2:]) or down[0].numel() != shape[1]:
            raise Misfit("the middle of a Tucker product does not fit its lower factor")
        down = torch.einsum("rskl,si->rikl", mid, _float(down).flatten(1))
    deltas: list[Delta] = [LowRank(down, up, scale)]
    if Part.UP_BIAS in tensors:
        deltas.append(Bias(tensors[Part.UP_BIAS], scale))
    return deltas


def _hadamard(tensors: Tensors, shape: torch.Size, declared: DeclaredScale) -> Delta:
    """LoHa: the element-wise product of two low-rank products.

    That is a low-rank product again, of the rows' and columns' pairwise products (Khatri-Rao), of the square
    of the rank; the whole difference where that takes less memory. Source: Hyeon-Woo et al. 2021,
    arXiv:2108.06098; layouts as LyCORIS writes them.
    """
    w1_a, w1_b, w2_a, w2_b = (
        _float(_require(tensors, part))
        for part in (Part.HADA_W1_A, Part.HADA_W1_B, Part.HADA_W2_A, Part.HADA_W2_B)
    )
    rank = w1_b.shape[0]
    scale = _scale(tensors, rank, declared)
    if Part.HADA_T1 in tensors:
        first = _tucker(_float(tensors[Part.HADA_T1]), w1_a, w1_b, shape)
        second = _tucker(_float(_require(tensors, Part.HADA_T2)), w2_a, w2_b, shape)
        return Full(first * second, scale)
    out, inside = shape[0], math.prod(shape[1:])
    for left, right in ((w1_a, w1_b), (w2_a, w2_b)):
        _require_product(left, right)
        if left.shape[0] != out or right.shape[1] != inside:
            raise Misfit(f"{tuple(left.shape)} and {tuple(right.shape)} do not fit the layer")
    paired = w1_a.shape[1] * w2_a.shape[1]
    if paired * (out + inside) >= out * inside:
        return Full((w1_a @ w1_b) * (w2_a @ w2_b), scale)
    up = torch.einsum("or,os->ors", w1_a, w2_a).flatten(1)
    down = torch.einsum("ri,si->rsi", w1_b, w2_b).flatten(0, 1)
    return LowRank(down, up, scale)


def _kronecker(tensors: Tensors, shape: torch.Size, declared: DeclaredScale) -> Delta:
    """LoKr: the Kronecker product of two matrices, each whole or low-rank.

    Source: Yeh et al. 2023, arXiv:2309.14859; layouts as LyCORIS writes them. Where both are whole there is
    no rank to divide by, and alpha has no effect.
    """
    rank: int | None = None
    if Part.LOKR_W1 in tensors:
        left = _float(tensors[Part.LOKR_W1])
    else:
        w1_a, w1_b = _float(tensors[Part.LOKR_W1_A]), _float(_require(tensors, Part.LOKR_W1_B))
        _require_product(w1_a, w1_b)
        _require_factor(w1_a.shape[0], w1_b.shape[1], shape)
        left, rank = w1_a @ w1_b, w1_b.shape[0]
    if Part.LOKR_W2 in tensors:
        right = _float(tensors[Part.LOKR_W2])
    else:
        w2_a, w2_b = _float(_require(tensors, Part.LOKR_W2_A)), _float(_require(tensors, Part.LOKR_W2_B))
        rank = w2_b.shape[0]
        if Part.LOKR_T2 in tensors:
            smaller = torch.Size((w2_a.shape[1], w2_b.shape[1], *shape[2:]))
            _require_factor(smaller[0], smaller[1], shape)
            right = _tucker(_float(tensors[Part.LOKR_T2]), w2_a, w2_b, smaller)
        else:
            _require_product(w2_a, w2_b.flatten(1))
            _require_factor(w2_a.shape[0], w2_b[0].numel(), shape)
            right = (w2_a @ w2_b.flatten(1)).reshape(w2_a.shape[0], *w2_b.shape[1:])
    return Kronecker(left, right, 1.0 if rank is None else _scale(tensors, rank, declared))


def _scale(tensors: Tensors, rank: int, declared: DeclaredScale) -> float:
    alpha = tensors.get(Part.ALPHA)
    if alpha is not None and alpha.numel() != 1:
        raise Misfit(f"alpha has {alpha.numel()} values")
    scale = declared(rank) if alpha is None else float(alpha.float().item()) / rank
    if not abs(scale) <= MAX_SCALE:
        raise Damaged(f"a scale of {scale:.3g} is out of all proportion")
    return scale


def _tucker(core: Tensor, outer: Tensor, inner: Tensor, shape: torch.Size) -> Tensor:
    """[r, s, kh, kw] with [r, out] and [s, in] to `shape`, which is [out, in, kh, kw]."""
    sides = (outer.shape[0], inner.shape[0], *shape[2:])
    if len(shape) != 4 or tuple(core.shape) != sides:
        raise Misfit("the core of a Tucker product does not fit its factors")
    if (outer.shape[1], inner[0].numel()) != tuple(shape[:2]):
        raise Misfit("the factors of a Tucker product do not fit the layer")
    _require_rank(max(core.shape[:2]), shape)
    return torch.einsum("rskl,ro,si->oikl", core, outer, inner)


def _require(tensors: Tensors, part: Part) -> Tensor:
    if part not in tensors:
        raise Misfit(f"{part.value} is missing beside {', '.join(tensors)}")
    if tensors[part].dim() < 2:
        raise Misfit(f"{part.value} is no matrix")
    return tensors[part]


def _require_product(left: Tensor, right: Tensor) -> None:
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0]:
        raise Misfit(f"{tuple(left.shape)} and {tuple(right.shape)} have no product")


def _require_factor(rows: int, columns: int, shape: torch.Size) -> None:
    if shape[0] % rows or math.prod(shape[1:]) % columns:
        raise Misfit(f"a factor of {rows} x {columns} does not divide the layer")


def _require_rank(rank: int, shape: torch.Size) -> None:
    """More than full rank is no low-rank product, and would make its core larger than the layer."""
    if rank > max(shape[0], math.prod(shape[1:])):
        raise Misfit(f"rank {rank} is above the layer's own")


def _float(tensor: Tensor) -> Tensor:
    """float32: products of factors are formed before anything is rounded to the network's dtype."""
    return tensor.float()
