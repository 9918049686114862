"""Files of torch.save are described without being loaded, and what could run code is refused by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from gpu_runtime.errors import NotRecognised, UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.pickle_scan import scan
from gpu_runtime.weights.tensor_facts import TensorFacts
from tests.checkpoints.hostile_pickles import (
    GOOD_PICKLE,
    PROTO,
    Hostile,
    call,
    hostile_pickles,
    hostile_zips,
    in_legacy,
    in_zip,
    named,
    plain,
    text,
    with_long_record,
)

NAMES = [each.name for each in hostile_pickles(Path("canary"))]
ZIP_NAMES = [each.name for each in hostile_zips(Path("canary"))]
FIRING = [each.name for each in [*hostile_pickles(Path("c")), *hostile_zips(Path("c"))] if each.fires]

LOAD_PLAINLY = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
"""What the files would do to a program that trusts them."""


def hostile(name: str, canary: Path) -> Hostile:
    return next(each for each in [*hostile_pickles(canary), *hostile_zips(canary)] if each.name == name)


def written(folder: Path, data: bytes, name: str = "weights.ckpt") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def save(folder: Path, value: Any, **options: Any) -> Path:
    file = folder / "weights.pt"
    torch.save(value, file, **options)
    return file


def test_corpus_is_large_enough() -> None:
    assert len(NAMES) >= 40
    assert len(set(NAMES + ZIP_NAMES)) == len(NAMES) + len(ZIP_NAMES)
    assert len(FIRING) >= 20


@pytest.mark.parametrize("name", FIRING)
def test_control_the_payload_really_fires(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = written(tmp_path, hostile(name, canary).data)
    subprocess.run(
        [sys.executable, "-c", LOAD_PLAINLY, str(file)], capture_output=True, timeout=60, check=False
    )
    for _ in range(200):
        if canary.exists():
            break
        os.sched_yield()  # Popen and popen do not wait for their child
        subprocess.run(["sleep", "0.02"], check=True)
    assert canary.exists()


@pytest.mark.parametrize("name", NAMES + ZIP_NAMES)
def test_hostile_file_is_refused_by_name_and_does_nothing(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    case = hostile(name, canary)
    file = written(tmp_path, case.data)
    modules, files = set(sys.modules), sorted(tmp_path.iterdir())
    with pytest.raises(UnsafeFile) as caught:
        scan(file)
    assert case.says in str(caught.value)
    with pytest.raises(UnsafeFile):
        identify(file)
    assert not canary.exists()
    # Python's zip reader asks for the codec of old archive names when it first meets one.
    assert {each for each in set(sys.modules) - modules if not each.startswith("encodings.")} == set()
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("container", [in_zip, in_legacy], ids=["zip", "legacy"])
def test_hostile_pickle_is_refused_inside_the_containers_of_torch(
    name: str, container: Any, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    case = hostile(name, canary)
    with pytest.raises(UnsafeFile) as caught:
        scan(written(tmp_path, container(case.data)))
    # What follows a STOP in the middle of the older format is its next pickle.
    assert case.says in str(caught.value) or "os.system" in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "after STOP"])
def test_suffix_does_not_matter(name: str, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".bin", ".pth", ".png", ""):
        with pytest.raises(UnsafeFile):
            identify(written(tmp_path, hostile(name, tmp_path / "canary").data, f"weights{suffix}"))


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_state_dict_of_torch_is_described(is_zip: bool, tmp_path: Path) -> None:
    weights = OrderedDict(
        half=torch.zeros(3, 4, dtype=torch.float16),
        brain=torch.zeros(2, dtype=torch.bfloat16),
        scalar=torch.tensor(1.0),
        whole=torch.zeros(5, dtype=torch.int64),
        turned=torch.zeros(4, 6).T,
        parameter=torch.nn.Parameter(torch.zeros(2, 2)),
        empty=torch.zeros(0, 7),
    )
    facts = scan(save(tmp_path, weights, _use_new_zipfile_serialization=is_zip))
    assert facts.container == ("zip" if is_zip else "legacy")
    assert facts.tensors == {
        "half": TensorFacts("F16", (3, 4)),
        "brain": TensorFacts("BF16", (2,)),
        "scalar": TensorFacts("F32", ()),
        "whole": TensorFacts("I64", (5,)),
        "turned": TensorFacts("F32", (6, 4)),
        "parameter": TensorFacts("F32", (2, 2)),
        "empty": TensorFacts("F32", (0, 7)),
    }
    assert (facts.wrapper, facts.inert_globals, facts.numpy_globals) == ("", (), ())


def test_eight_bit_floats_are_described(tmp_path: Path) -> None:
    facts = scan(save(tmp_path, {"w": torch.zeros(3, 5).to(torch.float8_e4m3fn)}))
    assert facts.tensors == {"w": TensorFacts("F8_E4M3", (3, 5))}


def test_module_with_version_metadata_is_described(tmp_path: Path) -> None:
    facts = scan(
        save(tmp_path, torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict())
    )
    assert {name: each.shape for name, each in facts.tensors.items()} == {
        "0.weight": (2, 3),
        "0.bias": (2,),
        "1.weight": (2,),
        "1.bias": (2,),
    }


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_training_checkpoint_is_unwrapped(is_zip: bool, tmp_path: Path) -> None:
    checkpoint = {
        "epoch": 3,
        "global_step": 470000,
        "loss": numpy.float64(0.25),
        "state_dict": {"model.weight": torch.zeros(2, 3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(9)}}}],
    }
    facts = scan(save(tmp_path, checkpoint, _use_new_zipfile_serialization=is_zip))
    assert facts.tensors == {"model.weight": TensorFacts("F32", (2, 3))}
    assert facts.wrapper == "state_dict"
    assert facts.numpy_globals == ("numpy._core.multiarray.scalar", "numpy.dtype")


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    both = {"params": {"w": torch.zeros(1)}, "params_ema": {"w": torch.zeros(2)}}
    facts = scan(save(tmp_path, both))
    assert facts.wrapper == "params_ema"
    assert facts.tensors == {"w": TensorFacts("F32", (2,))}


def test_callbacks_of_lightning_are_only_mentioned(tmp_path: Path) -> None:
    callback = named("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    body = GOOD_PICKLE[2:-1] + text("callbacks") + b"}" + callback + b"}ss"
    facts = scan(written(tmp_path, in_zip(plain(body))))
    assert facts.inert_globals == ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)
    assert list(facts.tensors) == ["weight"]


def test_plain_values_are_kept(tmp_path: Path) -> None:
    embedding = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.zeros(4, 768)},
        "name": "papercut",
        "step": 500,
        "sd_checkpoint": None,
    }
    facts = scan(save(tmp_path, embedding))
    assert facts.tensors == {"string_to_param.*": TensorFacts("F32", (4, 768))}
    assert facts.scalars == {"string_to_token.*": 265, "name": "papercut", "step": 500}


def test_the_good_pickle_of_the_corpus_is_accepted_everywhere(tmp_path: Path) -> None:
    expected = {"weight": TensorFacts("F32", (2, 2))}
    assert scan(written(tmp_path, in_zip(GOOD_PICKLE))).tensors == expected
    loaded = torch.load(tmp_path / "weights.ckpt", weights_only=True)
    assert loaded["weight"].shape == (2, 2)


def test_true_long_record_is_accepted(tmp_path: Path) -> None:
    expected = {"weight": TensorFacts("F32", (2, 2))}
    assert scan(written(tmp_path, with_long_record(in_zip(GOOD_PICKLE)))).tensors == expected


def test_pickle_without_tensors_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(NotRecognised, match="none that torch"):
        scan(written(tmp_path, pickle.dumps({"a": [1, 2, "three"]}, protocol=2)))
    with pytest.raises(NotRecognised, match="without tensors"):
        scan(save(tmp_path, {"a": 1}))


def test_ordinary_zip_is_not_ours(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("holiday.jpg", b"x")
    with pytest.raises(NotRecognised, match="a zip archive, not weights"):
        scan(tmp_path / "photos.zip")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_every_truncation_is_refused(is_zip: bool, tmp_path: Path) -> None:
    whole = save(
        tmp_path, {"a": torch.zeros(8), "b": torch.zeros(4, 4)}, _use_new_zipfile_serialization=is_zip
    ).read_bytes()
    for length in range(1, len(whole), 7):
        with pytest.raises((WeightsCorrupt, UnsafeFile, NotRecognised)):
            scan(written(tmp_path, whole[:length]))


def test_truncated_download_is_called_so(tmp_path: Path) -> None:
    data = save(tmp_path, {"a": torch.zeros(1000)}).read_bytes()
    with pytest.raises(WeightsCorrupt, match="is truncated"):
        scan(written(tmp_path, data[: len(data) // 2]))
    legacy = save(tmp_path, {"a": torch.zeros(1000)}, _use_new_zipfile_serialization=False).read_bytes()
    with pytest.raises(WeightsCorrupt, match="is not complete"):
        scan(written(tmp_path, legacy[: len(legacy) // 2]))


def test_tail_of_the_older_format_is_refused(tmp_path: Path) -> None:
    legacy = save(tmp_path, {"a": torch.zeros(10)}, _use_new_zipfile_serialization=False).read_bytes()
    with pytest.raises(UnsafeFile, match="20 bytes follow its last storage"):
        scan(written(tmp_path, legacy + bytes(20)))


def test_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    wrong = GOOD_PICKLE.replace(b"K\x02K\x02\x86", b"K\x09K\x02\x86")
    with pytest.raises(WeightsCorrupt, match="reaches beyond its 4 numbers"):
        scan(written(tmp_path, in_zip(wrong)))


def test_storage_of_another_size_is_refused(tmp_path: Path) -> None:
    longer = GOOD_PICKLE.replace(b"K\x04tQ", b"K\x05tQ")
    with pytest.raises(WeightsCorrupt, match="has 16 bytes instead of 20"):
        scan(written(tmp_path, in_zip(longer)))


def test_missing_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="numbers of storage '7' are missing"):
        scan(written(tmp_path, in_zip(GOOD_PICKLE.replace(text("0"), text("7")))))


def test_wrong_checksum_is_damage_when_nothing_worse_is_inside(tmp_path: Path) -> None:
    good = in_zip(GOOD_PICKLE)
    crc = zipfile.crc32(GOOD_PICKLE).to_bytes(4, "little")
    with pytest.raises(WeightsCorrupt, match="checksum"):
        scan(written(tmp_path, good.replace(crc, b"\x01\x02\x03\x04")))


def test_references_that_multiply_are_bounded(tmp_path: Path) -> None:
    """Twelve lists, each with ten references to the one before: a trillion values in a few hundred bytes."""
    body = b"]q\x00"
    for level in range(12):
        body += b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e" + b"q" + bytes([level + 1])
        body += b"\x86"
    with pytest.raises(UnsafeFile, match=r"more entries than any model|nested deeper"):
        scan(written(tmp_path, in_zip(plain(body))))


def test_table_that_contains_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFile, match="nested deeper"):
        scan(written(tmp_path, in_zip(plain(b"}q\x00" + text("self") + b"h\x00s"))))


def test_opcodes_are_counted_against_the_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="ends in the middle"):
        scan(written(tmp_path, PROTO + b"N" * 10_000))


def test_more_tuple_than_stack_is_damage(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="takes what is not there"):
        scan(written(tmp_path, plain(b"N\x87")))


def test_pickle_in_the_older_format_must_follow_its_magic(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFile, match=r"os\.system"):
        scan(written(tmp_path, in_legacy(plain(call("os", "system", text("true"))))))


def accepted(folder: Path, value: bytes) -> Any:
    """What is left of a value beside a good tensor."""
    body = GOOD_PICKLE[2:-1] + text("value") + value + b"s"
    return scan(written(folder, in_zip(plain(body)))).scalars


def test_harmless_values_of_older_versions_are_accepted(tmp_path: Path) -> None:
    pairs = b"](](" + text("a") + b"K\x01e](" + text("b") + b"K\x02ee"
    assert accepted(tmp_path, call("collections", "OrderedDict", pairs)) == {"value.a": 1, "value.b": 2}
    assert accepted(tmp_path, call("torch", "Size", b"K\x02K\x03\x86")) == {"value.0": 2, "value.1": 3}
    assert accepted(tmp_path, call("torch", "device", text("cuda"), b"K\x00")) == {}
    assert accepted(tmp_path, b"G" + b"\x3f\xf8" + bytes(6)) == {"value": 1.5}
    assert accepted(tmp_path, b"\x8a\x05" + (2**33).to_bytes(5, "little")) == {"value": 2**33}
    assert accepted(tmp_path, b"U\x03abc") == {"value": "abc"}


def test_tensors_of_the_first_torch_versions_are_described(tmp_path: Path) -> None:
    first = GOOD_PICKLE.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor").replace(
        b"\x89" + call("collections", "OrderedDict"), b""
    )
    assert scan(written(tmp_path, in_zip(first))).tensors == {"weight": TensorFacts("F32", (2, 2))}


@pytest.mark.parametrize(
    "value",
    [
        call("torch", "Size", b"]"),
        call("torch", "Size", b"(" + text("2") + b"t"),
        call("torch", "device"),
        call("torch", "device", b"N"),
        call("collections", "OrderedDict", b"}"),
        call("collections", "OrderedDict", b"](K\x01e"),
        call("_codecs", "encode", text("\u20ac"), text("latin1")),
        call("torch._utils", "_rebuild_tensor", b"N"),
        call("torch._utils", "_rebuild_tensor", b"N", b"K\x00", b")", b")"),
        call("torch._utils", "_rebuild_tensor_v3", b"N"),
        call("torch._utils", "_rebuild_parameter", b"N", b"\x89", call("collections", "OrderedDict")),
        call("numpy.core.multiarray", "scalar", b"N", b"N"),
        call("numpy", "dtype", text("f8"), b"\x89", b"\x88") + b"(" + text("os") + b"tb",
    ],
)
def test_allowed_functions_with_other_arguments_are_refused(value: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsafeFile):
        accepted(tmp_path, value)
