"""Headers of safetensors files are believed only as far as they agree with themselves and the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gpu_runtime.errors import RuntimeFault, WeightsCorrupt
from gpu_runtime.weights import safetensors_header
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.safetensors_header import check_safetensors, read_header
from gpu_runtime.weights.tensor_facts import DTYPE_BITS, TensorFacts
from tests.checkpoints.broken_safetensors import GOOD, broken_safetensors, entry, of, packed

MORE_LENIENT = {
    "a key twice": "the last one counts there; two readers could see two files",
    "a name twice": "the same",
    "another key": "ignored there",
    "a space first": "against the format's own words",
    "entry is a list": "taken by position there",
    "control character": "names are shown to operators",
    "empty name": "the same",
    "endless name": "the same",
    "many dimensions": "no network has them",
}
"""What the library accepts and is refused here, with the reason."""

BROKEN = [each.name for each in broken_safetensors()]


def written(folder: Path, data: bytes, name: str = "weights.safetensors") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def test_corpus_is_large_enough() -> None:
    assert len(set(BROKEN)) == len(BROKEN) >= 30


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    case = next(each for each in broken_safetensors() if each.name == name)
    file = written(tmp_path, case.data)
    with pytest.raises(WeightsCorrupt) as caught:
        identify(file)
    assert case.says in str(caught.value)
    if case.data:
        with pytest.raises(WeightsCorrupt):
            check_safetensors(file)


@pytest.mark.parametrize("name", BROKEN)
def test_library_refuses_the_same_files(name: str, tmp_path: Path) -> None:
    """So nothing the library would load is refused here, but for what is in the list."""
    if name in MORE_LENIENT:
        return
    case = next(each for each in broken_safetensors() if each.name == name)
    file = written(tmp_path, case.data)
    with pytest.raises((SafetensorError, OSError)), safe_open(file, framework="pt") as opened:
        for key in opened.keys():  # noqa: SIM118  # the library's object is no mapping
            opened.get_tensor(key)


def test_good_file_of_the_corpus_is_read(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, GOOD))
    assert header.tensors == {"a": TensorFacts("F32", (4,)), "b": TensorFacts("F16", (2, 4))}
    assert header.offsets == {"a": (0, 16), "b": (16, 32)}
    assert header.metadata == {}
    assert (header.size_bytes, header.data_start) == (len(GOOD), len(GOOD) - 32)


def test_file_of_the_library_is_read(tmp_path: Path) -> None:
    tensors = {
        "scalar": torch.tensor(2.0),
        "empty": torch.zeros(0, 3),
        "brain": torch.zeros(3, 2, dtype=torch.bfloat16),
        "whole": torch.zeros(4, dtype=torch.int64),
        "eight": torch.zeros(5, 2).to(torch.float8_e4m3fn),
        "yes": torch.zeros(3, dtype=torch.bool),
    }
    save_file(tensors, tmp_path / "weights.safetensors", metadata={"format": "pt", "title": "Ünïcode"})
    header = read_header(tmp_path / "weights.safetensors")
    assert dict(header.tensors) == {
        "scalar": TensorFacts("F32", ()),
        "empty": TensorFacts("F32", (0, 3)),
        "brain": TensorFacts("BF16", (3, 2)),
        "whole": TensorFacts("I64", (4,)),
        "eight": TensorFacts("F8_E4M3", (5, 2)),
        "yes": TensorFacts("BOOL", (3,)),
    }
    assert header.metadata == {"format": "pt", "title": "Ünïcode"}
    assert check_safetensors(tmp_path / "weights.safetensors") == 6


def test_file_without_tensors_is_whole(tmp_path: Path) -> None:
    assert check_safetensors(written(tmp_path, packed(b"{}", b""))) == 0


def test_header_may_be_padded(tmp_path: Path) -> None:
    header = json.dumps({"a": entry("F32", [1], [0, 4])}).encode() + b" " * 40
    assert check_safetensors(written(tmp_path, packed(header, bytes(4)))) == 1


def test_offsets_need_no_order(tmp_path: Path) -> None:
    """The library writes the widest types first, whatever their names."""
    swapped = {"a": entry("F16", [2], [8, 12]), "b": entry("F64", [1], [0, 8])}
    assert check_safetensors(written(tmp_path, of(swapped, bytes(12)))) == 2


def test_numbers_of_tensors_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_header, "MAX_TENSORS", 20)
    for count in (20, 21):
        many = {f"t{number}": entry("U8", [], [number, number + 1]) for number in range(count)}
        file = written(tmp_path, of(many, bytes(count)))
        if count == 20:
            assert check_safetensors(file) == 20
            continue
        with pytest.raises(WeightsCorrupt, match="announces 21 tensors; at most 20 are read"):
            read_header(file)


def test_header_beyond_the_format_is_refused_unread(tmp_path: Path) -> None:
    file = written(tmp_path, packed(b"{", b"", length=150_000_000))
    with file.open("r+b") as stream:
        stream.truncate(200_000_000)
    with pytest.raises(WeightsCorrupt, match="announces a header of 150000000 bytes"):
        read_header(file)


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_type_has_its_size(dtype: str, tmp_path: Path) -> None:
    size = TensorFacts(dtype, (8,)).size_bytes
    assert size == DTYPE_BITS[dtype]
    file = written(tmp_path, of({"a": entry(dtype, [8], [0, size])}, bytes(size)))
    assert read_header(file).tensors["a"] == TensorFacts(dtype, (8,))


def test_every_truncation_and_flip_is_answered_with_a_fault(tmp_path: Path) -> None:
    """Whatever happens to a file, the answer is a header or a RuntimeFault, never another exception."""
    for length in range(len(GOOD)):
        with pytest.raises(WeightsCorrupt):
            read_header(written(tmp_path, GOOD[:length]))
    for position in range(len(GOOD) - 32):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(GOOD)
            damaged[position] ^= flip
            try:
                read_header(written(tmp_path, bytes(damaged)))
            except RuntimeFault as fault:
                assert type(fault) is WeightsCorrupt
