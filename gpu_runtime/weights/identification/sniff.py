"""What a file is when it is no weights known here: by its first bytes, in words an operator can act on."""

from __future__ import annotations

from pathlib import Path

SAMPLE_BYTES = 4096

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GGUF", "a GGUF file, a quantised format that is not supported; import the safetensors version"),
    (0, b"ggml", "a GGML file, a quantised format that is not supported; import the safetensors version"),
    (0, b"\x89HDF", "an HDF5 file of Keras or TensorFlow; import the PyTorch version"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"TFL3", "a TensorFlow Lite model"),
)
"""Weights, but none that are read here."""

_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftyp", "a video or an AVIF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it and import what is inside"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it and import what is inside"),
    (0, b"Rar!\x1a", "a RAR archive; unpack it and import what is inside"),
    (0, b"\xfd7zXZ", "an xz archive; unpack it and import what is inside"),
    (0, b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it and import what is inside"),
    (257, b"ustar", "a tar archive; unpack it and import what is inside"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a program"),
    (0, b"RIFF", "a RIFF media file"),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file: fetch it with LFS or from the hub",
    ),
)

_HTML = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<svg")


def other_format(start: bytes) -> str:
    """Which format of weights that is not read here, as the end of a sentence; "" when it is none.

    For what `not_weights` says "" of.
    """
    return _by_magic(_OTHER_FORMATS, start)


def not_weights(start: bytes) -> str:
    """What the file is, as the end of a sentence; "" when its first bytes may be those of weights."""
    if what := _by_magic(_MAGICS, start):
        return what
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_HTML):
        return "a web page, not weights: the address needs a login, or a licence has to be accepted first"
    if text[:1] in (b"{", b"[") and _is_text(start):
        return "a JSON document, not weights: perhaps the server's error message, or a configuration"
    if _is_text(start):
        return "a text file, not weights"
    return ""


def may_be_safetensors(path: Path, start: bytes, size: int) -> bool:
    """Whether its first bytes are a length that fits the file and the beginning of an object."""
    length = int.from_bytes(start[:8], "little")
    return path.suffix == ".safetensors" or (
        len(start) > 8 and 2 <= length <= size - 8 and start[8:9] == b"{"
    )


def _by_magic(magics: tuple[tuple[int, bytes, str], ...], start: bytes) -> str:
    for offset, magic, what in magics:
        if start[offset : offset + len(magic)] == magic:
            return what
    return ""


def _is_text(start: bytes) -> bool:
    """Whether the sample is text: UTF-8 but for a torn last character, and no control characters."""
    try:
        decoded = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        decoded = start[: error.start].decode("utf-8")
    return bool(decoded) and all(each.isprintable() or each in "\t\r\n\f" for each in decoded)
