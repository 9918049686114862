"""What identification may look at: names, shapes and types of a file's tensors, and the words around them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gpu_runtime.weights.pickle_scan import PickleFacts, Scalar
from gpu_runtime.weights.safetensors_header import SafetensorsHeader
from gpu_runtime.weights.taxonomy import ComponentFacts
from gpu_runtime.weights.tensor_facts import TensorFacts

_WORD = re.compile(r"[a-z]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Contents:
    """One file of weights, or the files of one component, as their headers describe it."""

    path: Path
    tensors: Mapping[str, TensorFacts]
    size_bytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    """safetensors' own; empty for other formats."""
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    """Plain values of a pickle."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.json beside a component's weights. Any: JSON."""
    is_pickle: bool = False

    @cached_property
    def names(self) -> list[str]:
        """All tensor names, sorted, so that those of one prefix lie together."""
        return sorted(self.tensors)

    @cached_property
    def words(self) -> frozenset[str]:
        """Words of the file's and its folder's name and of the titles in its metadata, lower case.

        Weak evidence: only used where the tensors leave several answers open.
        """
        titles = [self.metadata.get(key, "") for key in ("modelspec.title", "ss_output_name")]
        text = " ".join([self.path.stem, self.path.parent.name, *titles])
        return frozenset(_WORD.findall(_CAMEL.sub(" ", text[:500]).lower()))

    def says(self, *words: str) -> bool:
        """Whether one of these words, or a word that contains it, is in the names around the file."""
        return any(word in said for word in words for said in self.words)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The tensor's shape, None where there is no such tensor."""
        facts = self.tensors.get(name)
        return None if facts is None else facts.shape

    def side(self, name: str, dimension: int) -> int:
        """One side of a tensor, 0 where there is none."""
        shape = self.shape(name)
        return shape[dimension] if shape is not None and -len(shape) <= dimension < len(shape) else 0

    def starting(self, prefix: str) -> list[str]:
        """Names that start with the prefix, sorted."""
        start = bisect_left(self.names, prefix)
        end = bisect_left(self.names, prefix + "\U0010ffff", start)
        return self.names[start:end]

    def has(self, prefix: str) -> bool:
        """Whether any name starts with the prefix."""
        position = bisect_left(self.names, prefix)
        return position < len(self.names) and self.names[position].startswith(prefix)

    def blocks(self, prefix: str) -> frozenset[int]:
        """The numbers that follow `prefix` and a dot in names."""
        start = prefix + "."
        found = {name[len(start) :].split(".", 1)[0] for name in self.starting(start)}
        return frozenset(int(number) for number in found if number.isdecimal() and len(number) < 6)

    def prefixes(self) -> Iterator[str]:
        """The parts of names before the first dot, each once."""
        previous = None
        for name in self.names:
            prefix = name.partition(".")[0]
            if prefix != previous:
                previous = prefix
                yield prefix

    def component(self, name: str, class_name: str, prefix: str = "") -> ComponentFacts:
        """Facts of the component whose tensors start with the prefix."""
        return component_facts(name, class_name, [self.tensors[each] for each in self.starting(prefix)])


def component_facts(name: str, class_name: str, tensors: list[TensorFacts]) -> ComponentFacts:
    """Sum up the tensors of one component."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.size_bytes
    most = sizes.most_common(1)
    return ComponentFacts(
        name=name,
        class_name=class_name,
        size_bytes=sum(sizes.values()),
        tensors=len(tensors),
        dtype=most[0][0] if most else "",
    )


def of_safetensors(
    path: Path, header: SafetensorsHeader, config: Mapping[str, Any] | None = None
) -> Contents:
    return Contents(
        path=path,
        tensors=header.tensors,
        size_bytes=header.size_bytes,
        metadata=header.metadata,
        config=config or {},
    )


def of_pickle(path: Path, facts: PickleFacts, config: Mapping[str, Any] | None = None) -> Contents:
    return Contents(
        path=path,
        tensors=facts.tensors,
        size_bytes=facts.size_bytes,
        scalars=facts.scalars,
        config=config or {},
        is_pickle=True,
    )
