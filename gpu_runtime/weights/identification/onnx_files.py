"""What an ONNX file is, from its header: a cut-out network, or one that restores faces."""

from __future__ import annotations

from pathlib import Path

from gpu_runtime.errors import NotWeights
from gpu_runtime.weights.identification import cut_outs, restorers
from gpu_runtime.weights.identification.sniff import SAMPLE_BYTES, not_weights
from gpu_runtime.weights.onnx_header import read_onnx_header
from gpu_runtime.weights.taxonomy import Identified


def identify_onnx(file: Path) -> Identified:
    """Raises NotRecognised for an ONNX file of anything else, NotWeights, WeightsCorrupt, UnsafeFile."""
    with file.open("rb") as stream:
        if what := not_weights(stream.read(SAMPLE_BYTES)):
            raise NotWeights(f"{file.name} is {what}")
    header = read_onnx_header(file)
    return restorers.claim(file, header) or cut_outs.identified(file, header)
