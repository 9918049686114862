"""Faults of the GPU runtime. `apps/generation/faults.py` maps each to a job failure; no torch here."""

from __future__ import annotations

from typing import ClassVar


class RuntimeFault(Exception):
    """A request could not be completed. The message may be shown to the operator, not to the caller."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed on another attempt."""


class UnsupportedCombination(RuntimeFault):
    """The request asks for something this family or sampler cannot do; the message says what."""


class PictureUnusable(RuntimeFault):
    """A picture that the request brings, or its result, cannot be used.

    Unlike other faults, its message is meant for the caller: it says which picture and what is wrong.
    """

    def __init__(self, message: str, *, code: str) -> None:
        """`code` is a promise to clients: "no_face", "picture_unreadable", "blocked_content" ..."""
        super().__init__(message)
        self.code = code


class CheckpointMissing(RuntimeFault):
    """The checkpoint's folder or one of its components is not there."""


class WeightsCorrupt(RuntimeFault):
    """The checkpoint's files are recognised but broken."""


class NotRecognised(RuntimeFault):
    """No rule of identification claims the file: no weights, or of an architecture unknown here."""


class NotWeights(NotRecognised):
    """The file is no weights of any kind: a web page, text, an image, an archive. The message says which."""


class UnsafeFile(RuntimeFault):
    """The file contains code, or what could lead to some; it was refused before it was read as data."""


class OutOfMemory(RuntimeFault):
    """The request does not fit even alone and with every fallback; smaller sides may."""


class NumericFault(RuntimeFault):
    """Latents or image became NaN or infinite."""

    retryable = True


class DeviceLost(RuntimeFault):
    """The accelerator failed in a way only a new process recovers from."""

    retryable = True
