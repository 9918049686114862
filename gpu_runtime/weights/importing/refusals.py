"""Why an import is refused: a code for programs and one sentence for the operator. No torch."""

from __future__ import annotations

from enum import StrEnum

from gpu_runtime.errors import NotRecognised, NotWeights, RuntimeFault, UnsafeFile, WeightsCorrupt


class RefusalCode(StrEnum):
    """What was wrong; a promise to callers."""

    NOT_WEIGHTS = "not_weights"
    """A web page, text, an image, an archive."""
    NOT_RECOGNISED = "not_recognised"
    """Weights of something unknown here, or in a format that is not read."""
    WEIGHTS_CORRUPT = "weights_corrupt"
    UNSAFE_FILE = "unsafe_file"
    UNSUPPORTED_MODEL = "unsupported_model"
    """Known, but this release cannot run it."""
    MISSING_COMPONENT = "missing_component"
    """Complete only with another import; the message says which."""
    DISK_FULL = "disk_full"
    TOO_LARGE = "too_large"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"


class ImportRefused(Exception):
    """The import ended; nothing of it is in the store but components that are good by themselves."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def refusal_of(fault: RuntimeFault) -> ImportRefused:
    """The refusal that a fault of reading means."""
    if isinstance(fault, UnsafeFile):
        return ImportRefused(RefusalCode.UNSAFE_FILE, str(fault))
    if isinstance(fault, WeightsCorrupt):
        return ImportRefused(RefusalCode.WEIGHTS_CORRUPT, str(fault))
    if isinstance(fault, NotWeights):
        return ImportRefused(RefusalCode.NOT_WEIGHTS, str(fault))
    if isinstance(fault, NotRecognised):
        return ImportRefused(RefusalCode.NOT_RECOGNISED, str(fault))
    return ImportRefused(RefusalCode.UNSUPPORTED_MODEL, str(fault))
