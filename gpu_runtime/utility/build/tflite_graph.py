"""A TensorFlow Lite model as plain values: operators in order, and every constant as an array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

Array = NDArray[Any]  # float32, float16 or int32, as the model says
DTYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
DTYPES |= {tflite.TensorType.INT32: np.int32}
OPERATOR_NAMES = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if not name.startswith("_")
}
FOLDED = frozenset({"DEQUANTIZE", "DENSIFY"})
"""Operators that only unpack weights: their outputs are constants here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator; tensors by number, -1 for an input that is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    """The schema's generated class for the operator's settings; bytes for a custom operator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The model's only subgraph."""

    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: Mapping[int, tuple[int, ...]]
    names: Mapping[int, str]
    constants: Mapping[int, Array]


def read_graph(file: Path) -> Graph:
    """Raises ValueError for a model with several subgraphs."""
    data = file.read_bytes()
    model = tflite.Model.GetRootAsModel(data, 0)
    if model.SubgraphsLength() != 1:
        raise ValueError(f"{file.name} has {model.SubgraphsLength()} subgraphs")
    sub = model.Subgraphs(0)
    tensors = [sub.Tensors(i) for i in range(sub.TensorsLength())]
    operators = [_operator(model, sub.Operators(i)) for i in range(sub.OperatorsLength())]
    constants = {i: _constant(model, tensor) for i, tensor in enumerate(tensors)}
    known = {i: array for i, array in constants.items() if array is not None}
    return Graph(
        operators=tuple(operator for operator in operators if operator.name not in FOLDED),
        inputs=tuple(int(i) for i in sub.InputsAsNumpy()),
        outputs=tuple(int(i) for i in sub.OutputsAsNumpy()),
        shapes={i: _shape(tensor) for i, tensor in enumerate(tensors)},
        names={i: tensor.Name().decode() for i, tensor in enumerate(tensors)},
        constants=known | _unpacked(data, operators, known),
    )


def _operator(model: Any, operator: Any) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    name = OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    options: Any = None
    if name == "CUSTOM":
        name, options = code.CustomCode().decode(), bytes(operator.CustomOptionsAsNumpy())
    elif operator.BuiltinOptions() is not None:
        options = _options(operator)
    return Operator(
        name=name,
        inputs=tuple(int(i) for i in operator.InputsAsNumpy()),
        outputs=tuple(int(i) for i in operator.OutputsAsNumpy()),
        options=options,
    )


def _options(operator: Any) -> Any:
    kinds = {number: name for name, number in vars(tflite.BuiltinOptions).items() if not name.startswith("_")}
    options = getattr(tflite, kinds[operator.BuiltinOptionsType()])()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()


def _constant(model: Any, tensor: Any) -> Array | None:
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    if isinstance(data, int) or tensor.Sparsity() is not None:
        return None
    return np.frombuffer(data.tobytes(), DTYPES[tensor.Type()]).reshape(_shape(tensor))


def _unpacked(data: bytes, operators: list[Operator], constants: Mapping[int, Array]) -> dict[int, Array]:
    """What the folded operators give."""
    folded = [operator for operator in operators if operator.name in FOLDED]
    if any(operator.name == "DENSIFY" for operator in folded):
        return _by_interpreter(data, folded)
    return {op.outputs[0]: constants[op.inputs[0]].astype(np.float32) for op in folded}


def _by_interpreter(data: bytes, folded: list[Operator]) -> dict[int, Array]:
    """Sparse weights, unpacked by the runtime that defines their format."""
    interpreter = Interpreter(
        model_content=data,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.invoke()
    return {op.outputs[0]: interpreter.get_tensor(op.outputs[0]).astype(np.float32) for op in folded}
