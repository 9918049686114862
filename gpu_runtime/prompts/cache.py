"""Encoded prompts, so that one seen lately costs nothing, with any checkpoint of these encoders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from gpu_runtime.families.family import TextEncoding

MAX_BYTES = 128 * 1024**2
"""On the device. An encoding takes 0.1 MB for SD 1.5 and 4 MB for FLUX: a number of entries says little."""


class PromptCache:
    """Keeps the most recently used encodings: at most `entries`, and at most MAX_BYTES; 0 keeps none."""

    def __init__(self, entries: int, *, max_bytes: int = MAX_BYTES) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._encodings: OrderedDict[Hashable, TextEncoding] = OrderedDict()

    def get(self, key: Hashable, encode: Callable[[], TextEncoding]) -> TextEncoding:
        """The encoding under `key`, made by `encode` where there is none.

        `key` holds everything that the encoding depends on, the encoders' identity among it.
        """
        encoding = self._encodings.get(key)
        if encoding is None:
            encoding = self._encodings[key] = encode()
            self._held_bytes += _size_bytes(encoding)
        self._encodings.move_to_end(key)
        while self._held_bytes > self._max_bytes or len(self._encodings) > self._entries:
            _, forgotten = self._encodings.popitem(last=False)
            self._held_bytes -= _size_bytes(forgotten)
        return encoding


def _size_bytes(encoding: TextEncoding) -> int:
    return encoding.tokens.nbytes + (0 if encoding.pooled is None else encoding.pooled.nbytes)
