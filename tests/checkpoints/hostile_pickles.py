"""Pickles of published bypass shapes, written opcode by opcode. The tests' own process never loads one.

Each payload, where it can, makes the canary file when a plain unpickler loads it: `fires` says so, and a
control in a child process proves it.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROTO = b"\x80\x02"
STOP = b"."


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file."""

    name: str
    data: bytes
    says: str
    """Part of the refusal: the global, the opcode or the trick."""
    fires: bool = False
    """Whether a plain `pickle.load` makes the canary file."""


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def short_text(value: str) -> bytes:
    """Protocol 4's short unicode."""
    encoded = value.encode()
    return b"\x8c" + bytes([len(encoded)]) + encoded


def named(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """GLOBAL, arguments, REDUCE."""
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def plain(body: bytes) -> bytes:
    return PROTO + body + STOP


def hostile_pickles(canary: Path) -> Iterator[Hostile]:
    """Bare pickles; `wrapped` puts each into the containers of torch.save."""
    yield from _direct_calls(canary)
    yield from _indirect_calls(canary)
    yield from _other_opcodes(canary)
    yield from _computed_names(canary)
    yield from _hidden(canary)
    yield from _abused_rebuilders(canary)


def _direct_calls(canary: Path) -> Iterator[Hostile]:
    touch, script = text(f"touch {canary}"), text(f"open({str(canary)!r}, 'w').close()")
    argv = b"(" + text("touch") + text(str(canary)) + b"l"
    yield Hostile("os.system", plain(call("os", "system", touch)), "os.system", fires=True)
    yield Hostile("posix.system", plain(call("posix", "system", touch)), "posix.system", fires=True)
    yield Hostile("nt.system", plain(call("nt", "system", touch)), "nt.system")
    yield Hostile("os.popen", plain(call("os", "popen", touch)), "os.popen", fires=True)
    yield Hostile("os.execvp", plain(call("os", "execvp", text("touch"), argv)), "os.execvp", fires=True)
    yield Hostile("builtins.eval", plain(call("builtins", "eval", script)), "builtins.eval", fires=True)
    yield Hostile("builtins.exec", plain(call("builtins", "exec", script)), "builtins.exec", fires=True)
    yield Hostile(
        "builtins.open",
        plain(call("builtins", "open", text(str(canary)), text("w"))),
        "builtins.open",
        fires=True,
    )
    yield Hostile("python2 eval", plain(call("__builtin__", "eval", script)), "__builtin__.eval", fires=True)
    yield Hostile("python2 execfile", plain(call("__builtin__", "execfile", script)), "__builtin__.execfile")
    yield Hostile(
        "__import__", plain(call("builtins", "__import__", text("antigravity"))), "builtins.__import__"
    )
    yield Hostile(
        "importlib", plain(call("importlib", "import_module", text("this"))), "importlib.import_module"
    )
    yield Hostile(
        "runpy._run_code", plain(call("runpy", "_run_code", script, b"}")), "runpy._run_code", fires=True
    )
    yield Hostile("runpy.run_path", plain(call("runpy", "run_path", text(str(canary)))), "runpy.run_path")
    yield Hostile(
        "subprocess.Popen", plain(call("subprocess", "Popen", argv)), "subprocess.Popen", fires=True
    )
    yield Hostile(
        "subprocess.check_output",
        plain(call("subprocess", "check_output", argv)),
        "subprocess.check_output",
        fires=True,
    )
    yield Hostile(
        "subprocess.getoutput",
        plain(call("subprocess", "getoutput", touch)),
        "subprocess.getoutput",
        fires=True,
    )
    yield Hostile("pty.spawn", plain(call("pty", "spawn", argv)), "pty.spawn")
    yield Hostile(
        "webbrowser.open", plain(call("webbrowser", "open", text("http://localhost/"))), "webbrowser.open"
    )
    yield Hostile("ctypes.CDLL", plain(call("ctypes", "CDLL", text("libc.so.6"))), "ctypes.CDLL")
    yield Hostile(
        "socket", plain(call("socket", "create_connection", text("localhost"))), "socket.create_connection"
    )
    yield Hostile("shutil.rmtree", plain(call("shutil", "rmtree", text(str(canary)))), "shutil.rmtree")
    yield Hostile("pip.main", plain(call("pip", "main", b"]")), "pip.main")
    yield Hostile("pip internal", plain(call("pip._internal", "main", b"]")), "pip._internal.main")
    yield Hostile("torch.load", plain(call("torch", "load", text(str(canary)))), "torch.load")
    yield Hostile("torch.hub", plain(call("torch.hub", "load", text("a/b"), text("c"))), "torch.hub.load")
    yield Hostile(
        "torch.jit",
        plain(call("torch.jit.unsupported_tensor_ops", "execWrapper", script, b"}", b"}")),
        "torch.jit.unsupported_tensor_ops.execWrapper",
    )
    yield Hostile(
        "torch config",
        plain(call("torch.utils._config_module", "load_config", script)),
        "torch.utils._config_module.load_config",
    )


def _indirect_calls(canary: Path) -> Iterator[Hostile]:
    """Standard-library functions that run code for their callers: what block-lists forget."""
    script = text(f"open({str(canary)!r}, 'w').close()")
    yield Hostile(
        "timeit",
        plain(call("timeit", "timeit", script, text("pass"), named("time", "perf_counter"), b"K\x01")),
        "timeit.timeit",
        fires=True,
    )
    yield Hostile("cProfile.run", plain(call("cProfile", "run", script)), "cProfile.run", fires=True)
    yield Hostile(
        "profile.Profile.run", plain(call("profile", "Profile.run", b"N", script)), "profile.Profile.run"
    )
    yield Hostile("bdb.Bdb", plain(call("bdb", "Bdb") + b"0" + script), "bdb.Bdb")
    yield Hostile("trace.Trace", plain(call("trace", "Trace.run", b"N", script)), "trace.Trace.run")
    yield Hostile("code.interact", plain(call("code", "interact", text(""))), "code.interact")
    yield Hostile(
        "code.InteractiveInterpreter",
        plain(call("code", "InteractiveInterpreter")),
        "code.InteractiveInterpreter",
    )
    yield Hostile("doctest", plain(call("doctest", "debug_script", script)), "doctest.debug_script")
    yield Hostile(
        "idlelib",
        plain(call("idlelib.pyshell", "ModifiedInterpreter.runcommand", b"N", script)),
        "idlelib.pyshell",
    )
    yield Hostile(
        "idlelib autocomplete",
        plain(call("idlelib.autocomplete", "AutoComplete.get_entity", b"N", script)),
        "idlelib.autocomplete",
    )
    yield Hostile(
        "lib2to3",
        plain(call("lib2to3.pgen2.grammar", "Grammar.loads", b"N", script)),
        "lib2to3.pgen2.grammar",
    )
    yield Hostile(
        "logging.config",
        plain(call("logging.config", "_resolve", text("os.system"))),
        "logging.config._resolve",
    )
    yield Hostile(
        "numpy.testing",
        plain(call("numpy.testing._private.utils", "runstring", script, b"}")),
        "numpy.testing._private.utils.runstring",
    )
    yield Hostile(
        "asyncio",
        plain(call("asyncio.unix_events", "_UnixSubprocessTransport._start", b"}", text("x"))),
        "asyncio.unix_events",
    )
    yield Hostile(
        "distutils",
        plain(call("distutils.file_util", "write_file", text(str(canary)), b"]")),
        "distutils.file_util.write_file",
    )
    yield Hostile(
        "operator.attrgetter", plain(call("operator", "attrgetter", text("system"))), "operator.attrgetter"
    )
    yield Hostile(
        "operator.methodcaller",
        plain(call("operator", "methodcaller", text("system"), text("id"))),
        "operator.methodcaller",
    )
    yield Hostile(
        "functools.partial",
        plain(call("functools", "partial", named("os", "system"), text(f"touch {canary}"))),
        "functools.partial",
    )
    yield Hostile(
        "functools.reduce",
        plain(call("functools", "reduce", named("builtins", "getattr"), b"]")),
        "functools.reduce",
    )
    yield Hostile(
        "itertools map",
        plain(call("builtins", "map", named("builtins", "eval"), b"(" + script + b"l")),
        "builtins.map",
    )
    yield Hostile(
        "types.FunctionType", plain(call("types", "FunctionType", b"N", b"}")), "types.FunctionType"
    )
    yield Hostile(
        "copyreg",
        plain(call("copyreg", "_reconstructor", named("os", "system"), named("builtins", "object"), b"N")),
        "copyreg._reconstructor",
    )
    yield Hostile(
        "copyreg extension",
        plain(call("copyreg", "add_extension", text("os"), text("system"), b"K\x01")),
        "copyreg.add_extension",
    )
    yield Hostile(
        "pickle.loads",
        plain(call("pickle", "loads", call("_codecs", "encode", text("cos\nsystem\n."), text("latin1")))),
        "pickle.loads",
    )
    yield Hostile("marshal", plain(call("marshal", "loads", text("x"))), "marshal.loads")


def _other_opcodes(canary: Path) -> Iterator[Hostile]:
    touch = text(f"touch {canary}")
    old = f"(S'touch {canary}'\nios\nsystem\n.".encode()
    yield Hostile("INST", plain(b"(" + touch + b"ios\nsystem\n"), "INST", fires=True)
    yield Hostile("INST of protocol 0", old, "protocol 2", fires=True)
    yield Hostile("protocol 0", f"cos\nsystem\n(S'touch {canary}'\ntR.".encode(), "protocol 2", fires=True)
    yield Hostile("OBJ", plain(b"(" + named("collections", "OrderedDict") + b"o"), "OBJ")
    yield Hostile("NEWOBJ", plain(named("collections", "OrderedDict") + b")\x81"), "NEWOBJ")
    yield Hostile("NEWOBJ_EX", b"\x80\x04" + named("collections", "OrderedDict") + b")}\x92.", "protocol 2")
    yield Hostile(
        "NEWOBJ_EX in protocol 2", plain(named("collections", "OrderedDict") + b")}\x92"), "NEWOBJ_EX"
    )
    for code, name in ((b"\x82\x01", "EXT1"), (b"\x83\x01\x00", "EXT2"), (b"\x84\x01\x00\x00\x00", "EXT4")):
        yield Hostile(name, plain(code), name)
    yield Hostile("PERSID", plain(b"Pos.system\n"), "PERSID")
    yield Hostile("BINPERSID of text", plain(text("os.system") + b"Q"), "persistent id")
    yield Hostile("BINPERSID of another kind", plain(b"(" + text("module") + b"NNNNtQ"), "persistent id")
    yield Hostile("BYTEARRAY8", plain(b"\x96" + struct.pack("<Q", 1) + b"x"), "BYTEARRAY8")
    yield Hostile("NEXT_BUFFER", plain(b"\x97"), "NEXT_BUFFER")
    yield Hostile("FRAME", plain(b"\x95" + struct.pack("<Q", 1) + b"N"), "FRAME")
    yield Hostile("DUP", plain(b"N2"), "DUP")
    yield Hostile("POP", plain(b"NN0"), "POP")
    yield Hostile("POP_MARK", plain(b"N(N1"), "POP_MARK")
    yield Hostile("FROZENSET", plain(b"(N\x91"), "FROZENSET")
    yield Hostile("DICT", plain(b"(" + text("a") + b"Nd"), "DICT")
    yield Hostile("second PROTO", plain(PROTO + b"N"), "PROTO")


def _computed_names(canary: Path) -> Iterator[Hostile]:
    touch = text(f"touch {canary}")
    arguments = b"(" + touch + b"tR"
    stack = short_text("os") + short_text("system") + b"\x93" + arguments
    yield Hostile("STACK_GLOBAL", b"\x80\x04" + stack + b".", "protocol 2", fires=True)
    yield Hostile(
        "STACK_GLOBAL in protocol 2",
        plain(text("os") + text("system") + b"\x93" + arguments),
        "STACK_GLOBAL",
        fires=True,
    )
    memoised = text("system") + b"q\x00" + text("os") + b"h\x00\x93" + arguments
    yield Hostile("STACK_GLOBAL by memo", plain(b"N" + memoised + b"\x86"), "STACK_GLOBAL")
    joined = call("builtins", "getattr", text("x"), text("join"))
    yield Hostile("name made at load time", plain(joined + text("os") + b"\x93"), "builtins.getattr")
    yield Hostile(
        "attribute of a module",
        b"\x80\x04" + named("torch.serialization", "os.system") + arguments + b".",
        "protocol 2",
    )
    yield Hostile(
        "attribute of a module in protocol 2",
        plain(named("torch.serialization", "os.system") + arguments),
        "torch.serialization.os.system",
    )
    yield Hostile(
        "attribute of an allowed class",
        plain(call("collections", "OrderedDict.__init__", b")")),
        "collections.OrderedDict.__init__",
    )
    yield Hostile(
        "dunder chain", plain(call("builtins", "object.__subclasses__")), "builtins.object.__subclasses__"
    )
    yield Hostile(
        "allowed name of another module",
        plain(call("torch._utils.os", "system", touch)),
        "torch._utils.os.system",
    )
    yield Hostile(
        "dots moved between the names",
        plain(named("torch", "_utils._rebuild_tensor_v2.__globals__")),
        "__globals__",
    )
    yield Hostile("homoglyph", plain(b"c\xd0\xbes\nsystem\n"), "not plain text")
    yield Hostile("endless name", plain(b"c" + b"a" * 2000), "has no end")
    yield Hostile(
        "memo written twice", plain(named("collections", "OrderedDict") + b"q\x00N" + b"q\x00\x86"), "twice"
    )
    yield Hostile("memo never written", plain(b"h\x07"), "never written")


def _hidden(canary: Path) -> Iterator[Hostile]:
    """The same calls where a reader may not look."""
    touch = call("os", "system", text(f"touch {canary}"))
    good = b"}" + text("weight") + b"Ns"
    yield Hostile("after STOP", plain(good) + plain(touch), "follows the end")
    yield Hostile("before an error", PROTO + touch + b"\xff\xff", "os.system", fires=True)
    yield Hostile("before the end of the file", PROTO + touch, "os.system", fires=True)
    yield Hostile("as a key", plain(b"}" + touch + b"Ns"), "os.system", fires=True)
    yield Hostile("deep in lists", plain(b"]" * 40 + touch + b"a" * 40), "os.system", fires=True)
    yield Hostile(
        "in the state of a dictionary",
        plain(call("collections", "OrderedDict") + b"}" + text("_metadata") + touch + b"sb"),
        "os.system",
        fires=True,
    )
    yield Hostile(
        "BUILD with methods",
        plain(call("collections", "OrderedDict") + b"}" + text("__setstate__") + b"Nsb"),
        "sets attributes",
    )
    yield Hostile(
        "BUILD of a class",
        plain(named("collections", "OrderedDict") + b"}" + text("__reduce__") + b"Nsb"),
        "sets the state of",
    )
    yield Hostile("BUILD of a list", plain(b"]}b"), "sets the state of")
    yield Hostile("left on the stack", plain(touch + good), "os.system", fires=True)
    yield Hostile("two values on the stack", plain(good + good), "values on its stack")
    yield Hostile("appended to a dictionary", plain(b"}Na"), "no list")
    yield Hostile("items of a list", plain(b"]" + text("x") + b"Ns"), "no dictionary")
    yield Hostile("nested deeper than anything", plain(b"(" * 5000), "nested deeper")


def _storage(kind: bytes = named("torch", "FloatStorage"), elements: int = 4) -> bytes:
    return b"(" + text("storage") + kind + text("0") + text("cpu") + b"K" + bytes([elements]) + b"tQ"


def _abused_rebuilders(canary: Path) -> Iterator[Hostile]:
    """Allowed functions with arguments torch never writes."""
    shape = b"K\x02\x85K\x01\x85"
    table = call("collections", "OrderedDict")
    full = b"}" + text("hook") + named("os", "system") + b"s"
    yield Hostile("storage of another class", plain(_storage(named("os", "system"))), "os.system")
    yield Hostile(
        "storage named by a type",
        plain(_storage(named("torch", "float16"))),
        "storage that torch does not have",
    )
    yield Hostile(
        "hooks",
        plain(call("torch._utils", "_rebuild_tensor_v2", _storage(), b"K\x00", shape, b"\x89", full)),
        "os.system",
    )
    yield Hostile(
        "hooks of text",
        plain(call("torch._utils", "_rebuild_tensor_v2", _storage(), b"K\x00", shape, b"\x89", b"}")),
        "_rebuild_tensor_v2",
    )
    yield Hostile(
        "call of a storage class", plain(call("torch", "FloatStorage", b"K\x04")), "torch.FloatStorage"
    )
    yield Hostile("call of a type", plain(call("torch", "float16")), "torch.float16")
    yield Hostile("call of text", plain(text("os.system") + b")R"), "calls str")
    yield Hostile("call of a table", plain(table + b")R"), "calls OrderedTable")
    yield Hostile(
        "arguments that are no tuple", plain(named("collections", "OrderedDict") + b"]R"), "no tuple"
    )
    yield Hostile(
        "Lightning's callback made",
        plain(call("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")),
        "calls pytorch_lightning",
    )
    yield Hostile(
        "numpy object type", plain(call("numpy", "dtype", text("O8"), b"\x89", b"\x88")), "numpy.dtype"
    )
    yield Hostile(
        "numpy reconstruct", plain(call("numpy.core.multiarray", "_reconstruct", b"N")), "_reconstruct"
    )
    yield Hostile(
        "codecs with another encoding",
        plain(call("_codecs", "encode", text("x"), text("zlib"))),
        "_codecs.encode",
    )
    yield Hostile(
        "codecs.decode", plain(call("_codecs", "decode", text("x"), text("pickle"))), "_codecs.decode"
    )
    yield Hostile(
        "nested torch file",
        plain(call("torch.storage", "_load_from_bytes", text("x"))),
        "torch.storage._load_from_bytes",
    )
    yield Hostile(
        "tensor from numpy",
        plain(call("torch._utils", "_rebuild_device_tensor_from_numpy", b"N")),
        "_rebuild_device_tensor_from_numpy",
    )
    yield Hostile(
        "type rebuilt with state",
        plain(call("torch._tensor", "_rebuild_from_type_v2", named("os", "system"), b"N")),
        "torch._tensor._rebuild_from_type_v2",
    )
    yield Hostile(
        "parameter dictionary",
        plain(call("torch.nn.modules.container", "ParameterDict")),
        "torch.nn.modules.container.ParameterDict",
    )
    yield Hostile(
        "one storage in two ways", plain(_storage() + _storage(elements=9) + b"\x86"), "in two ways"
    )


def in_zip(pickle: bytes, *, change: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    """A zip as torch.save writes it, with this pickle; `change` may add entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(16))
        if change is not None:
            change(archive)
    return buffer.getvalue()


def in_legacy(pickle: bytes) -> bytes:
    """A file of torch.save's older format with this pickle in its place."""
    magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
    system = b"}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + b"\x88" + b"u"
    return plain(magic) + plain(b"M\xe9\x03") + plain(system) + pickle + plain(b"]")


GOOD_PICKLE = plain(
    b"}"
    + text("weight")
    + call(
        "torch._utils",
        "_rebuild_tensor_v2",
        _storage(),
        b"K\x00",
        b"K\x02K\x02\x86",
        b"K\x02K\x01\x86",
        b"\x89",
        call("collections", "OrderedDict"),
    )
    + b"s"
)
"""One float32 tensor of 2 x 2 named "weight"."""


def hostile_zips(canary: Path) -> Iterator[Hostile]:
    """Archives whose trick is in the zip; the pickle inside is harmless unless the name says otherwise."""
    touch = plain(call("os", "system", text(f"touch {canary}")))
    good = in_zip(GOOD_PICKLE)

    def adding(name: str, data: bytes = b"x", **options: int) -> bytes:
        return in_zip(GOOD_PICKLE, change=lambda archive: archive.writestr(name, data, **options))  # type: ignore[arg-type]

    yield Hostile("zip second pickle", adding("archive/data/data.pkl", touch), "2 pickles")
    yield Hostile("zip pickle twice", _twice(touch), "twice")
    yield Hostile("zip other folder", adding("other/data.pkl", touch), "2 pickles")
    yield Hostile("zip traversal", adding("archive/../../etc/passwd"), "leaves its folder")
    yield Hostile("zip absolute", adding("/etc/passwd"), "leaves its folder")
    yield Hostile("zip backslash", adding("archive\\..\\x"), "leaves its folder")
    yield Hostile("zip TorchScript", adding("archive/code/model.py", b"import os"), "TorchScript")
    yield Hostile("zip constants", adding("archive/constants.pkl", touch), "TorchScript")
    yield Hostile("zip stranger", adding("archive/setup.py", b"import os"), "does not write")
    yield Hostile(
        "zip bomb",
        adding("archive/data/1", bytes(5_000_000), compress_type=zipfile.ZIP_DEFLATED),
        "compressed",
    )
    yield Hostile("zip checksum", _with_wrong_checksum(touch), "os.system", fires=False)
    yield Hostile("zip comment", good[:-2] + struct.pack("<H", 4) + b"PK\x05\x06", "zip directory")
    yield Hostile("zip with a tail", good + touch, "follows the end")
    yield Hostile("zip behind a pickle", touch + good, "os.system", fires=True)
    yield Hostile("zip with a head", b"PK\x03\x04" + bytes(60) + good, "gap or an overlap")
    yield Hostile("zip encrypted", _with_flag(good, 0x0001), "encrypted")
    yield Hostile("zip two names", good.replace(b"archive/data.pkl", b"archive/dataXpkl", 1), "in two ways")
    yield Hostile("zip two sizes", _with_local_size(good, 9), "in two ways")
    yield Hostile("zip 64-bit lie", with_long_record(good, entries=0), "in two ways")
    yield Hostile("zip 64-bit elsewhere", with_long_record(good, place=0), "64-bit zip directory")
    yield Hostile("zip endless directory", good[:-10] + b"\xff\xff\xff\x7f" + good[-6:], "zip directory has")
    yield Hostile("zip two disks", good[:-18] + b"\x01\x00" + good[-16:], "zip directory")
    yield Hostile("zip many entries", good[:-12] + b"\xff\x7f" + good[-10:], "zip directory")


def _twice(pickle: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for data, name in ((GOOD_PICKLE, "archive/data.pkl"), (pickle, "archive/Data.pkl")):
            archive.writestr(name, data)
    return buffer.getvalue().replace(b"archive/Data.pkl", b"archive/data.pkl")


def _with_wrong_checksum(pickle: bytes) -> bytes:
    """torch's own reader does not mind; scanners that trust Python's skipped such files."""
    good = in_zip(pickle)
    crc = struct.pack("<I", zipfile.crc32(pickle))
    return good.replace(crc, b"\x01\x02\x03\x04")


def _with_flag(archive: bytes, flag: int) -> bytes:
    """Set a general-purpose bit of the first entry in both headers."""
    changed = bytearray(archive)
    directory = archive.index(b"PK\x01\x02")
    for offset in (6, directory + 8):
        struct.pack_into("<H", changed, offset, struct.unpack_from("<H", changed, offset)[0] | flag)
    return bytes(changed)


def _with_local_size(archive: bytes, size: int) -> bytes:
    changed = bytearray(archive)
    struct.pack_into("<II", changed, 18, size, size)
    return bytes(changed)


def with_long_record(archive: bytes, *, entries: int | None = None, place: int | None = None) -> bytes:
    """Put a 64-bit end record and its locator before the short one, true but for what is given."""
    body, end = archive[:-22], archive[-22:]
    count, size, start = struct.unpack("<HII", end[10:20])
    count = count if entries is None else entries
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body) if place is None else place, 1)
    return body + record + locator + end
