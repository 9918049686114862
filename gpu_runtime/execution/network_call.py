"""What stands in the place of a denoiser's own call: fills up rows, reuses features, picks code or graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from gpu_runtime.execution.calling import Calling, current
from gpu_runtime.execution.fp8 import Fp8Linear, fast_products
from gpu_runtime.execution.graphs import NetworkGraphs
from gpu_runtime.execution.lattice import bucket_of, filling, first_rows, taken
from gpu_runtime.feature_cache.reuse import reusing
from gpu_runtime.messages import Tier

log = logging.getLogger(__name__)

ROWS_OF = ("sample", "hidden_states")
"""Names of the argument of diffusers' denoisers that is the batch, where it does not come first."""


class NetworkCall:
    """Calls one denoiser. Any: diffusers' classes are untyped.

    Rows are filled up to the lattice only where compiled code may run: a row's result does not depend on the
    others, so the rows that fill up change nothing.
    """

    __slots__ = ("_compiled", "_fast_layers", "_graphs", "_is_bucketed", "_network")

    def __init__(
        self,
        network: nn.Module,
        *,
        is_bucketed: bool = False,
        compiled: Callable[..., Any] | None = None,
        fast_layers: Sequence[Fp8Linear] = (),
        graphs: NetworkGraphs | None = None,
    ) -> None:
        """`is_bucketed` where regions or the whole are compiled; `compiled` is the code of the whole.

        `fast_layers` are those that can multiply in fp8; `graphs` are None where calls are not replayed.
        """
        self._network = network
        self._is_bucketed = is_bucketed
        self._compiled = compiled
        self._fast_layers = fast_layers
        self._graphs = graphs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        calling = current()
        if calling.tier is Tier.FAST:
            return self._fast(calling, args, kwargs)
        return self._filled(calling, args, kwargs)

    def _fast(self, calling: Calling, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with ExitStack() as stack:
            if self._fast_layers:
                stack.enter_context(fast_products(self._fast_layers))
            if calling.features is None or calling.is_eager:
                return self._filled(calling, args, kwargs)
            stack.enter_context(reusing(self._network, calling.features))
            return self._network._call_impl(*args, **kwargs)

    def _filled(self, calling: Calling, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not calling.is_compiled:
            return self._network._call_impl(*args, **kwargs)
        if not self._is_bucketed:
            return self._replayed(args, kwargs)
        batch = batch_of(args, kwargs)
        rows = batch.shape[0]
        bucket = bucket_of(rows)
        if bucket == rows:
            return self._replayed(args, kwargs)
        index = filling(rows, bucket, batch.device)
        return first_rows(self._replayed(taken(args, rows, index), taken(kwargs, rows, index)), rows)

    def _replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """By a graph where there is one for calls like this."""
        if self._graphs is None:
            return self._whole(args, kwargs)
        return self._graphs.call(self._whole, args, kwargs)

    def _whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """By the code of the whole where there is one; as written from then on if it does not compile."""
        if self._compiled is not None:
            try:
                return self._compiled(*args, **kwargs)
            except TorchDynamoException:
                log.warning("a %s runs uncompiled", type(self._network).__name__, exc_info=True)
                self._compiled = None
        return self._network._call_impl(*args, **kwargs)


def batch_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The argument that has a row for each row of the batch."""
    if args:
        first: Tensor = args[0]
        return first
    named: Tensor = next(kwargs[name] for name in ROWS_OF if name in kwargs)
    return named
