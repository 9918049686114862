"""What a file or folder of weights is, from headers and configuration files alone. Milliseconds; no torch.

The rules live in `identification`, one page a subject. A rule answers None for what is not its own and raises
WeightsCorrupt for what is its own but broken, so that a torn download is not called unknown.
"""

from __future__ import annotations

from pathlib import Path

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification import rules
from gpu_runtime.weights.identification.folders import identify_folder
from gpu_runtime.weights.identification.onnx_files import identify_onnx
from gpu_runtime.weights.identification.reading import open_file
from gpu_runtime.weights.onnx_header import SUFFIX as ONNX
from gpu_runtime.weights.taxonomy import Identified


def identify(path: Path) -> Identified:
    """What the weights are: kind, family, variant, parts, and what they say about themselves.

    `path` is a file or a folder. No tensor is read and nothing in the files is executed. Raises NotRecognised
    for what is of no known architecture, NotWeights, which is one of these, for what is no weights at all,
    WeightsCorrupt for known weights that are incomplete or damaged, UnsafeFile for pickles that contain more
    than weights; OSError where a file cannot be read.
    """
    if path.is_dir():
        return identify_folder(path)
    if not path.is_file():
        raise NotRecognised(f"{path.name} is neither a file nor a folder")
    if path.suffix.lower() == ONNX:
        return identify_onnx(path)
    return rules.apply(open_file(path))
