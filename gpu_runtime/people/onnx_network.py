"""ONNX files of one picture in, arrays out, on the CPU. Knows nothing about what the arrays mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gpu_runtime.errors import WeightsCorrupt

Floats = NDArray[np.float32]


def open_session(file: Path) -> Any:
    """onnxruntime's, untyped. Raises WeightsCorrupt."""
    options = onnxruntime.SessionOptions()
    # Threads that spin between calls would take the cores from whatever else this machine serves.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(file), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's faults share no base class
        raise WeightsCorrupt(f"{file} cannot be opened as an ONNX file: {error}") from error


class OnnxNetwork:
    """A file that takes one float32 array [1, side, side, 3]."""

    def __init__(self, file: Path) -> None:
        self._session = open_session(file)
        self._input = self._session.get_inputs()[0].name

    def run(self, image: Floats) -> list[Floats]:
        """Outputs in the file's order, for an image of shape [side, side, 3]."""
        outputs: list[Floats] = self._session.run(None, {self._input: np.ascontiguousarray(image[None])})
        return outputs
