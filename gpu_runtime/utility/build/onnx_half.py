"""Halves an ONNX file: weights are stored as float16 and cast back to float32 when the file is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 64
"""Numbers below which a constant is left alone: shapes, scales, epsilons."""


def halve(source: Path) -> onnx.ModelProto:
    """The same graph with float16 weights, checked."""
    model = onnx.load(str(source))
    kept, casts = [], []
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if array.dtype != np.float32 or array.size < SMALL:
            kept.append(initializer)
            continue
        stored = f"{initializer.name}__half"
        kept.append(numpy_helper.from_array(array.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [initializer.name], to=TensorProto.FLOAT))
    stored_names = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored_names]
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.input[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    model.graph.input.extend(inputs)
    onnx.checker.check_model(model, full_check=True)
    return model
