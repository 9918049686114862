"""How the denoiser calls that are made now are to be carried out.

Families call their networks without knowing; what stands in the place of a network's own call asks here.
Kept in a context variable, so that the thread that compiles has none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from gpu_runtime.feature_cache.features import PartFeatures
from gpu_runtime.messages import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """The calls of one block of code."""

    tier: Tier = Tier.STANDARD
    """Of all rows of the calls."""
    is_eager: bool = False
    """Whether networks run as written, because someone looks into their layers meanwhile."""
    features: PartFeatures | None = None
    """What the rows remember of their earlier steps; None where nothing is to be reused."""

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code may run. Bytes of the exact tier must not depend on when it is ready."""
        return not self.is_eager and self.tier is not Tier.EXACT


_current: ContextVar[Calling] = ContextVar("calling", default=Calling())  # noqa: B039 - a frozen value


def current() -> Calling:
    """What holds now."""
    return _current.get()


@contextmanager
def calling(tier: Tier, features: PartFeatures | None = None) -> Iterator[None]:
    """While open, calls are of rows of this tier."""
    with _changed(Calling(tier=tier, is_eager=current().is_eager, features=features)):
        yield


@contextmanager
def eager() -> Iterator[None]:
    """While open, networks run uncompiled and with exactly the rows they are given.

    For whoever adds to a network's layers: compiled code does not look at hooks that came later, and rows
    that only fill up a call have nothing to add.
    """
    with _changed(replace(current(), is_eager=True)):
        yield


@contextmanager
def _changed(to: Calling) -> Iterator[None]:
    token = _current.set(to)
    try:
        yield
    finally:
        _current.reset(token)
