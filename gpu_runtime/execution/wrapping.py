"""Networks called for images whose edges go on from the edges across: uncompiled; see `families/edges.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from gpu_runtime.execution.calling import eager
from gpu_runtime.families.edges import circular_edges


@contextmanager
def wrapping() -> Iterator[None]:
    """While open, networks run as written, and convolutions wrap around."""
    with eager(), circular_edges():
        yield


def wrapping_if(is_seamless: bool) -> AbstractContextManager[None]:
    """`wrapping` for images that ask for it."""
    return wrapping() if is_seamless else nullcontext()
