"""What an operation sees while it runs: its pictures, settings and weights, and where its results go.

Pictures are uint8 arrays on the host: [H, W, 3] RGB, [H, W, 4] RGBA, or [H, W] for masks and grey maps. Knows
nothing about requests and turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.work import Asset, Setting

T = TypeVar("T")

Picture: TypeAlias = NDArray[np.uint8]
"""[H, W, 3], [H, W, 4] or [H, W], 0 to 255."""

Build: TypeAlias = Callable[[Path, str], T]
"""Makes a network of an entry's folder for a device such as "cpu" or "cuda:0"."""


class Loader(Protocol):
    """Keeps weights between operations."""

    def load(self, asset: Asset, device: str, build: Build[T]) -> T:
        """What `build` made of these weights on this device, lately or now."""


@dataclass(slots=True, kw_only=True)
class Context:
    """Of one run of one operation."""

    operation: str
    """Its name in the registry, for messages."""
    inputs: Mapping[str, Any]
    """Values by the operation's own parameter names."""
    settings: Mapping[str, Setting]
    assets: Mapping[str, Asset]
    device: str
    """Where torch networks run: "cpu" or "cuda:0". On a second try for lack of memory it may be the CPU."""
    rng: np.random.Generator
    """Seeded from the request, the operation's place in it and the image's index."""
    loader: Loader
    is_cramped: bool = False
    """Whether a first try ran out of memory: the operation should use less, such as smaller tiles."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Values by the operation's own names for its results."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What is reported beside pictures; fit for JSON."""

    def has(self, name: str) -> bool:
        """Whether the request gives this input."""
        return name in self.inputs

    def value(self, name: str) -> Any:
        """An input of any kind. Raises UnsupportedCombination when the request does not give it."""
        if name not in self.inputs:
            raise UnsupportedCombination(f"operation {self.operation} needs the input {name!r}")
        return self.inputs[name]

    def picture(self, name: str) -> Picture:
        """An input that is a picture; not to be written into. Raises UnsupportedCombination if it is none."""
        value = self.value(name)
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim not in (2, 3):
            raise UnsupportedCombination(f"the input {name!r} of operation {self.operation} is no picture")
        return value

    def put(self, output: str, value: Any) -> None:
        """Set a result."""
        self.outputs[output] = value

    def note(self, key: str, value: Any) -> None:
        """Report something beside the pictures; `value` is fit for JSON. The latest of a key counts."""
        self.notes[key] = value

    def load(self, asset_name: str, build: Build[T]) -> T:
        """The weights that the operation calls `asset_name`, made by `build` unless they are at hand."""
        return self.loader.load(self.asset(asset_name), self.device, build)

    def asset(self, name: str) -> Asset:
        """Which weights the operation calls `name`. Raises UnsupportedCombination when it was given none."""
        if name not in self.assets:
            raise UnsupportedCombination(f"operation {self.operation} needs the weights {name!r}")
        return self.assets[name]

    def text(self, name: str, default: str = "") -> str:
        """A setting that is text. The four readers raise UnsupportedCombination for another type."""
        value = self._setting(name, default)
        if not isinstance(value, str):
            raise self._unfit(name, "text", value)
        return value

    def whole(self, name: str, default: int = 0) -> int:
        """A setting that is a whole number."""
        value = self._setting(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._unfit(name, "a whole number", value)
        return value

    def number(self, name: str, default: float = 0.0) -> float:
        """A setting that is a number."""
        value = self._setting(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._unfit(name, "a number", value)
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A setting that is true or false."""
        value = self._setting(name, default)
        if not isinstance(value, bool):
            raise self._unfit(name, "true or false", value)
        return value

    def _setting(self, name: str, default: Setting) -> Setting:
        """None stands for "not set"."""
        value = self.settings.get(name)
        return default if value is None else value

    def _unfit(self, name: str, wanted: str, value: Setting) -> UnsupportedCombination:
        return UnsupportedCombination(
            f"the setting {name!r} of operation {self.operation} must be {wanted}, not {value!r}"
        )


Run: TypeAlias = Callable[[Context], Iterator[float]]
"""Does one operation.

Yields the share that is done, 0 to 1, at least every 150 ms of work: between two yields nothing else runs on
the device. Has put its results when it ends. Raises RuntimeFaults, of which PictureUnusable reaches the
caller.
"""
