"""The globals that a file of weights may mention, and what each may be called with.

Every rebuild function here is ours: it checks the arguments against what torch writes and returns facts. A
name that is missing here is refused, whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gpu_runtime.errors import UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.tensor_facts import DTYPE_BITS, MAX_RANK, MAX_SIDE, TensorFacts

Plain: TypeAlias = Any
"""A value of a pickle: numbers, text, containers of them, a class below. Any: the type is recursive."""


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A class or function the pickle mentions; never imported."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """Numbers that one or several tensors look into."""

    dtype: str
    """A key of DTYPE_BITS; "U8" for untyped bytes."""
    key: str
    elements: int

    @property
    def size_bytes(self) -> int:
        return self.elements * DTYPE_BITS[self.dtype] // 8


class OrderedTable(dict[Any, Any]):
    """Stands for a collections.OrderedDict."""


@dataclass(slots=True)
class Opaque:
    """Something harmless whose value nobody needs."""

    what: str


_TORCH_DTYPES: Mapping[str, str] = {
    "Half": "F16",
    "BFloat16": "BF16",
    "Float": "F32",
    "Double": "F64",
    "Long": "I64",
    "Int": "I32",
    "Short": "I16",
    "Char": "I8",
    "Byte": "U8",
    "Bool": "BOOL",
    "ComplexFloat": "C64",
}

STORAGE_DTYPES: Mapping[str, str] = {
    **{f"torch.{name}Storage": dtype for name, dtype in _TORCH_DTYPES.items()},
    "torch.storage.UntypedStorage": "U8",
}
"""Storage classes by their dotted names."""

_DATA_TYPES: Mapping[str, str] = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}

INERT_NAMES = frozenset(
    {
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    }
)
"""Classes that Lightning's checkpoints name as dictionary keys and never make: the first releases of SD 1 do.
The machine refuses to call them; a loader gives the name a stand-in."""


def is_data_type(found: GlobalName) -> bool:
    """Whether it is a torch.dtype such as torch.float16."""
    return found.module == "torch" and found.name in _DATA_TYPES


def _wrong(where: str, function: str) -> UnsafeFile:
    return UnsafeFile(f"{where}: calls {function} with arguments torch does not write")


def _is_sizes(value: Plain) -> bool:
    return isinstance(value, tuple) and all(type(each) is int and 0 <= each <= MAX_SIDE for each in value)


def _tensor(
    where: str,
    function: str,
    storage: Plain,
    offset: Plain,
    size: Plain,
    stride: Plain,
    dtype: str | None = None,
) -> TensorFacts:
    """A view into a storage; refuses one that reaches beyond its end."""
    is_sound = isinstance(storage, StorageFacts) and type(offset) is int and offset >= 0
    if not is_sound or not _is_sizes(size) or not _is_sizes(stride) or len(size) != len(stride):
        raise _wrong(where, function)
    if len(size) > MAX_RANK:
        raise WeightsCorrupt(f"{where}: a tensor has {len(size)} dimensions")
    facts = TensorFacts(dtype or storage.dtype, size)
    if facts.elements:
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if (last + 1) * DTYPE_BITS[facts.dtype] > 8 * storage.size_bytes:
            raise WeightsCorrupt(
                f"{where}: a tensor of shape {size} reaches beyond its {storage.elements} numbers"
            )
    return facts


def _rebuild_tensor(arguments: tuple[Plain, ...], where: str) -> TensorFacts:
    if len(arguments) != 4:
        raise _wrong(where, "_rebuild_tensor")
    storage, offset, size, stride = arguments
    return _tensor(where, "_rebuild_tensor", storage, offset, size, stride)


def _rebuild_tensor_v2(arguments: tuple[Plain, ...], where: str) -> TensorFacts:
    if len(arguments) not in (6, 7) or not _is_unhooked(arguments[4], arguments[5]):
        raise _wrong(where, "_rebuild_tensor_v2")
    storage, offset, size, stride = arguments[:4]
    return _tensor(where, "_rebuild_tensor_v2", storage, offset, size, stride)


def _rebuild_tensor_v3(arguments: tuple[Plain, ...], where: str) -> TensorFacts:
    if len(arguments) not in (7, 8) or not _is_unhooked(arguments[4], arguments[5]):
        raise _wrong(where, "_rebuild_tensor_v3")
    kind = arguments[6]
    if not isinstance(kind, GlobalName) or not is_data_type(kind):
        raise _wrong(where, "_rebuild_tensor_v3")
    storage, offset, size, stride = arguments[:4]
    return _tensor(where, "_rebuild_tensor_v3", storage, offset, size, stride, _DATA_TYPES[kind.name])


def _rebuild_parameter(arguments: tuple[Plain, ...], where: str) -> TensorFacts:
    if len(arguments) != 3 or not isinstance(arguments[0], TensorFacts) or not _is_unhooked(*arguments[1:]):
        raise _wrong(where, "_rebuild_parameter")
    return arguments[0]


def _is_unhooked(requires_grad: Plain, hooks: Plain) -> bool:
    """Hooks are functions torch would call later; files of weights have none."""
    return isinstance(requires_grad, bool) and isinstance(hooks, OrderedTable) and not hooks


def _ordered_table(arguments: tuple[Plain, ...], where: str) -> OrderedTable:
    if not arguments:
        return OrderedTable()
    pairs = arguments[0]
    if len(arguments) != 1 or not isinstance(pairs, list) or not all(_is_pair(each) for each in pairs):
        raise _wrong(where, "collections.OrderedDict")
    return OrderedTable((key, value) for key, value in pairs)


def _is_pair(value: Plain) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _size(arguments: tuple[Plain, ...], where: str) -> tuple[int, ...]:
    if len(arguments) != 1 or not _is_sizes(arguments[0]):
        raise _wrong(where, "torch.Size")
    return tuple(arguments[0])


def _device(arguments: tuple[Plain, ...], where: str) -> Opaque:
    if (
        not arguments
        or not isinstance(arguments[0], str)
        or any(type(each) is not int for each in arguments[1:])
    ):
        raise _wrong(where, "torch.device")
    return Opaque("torch.device")


def _encode(arguments: tuple[Plain, ...], where: str) -> bytes:
    """How protocol 2 writes bytes: text, and the one encoding that maps it back byte by byte."""
    if len(arguments) != 2 or arguments[1] != "latin1" or not isinstance(arguments[0], str):
        raise _wrong(where, "_codecs.encode")
    try:
        return arguments[0].encode("latin-1")
    except UnicodeEncodeError as error:
        raise _wrong(where, "_codecs.encode") from error


def _numpy_dtype(arguments: tuple[Plain, ...], where: str) -> Opaque:
    kinds = {f"{letter}{size}" for letter in "fiu" for size in (1, 2, 4, 8)} | {"b1"}
    if (
        len(arguments) != 3
        or arguments[0] not in kinds
        or not all(isinstance(a, bool) for a in arguments[1:])
    ):
        raise _wrong(where, "numpy.dtype")
    return Opaque("numpy.dtype")


def _numpy_scalar(arguments: tuple[Plain, ...], where: str) -> Opaque:
    is_sound = len(arguments) == 2 and isinstance(arguments[0], Opaque) and isinstance(arguments[1], bytes)
    if not is_sound or arguments[0].what != "numpy.dtype":
        raise _wrong(where, "numpy's scalar")
    return Opaque("numpy scalar")


REBUILDERS: Mapping[str, Callable[[tuple[Plain, ...], str], Plain]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": _ordered_table,
    "torch.Size": _size,
    "torch.device": _device,
    "_codecs.encode": _encode,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
}
"""What may be called, by its dotted name."""

NUMPY_NAMES = frozenset(name for name in REBUILDERS if name.startswith("numpy"))
"""Allowed here with checked arguments; torch's own reader has to be told of them."""


def build(target: Plain, state: Plain, where: str) -> None:
    """Judge a BUILD: a state dict's version table, or the fixed state of a numpy type."""
    if isinstance(target, OrderedTable):
        if not isinstance(state, dict) or set(state) != {"_metadata"}:
            raise UnsafeFile(f"{where}: sets attributes that a state dict does not have")
    elif isinstance(target, Opaque) and target.what == "numpy.dtype":
        is_plain = isinstance(state, tuple) and all(
            each is None or isinstance(each, int) or each in ("<", "|", "=") for each in state
        )
        if not is_plain:
            raise UnsafeFile(f"{where}: builds a numpy type with more than its size and byte order")
    else:
        raise UnsafeFile(f"{where}: sets the state of {_described(target)}, which weights never need")


def _described(target: Plain) -> str:
    return target.dotted if isinstance(target, GlobalName) else type(target).__name__
