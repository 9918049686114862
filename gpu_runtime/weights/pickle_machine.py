"""Follows the opcodes of a pickle that torch.save wrote, without making any object but plain ones.

Nothing is imported, called or built: a global becomes a name, a tensor its facts. Only the opcodes torch
itself uses for state dicts are known, only functions in `pickle_allowed` may be "called", with exactly the
arguments torch writes. Whatever else appears is refused by name, at the place where it appears, so a
harmless-looking end or a deliberately broken one changes nothing.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from gpu_runtime.errors import UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.pickle_allowed import (
    INERT_NAMES,
    REBUILDERS,
    STORAGE_DTYPES,
    GlobalName,
    OrderedTable,
    Plain,
    StorageFacts,
    build,
    is_data_type,
)
from gpu_runtime.weights.tensor_facts import MAX_SIDE

MAX_PICKLE_BYTES = 64_000_000
"""A state dict of MAX_TENSORS takes a third of it."""

MAX_OPCODES = 10_000_000
MAX_MEMO = 2_000_000
MAX_DEPTH = 64
"""Marks that may be open at once; torch needs about 5."""

_OPCODE_NAMES = {opcode.code.encode("latin-1")[0]: opcode.name for opcode in pickletools.opcodes}


class PickleMachine:
    """One pickle inside `data`. `run` leaves `position` behind its STOP."""

    def __init__(self, data: bytes, *, position: int = 0, where: str) -> None:
        self.position = position
        self.globals: set[str] = set()
        """Dotted names the pickle mentions; all of them allowed."""
        self.storages: dict[str, StorageFacts] = {}
        self._data = data
        self._where = where
        self._stack: list[Any] = []  # plain values, and the marker classes of pickle_allowed
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the pickle describes: plain values, TensorFacts, StorageFacts, GlobalName.

        Raises UnsafeFile for what could run code and WeightsCorrupt for what is merely damaged.
        """
        data, handlers = self._data, _HANDLERS
        if data[self.position : self.position + 2] != b"\x80\x02":
            raise UnsafeFile(f"{self._where}: no pickle of protocol 2, which is what torch writes")
        self.position += 2
        try:
            for _ in range(MAX_OPCODES):
                code = data[self.position]
                self.position += 1
                if code == 0x2E:  # STOP
                    return self._result()
                handler = handlers.get(code)
                if handler is None:
                    self._refuse_opcode(code)
                handler(self)  # type: ignore[misc]  # _refuse_opcode never returns
        except IndexError as error:
            raise WeightsCorrupt(
                f"{self._where}: the pickle ends in the middle or takes what is not there"
            ) from error
        except (struct.error, UnicodeDecodeError, TypeError) as error:
            raise WeightsCorrupt(f"{self._where}: the pickle is damaged: {error}") from error
        raise UnsafeFile(f"{self._where}: the pickle has more than {MAX_OPCODES} opcodes")

    def _result(self) -> Any:
        if self._marks or len(self._stack) != 1:
            raise UnsafeFile(f"{self._where}: the pickle leaves {len(self._stack)} values on its stack")
        return self._stack[0]

    def _refuse_opcode(self, code: int) -> None:
        name = _OPCODE_NAMES.get(code, f"0x{code:02x}")
        raise UnsafeFile(f"{self._where}: contains the pickle opcode {name}, which weights never need")

    def _take(self, count: int) -> bytes:
        start = self.position
        taken = self._data[start : start + count]
        if len(taken) != count:
            raise WeightsCorrupt(f"{self._where}: the pickle is truncated")
        self.position = start + count
        return taken

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + 512)
        if end < 0:
            raise UnsafeFile(f"{self._where}: contains a global whose name has no end")
        line = self._data[self.position : end]
        self.position = end + 1
        try:
            return line.decode("ascii")
        except UnicodeDecodeError as error:
            raise UnsafeFile(f"{self._where}: contains a global whose name is not plain text") from error

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def mark(self) -> None:
        if len(self._marks) >= MAX_DEPTH:
            raise UnsafeFile(f"{self._where}: the pickle is nested deeper than {MAX_DEPTH} levels")
        self._marks.append(self._stack)
        self._stack = []

    def global_name(self) -> None:
        module, name = self._line(), self._line()
        dotted = f"{module}.{name}"
        found = GlobalName(module, name)
        if not (
            dotted in REBUILDERS or dotted in INERT_NAMES or dotted in STORAGE_DTYPES or is_data_type(found)
        ):
            raise UnsafeFile(f"{self._where}: contains {dotted[:200]}, which weights never need")
        self.globals.add(dotted)
        self._stack.append(found)

    def reduce(self) -> None:
        arguments = self._stack.pop()
        function = self._stack.pop()
        rebuild = REBUILDERS.get(function.dotted) if isinstance(function, GlobalName) else None
        if rebuild is None:
            called = function.dotted if isinstance(function, GlobalName) else type(function).__name__
            raise UnsafeFile(f"{self._where}: calls {called[:200]}, which weights never need")
        if not isinstance(arguments, tuple):
            raise UnsafeFile(f"{self._where}: calls {function.dotted} with no tuple of arguments")
        self._stack.append(rebuild(arguments, self._where))

    def build_state(self) -> None:
        state = self._stack.pop()
        build(self._stack[-1], state, self._where)

    def persistent(self) -> None:
        pid = self._stack.pop()
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise UnsafeFile(f"{self._where}: contains a persistent id that is no tensor storage")
        kind, key, location, elements = pid[1:5]
        if not (isinstance(kind, GlobalName) and kind.dotted in STORAGE_DTYPES):
            raise UnsafeFile(f"{self._where}: contains a storage that torch does not have")
        is_sound = isinstance(key, str) and isinstance(location, str) and type(elements) is int
        if not is_sound or not 0 <= elements <= MAX_SIDE or pid[5:] not in ((), (None,)):
            raise WeightsCorrupt(f"{self._where}: describes a storage in a way torch does not")
        storage = StorageFacts(STORAGE_DTYPES[kind.dotted], key, elements)
        if self.storages.setdefault(key, storage) != storage:
            raise UnsafeFile(f"{self._where}: describes the storage {key[:40]!r} in two ways")
        self._stack.append(storage)

    def put(self, index: int) -> None:
        if index in self._memo:
            raise UnsafeFile(f"{self._where}: writes the memo entry {index} twice")
        if len(self._memo) >= MAX_MEMO:
            raise UnsafeFile(f"{self._where}: has more than {MAX_MEMO} memo entries")
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise UnsafeFile(f"{self._where}: reads the memo entry {index}, which was never written")
        self._stack.append(self._memo[index])

    def append_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise UnsafeFile(f"{self._where}: appends to something that is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedTable) or len(items) % 2:
            raise UnsafeFile(f"{self._where}: sets items of something that is no dictionary")
        target.update(zip(items[::2], items[1::2], strict=True))

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def number(self, form: str, count: int) -> int:
        value: int = struct.unpack(form, self._take(count))[0]
        return value

    def real(self) -> float:
        value: float = struct.unpack(">d", self._take(8))[0]
        return value

    def text(self, count: int) -> str:
        return self._take(count).decode("utf-8", "surrogatepass")

    def long(self) -> int:
        return int.from_bytes(self._take(self._take(1)[0]), "little", signed=True)


def _pop_two(machine: PickleMachine) -> list[Plain]:
    value, key = machine._stack.pop(), machine._stack.pop()
    return [key, value]


# The opcodes torch writes, and those its own restricted reader knows; nothing else.
_HANDLERS: dict[int, Callable[[PickleMachine], None]] = {
    ord("("): PickleMachine.mark,
    ord("c"): PickleMachine.global_name,
    ord("R"): PickleMachine.reduce,
    ord("b"): PickleMachine.build_state,
    ord("Q"): PickleMachine.persistent,
    ord("q"): lambda m: m.put(m._take(1)[0]),
    ord("r"): lambda m: m.put(m.number("<I", 4)),
    ord("h"): lambda m: m.get(m._take(1)[0]),
    ord("j"): lambda m: m.get(m.number("<I", 4)),
    ord("X"): lambda m: m.push(m.text(m.number("<I", 4))),
    ord("U"): lambda m: m.push(m._take(m._take(1)[0]).decode("latin-1")),
    ord("K"): lambda m: m.push(m._take(1)[0]),
    ord("M"): lambda m: m.push(m.number("<H", 2)),
    ord("J"): lambda m: m.push(m.number("<i", 4)),
    ord("G"): lambda m: m.push(m.real()),
    0x8A: lambda m: m.push(m.long()),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("N"): lambda m: m.push(None),
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("t"): lambda m: m.push(tuple(m._pop_mark())),
    ord("a"): lambda m: m.append_items([m._stack.pop()]),
    ord("e"): lambda m: m.append_items(m._pop_mark()),
    ord("s"): lambda m: m.set_items(_pop_two(m)),
    ord("u"): lambda m: m.set_items(m._pop_mark()),
}
