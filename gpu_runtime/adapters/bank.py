"""Adapters kept ready on the device: those used lately, within a budget of bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import nn

from gpu_runtime.adapters.embeddings import LoadedEmbedding, Word, read_embedding
from gpu_runtime.adapters.lora import LoadedLora
from gpu_runtime.adapters.lora_file import read_lora
from gpu_runtime.adapters.lora_targets import Targets, targets_of
from gpu_runtime.adapters.plan_shelf import PlanShelf
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.messages import EmbeddingRef, LoraRef

Networks: TypeAlias = Mapping[str, nn.Module]
"""The networks of a checkpoint that adapters may change, by component."""


class AdapterBank:
    """One per engine. Files are shared by digest; the least recently used leave first.

    What a running request uses stays with the request until it ends, even where it has left the bank: the
    budget holds for what is kept for later. A quarter of it is for the stacked tensors of combinations in
    use.
    """

    def __init__(self, budget_bytes: int) -> None:
        """A budget of 0 keeps nothing beyond the latest adapter."""
        self._budget_bytes = budget_bytes - budget_bytes // 4
        self._shelf = PlanShelf(budget_bytes // 4)
        self._held: OrderedDict[str, LoadedLora | LoadedEmbedding] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Bytes of everything kept."""
        return sum(held.size_bytes for held in self._held.values()) + self._shelf.size_bytes

    def uses(self, refs: Sequence[LoraRef], family: str, networks: Networks) -> tuple[LoraUse, ...]:
        """A request's adapters at their strengths, fitted to these networks. Raises as `lora`."""
        return tuple(LoraUse(self.lora(ref, family, networks), ref.scale) for ref in refs)

    def lora(self, ref: LoraRef, family: str, networks: Networks) -> LoadedLora:
        """One adapter, read unless it is here already.

        Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination: for another family, or of an
        algorithm that is not supported.
        """
        targets = {component: targets_of(network) for component, network in networks.items()}
        key = f"{ref.digest}/{_architecture(targets)}"
        held = self._held.get(key)
        if not isinstance(held, LoadedLora):
            # Ordinary tensors although callers are in inference mode: what is kept outlives their call.
            with torch.inference_mode(False):
                fitted = read_lora(ref.name, ref.path, family, targets)
            held = LoadedLora(
                name=ref.name,
                digest=ref.digest,
                size_bytes=fitted.size_bytes,
                layers=fitted.layers,
                key=key,
                shelf=self._shelf,
            )
        self._keep(key, held)
        return held

    def words(self, refs: Sequence[EmbeddingRef]) -> tuple[Word, ...]:
        """The words that a request's embeddings stand for. Raises as `embedding`."""
        return tuple(Word(ref.token, self.embedding(ref)) for ref in refs)

    def embedding(self, ref: EmbeddingRef) -> LoadedEmbedding:
        """One embedding, read unless it is here already. Raises CheckpointMissing or WeightsCorrupt."""
        key = f"embedding/{ref.digest}"
        held = self._held.get(key)
        if not isinstance(held, LoadedEmbedding):
            with torch.inference_mode(False):
                held = read_embedding(ref.name, ref.path, ref.digest)
        self._keep(key, held)
        return held

    def _keep(self, key: str, held: LoadedLora | LoadedEmbedding) -> None:
        self._held[key] = held
        self._held.move_to_end(key)
        total = sum(entry.size_bytes for entry in self._held.values())
        while total > self._budget_bytes and len(self._held) > 1:
            oldest, dropped = self._held.popitem(last=False)
            total -= dropped.size_bytes
            # Its plans would keep its tensors alive; a request that still runs makes its own again.
            self._shelf.drop(oldest)


def _architecture(targets: Mapping[str, Targets]) -> str:
    """One name for these networks together; fine-tunes of one model share it."""
    described = "/".join(f"{component}:{targets[component].signature}" for component in sorted(targets))
    return hashlib.sha256(described.encode()).hexdigest()[:16]
