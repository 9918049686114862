"""TensorFlow Lite to ONNX for the operators of MediaPipe's models.

Images stay channels-last at the model's inputs and outputs, as MediaPipe feeds them, and are channels-first
in between. Weights are stored as float16, which is how MediaPipe publishes them, and computed in float32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

from gpu_runtime.utility.build.tflite_graph import Array, Graph, Operator, read_graph

OPSET = 17
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
ACTIVATIONS: dict[int, tuple[str, dict[str, object]]] = {
    tflite.ActivationFunctionType.RELU: ("Relu", {}),
    tflite.ActivationFunctionType.TANH: ("Tanh", {}),
}


def convert(source: Path) -> onnx.ModelProto:
    """The model as ONNX, checked. Raises ValueError for an operator that is not known here."""
    return _Converter(read_graph(source), source.stem).model()


class _Converter:
    def __init__(self, graph: Graph, name: str) -> None:
        self._graph = graph
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._counter = 0
        self._rules: dict[str, Callable[[Operator], str]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._depthwise,
            "Convolution2DTransposeBias": self._transposed_convolution,
            "MAX_POOL_2D": lambda op: self._pool(op, "MaxPool"),
            "AVERAGE_POOL_2D": lambda op: self._pool(op, "AveragePool"),
            "ADD": lambda op: self._binary(op, "Add"),
            "MUL": lambda op: self._binary(op, "Mul"),
            "RELU": lambda op: self._simple(op, "Relu"),
            "LOGISTIC": lambda op: self._simple(op, "Sigmoid"),
            "HARD_SWISH": lambda op: self._simple(op, "HardSwish"),
            "PRELU": self._prelu,
            "PAD": self._pad,
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
            "RESHAPE": self._reshape,
            "CONCATENATION": self._concatenation,
        }

    def model(self) -> onnx.ModelProto:
        graph = self._graph
        for tensor in graph.inputs:
            self._node("Transpose", [f"{self._public(tensor)}"], _inner(tensor), perm=TO_FIRST)
        for operator in graph.operators:
            if operator.name not in self._rules:
                raise ValueError(f"operator {operator.name} of {self._name} is not known here")
            made = self._rules[operator.name](operator)
            self._node("Identity", [made], _inner(operator.outputs[0]))
        for tensor in graph.outputs:
            if len(graph.shapes[tensor]) == 4:
                self._node("Transpose", [_inner(tensor)], self._public(tensor), perm=TO_LAST)
            else:
                self._node("Identity", [_inner(tensor)], self._public(tensor))
        built = helper.make_graph(
            self._nodes,
            self._name,
            [self._value(tensor) for tensor in graph.inputs],
            [self._value(tensor) for tensor in graph.outputs],
            self._initializers,
        )
        model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model

    # Each rule adds nodes and answers with the name of the tensor that the operator makes.

    def _convolution(self, op: Operator) -> str:
        kernel = self._graph.constants[op.inputs[1]]  # out, height, width, in
        options = op.options
        return self._convolve(op, kernel.transpose(0, 3, 1, 2), options, groups=1)

    def _depthwise(self, op: Operator) -> str:
        kernel = self._graph.constants[op.inputs[1]]  # 1, height, width, channels
        channels = self._graph.shapes[op.inputs[0]][3]
        return self._convolve(op, kernel.transpose(3, 0, 1, 2), op.options, groups=channels)

    def _convolve(self, op: Operator, kernel: Array, options: object, *, groups: int) -> str:
        strides = (options.StrideH(), options.StrideW())  # type: ignore[attr-defined]  # generated class
        dilations = (options.DilationHFactor(), options.DilationWFactor())  # type: ignore[attr-defined]
        pads = self._pads(op, kernel.shape[2:], strides, dilations, options.Padding())  # type: ignore[attr-defined]
        made = self._add(
            "Conv",
            [_inner(op.inputs[0]), self._weight(kernel), self._weight(self._graph.constants[op.inputs[2]])],
            group=groups,
            strides=strides,
            dilations=dilations,
            pads=pads,
        )
        return self._activated(made, options.FusedActivationFunction())  # type: ignore[attr-defined]

    def _transposed_convolution(self, op: Operator) -> str:
        """MediaPipe's own operator; its settings are three integers: padding, stride x, stride y."""
        kernel = self._graph.constants[op.inputs[1]]  # out, height, width, in
        _padding, stride_x, stride_y = struct.unpack_from("<iii", op.options)
        return self._add(
            "ConvTranspose",
            [
                _inner(op.inputs[0]),
                self._weight(kernel.transpose(3, 0, 1, 2)),
                self._weight(self._graph.constants[op.inputs[2]]),
            ],
            strides=(stride_y, stride_x),
        )

    def _pool(self, op: Operator, kind: str) -> str:
        options = op.options
        kernel = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        pads = self._pads(op, kernel, strides, (1, 1), options.Padding())
        made = self._add(kind, [_inner(op.inputs[0])], kernel_shape=kernel, strides=strides, pads=pads)
        return self._activated(made, options.FusedActivationFunction())

    def _binary(self, op: Operator, kind: str) -> str:
        made = self._add(kind, [self._operand(tensor) for tensor in op.inputs])
        return self._activated(made, op.options.FusedActivationFunction() if op.options else 0)

    def _simple(self, op: Operator, kind: str) -> str:
        return self._add(kind, [_inner(op.inputs[0])])

    def _prelu(self, op: Operator) -> str:
        slope = self._graph.constants[op.inputs[1]].reshape(-1, 1, 1)
        return self._add("PRelu", [_inner(op.inputs[0]), self._weight(slope)])

    def _pad(self, op: Operator) -> str:
        amounts = self._graph.constants[op.inputs[1]][list(TO_FIRST)]
        pads = np.concatenate([amounts[:, 0], amounts[:, 1]]).astype(np.int64)
        return self._add("Pad", [_inner(op.inputs[0]), self._whole(pads)], mode="constant")

    def _resize(self, op: Operator) -> str:
        batch, _, _, channels = self._graph.shapes[op.inputs[0]]
        high, wide = self._graph.constants[op.inputs[1]]
        mode = "asymmetric"
        if op.options.AlignCorners():
            mode = "align_corners"
        elif op.options.HalfPixelCenters():
            mode = "half_pixel"
        sizes = self._whole(np.array([batch, channels, high, wide], dtype=np.int64))
        return self._add(
            "Resize",
            [_inner(op.inputs[0]), "", "", sizes],
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    def _depth_to_space(self, op: Operator) -> str:
        return self._add("DepthToSpace", [_inner(op.inputs[0])], blocksize=op.options.BlockSize(), mode="DCR")

    def _reshape(self, op: Operator) -> str:
        name = _inner(op.inputs[0])
        if len(self._graph.shapes[op.inputs[0]]) == 4:
            name = self._add("Transpose", [name], perm=TO_LAST)
        shape = self._graph.shapes[op.outputs[0]]
        made = self._add("Reshape", [name, self._whole(np.array(shape, dtype=np.int64))])
        return self._add("Transpose", [made], perm=TO_FIRST) if len(shape) == 4 else made

    def _concatenation(self, op: Operator) -> str:
        axis = op.options.Axis()
        if len(self._graph.shapes[op.outputs[0]]) == 4:
            axis = TO_FIRST.index(axis % 4)
        return self._add("Concat", [_inner(tensor) for tensor in op.inputs], axis=axis)

    def _pads(
        self,
        op: Operator,
        kernel: tuple[int, ...],
        strides: tuple[int, int],
        dilations: tuple[int, int],
        padding: int,
    ) -> list[int]:
        """[top, left, bottom, right]: TensorFlow puts the odd pixel of "SAME" at the end."""
        if padding != tflite.Padding.SAME:
            return [0, 0, 0, 0]
        sides = self._graph.shapes[op.inputs[0]][1:3]
        totals = [
            max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
            for side, stride, size, dilation in zip(sides, strides, kernel, dilations, strict=True)
        ]
        before = [total // 2 for total in totals]
        return [*before, *(total - first for total, first in zip(totals, before, strict=True))]

    def _activated(self, name: str, activation: int) -> str:
        if activation == tflite.ActivationFunctionType.NONE:
            return name
        if activation == tflite.ActivationFunctionType.RELU6:
            limits = [self._weight(np.array(limit, dtype=np.float32)) for limit in (0.0, 6.0)]
            return self._add("Clip", [name, *limits])
        if activation not in ACTIVATIONS:
            raise ValueError(f"fused activation {activation} is not known here")
        kind, settings = ACTIVATIONS[activation]
        return self._add(kind, [name], **settings)

    def _operand(self, tensor: int) -> str:
        """An activation, or a constant that goes along the channels."""
        if tensor not in self._graph.constants:
            return _inner(tensor)
        constant = self._graph.constants[tensor]
        return self._weight(constant.reshape(-1, 1, 1) if constant.ndim else constant)

    def _weight(self, array: Array) -> str:
        """A constant as float16 with the cast that brings it back."""
        stored = self._constant(np.ascontiguousarray(array).astype(np.float16))
        return self._add("Cast", [stored], to=TensorProto.FLOAT)

    def _whole(self, array: Array) -> str:
        return self._constant(array.astype(np.int64))

    def _constant(self, array: Array) -> str:
        name = self._new("constant")
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, kind: str, inputs: list[str], **settings: object) -> str:
        name = self._new(kind.lower())
        self._node(kind, inputs, name, **settings)
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **settings: object) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **settings))

    def _new(self, stem: str) -> str:
        self._counter += 1
        return f"{stem}_{self._counter}"

    def _public(self, tensor: int) -> str:
        return self._graph.names[tensor]

    def _value(self, tensor: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            self._public(tensor), TensorProto.FLOAT, self._graph.shapes[tensor]
        )


def _inner(tensor: int) -> str:
    return f"t{tensor}"
