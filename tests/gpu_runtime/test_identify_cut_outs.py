"""Cut-out networks in ONNX files: told from others by their headers, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.errors import NotRecognised, NotWeights, RuntimeFault, UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.identification.cut_outs import find_preparation
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.onnx_header import read_onnx_header
from gpu_runtime.weights.taxonomy import ModelKind
from tests.gpu_runtime.onnx_files import (
    FLOAT16,
    INT64,
    cut_out_bytes,
    model,
    node,
    number,
    part,
    tensor,
    value_info,
    write_cut_out,
)

ANY_SIZE = {"image": ("batch", 3, "height", "width"), "mask": ("batch", 1, "height", "width")}


def test_header_tells_inputs_outputs_and_weights(tmp_path: Path) -> None:
    header = read_onnx_header(write_cut_out(tmp_path / "a.onnx", **ANY_SIZE))
    [given], [made] = header.inputs, header.outputs
    assert (given.name, given.dtype, given.shape) == ("image", "F32", (None, 3, None, None))
    assert (made.name, made.shape) == ("mask", (None, 1, None, None))
    assert (header.weights, header.dtype) == (1, "F32")
    assert header.size_bytes == (tmp_path / "a.onnx").stat().st_size


IMAGENET = (("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225"))


@pytest.mark.parametrize(
    ("name", "architecture", "input_px", "mean", "std"),
    [
        ("isnet-general-use.onnx", "isnet", 1024, ("0.5", "0.5", "0.5"), ("1.0", "1.0", "1.0")),
        ("isnet-anime.onnx", "isnet", 1024, IMAGENET[0], ("1.0", "1.0", "1.0")),
        ("u2netp.onnx", "u2net", 320, *IMAGENET),
        ("BiRefNet_lite/model.onnx", "birefnet", 1024, *IMAGENET),
        ("modnet_photographic.ONNX", "modnet", 512, ("0.5", "0.5", "0.5"), ("0.5", "0.5", "0.5")),
    ],
)
def test_known_makes_bring_what_they_want(
    name: str, architecture: str, input_px: int, mean: Any, std: Any, tmp_path: Path
) -> None:
    found = identify(write_cut_out(tmp_path / name, **ANY_SIZE))
    assert (found.kind, found.family, found.variant) == (ModelKind.BACKGROUND_REMOVAL, "", "general")
    assert found.details == {"architecture": architecture, "input_px": input_px, "mean": mean, "std": std}


def test_size_in_the_file_counts_more_than_its_name(tmp_path: Path) -> None:
    found = identify(write_cut_out(tmp_path / "u2net.onnx", image=(1, 3, 512, 512), mask=(1, 1, 512, 512)))
    assert (found.details["input_px"], found.details["is_size_fixed"]) == (512, True)


def test_unknown_make_says_no_colours(tmp_path: Path) -> None:
    assert identify(write_cut_out(tmp_path / "mystery.onnx", **ANY_SIZE)).details == {}
    assert find_preparation("mystery", "org/IS-Net") == find_preparation("isnet")


def test_folder_of_one_such_file_is_that(tmp_path: Path) -> None:
    write_cut_out(tmp_path / "modnet" / "model.onnx", **ANY_SIZE)
    (tmp_path / "modnet" / "README.md").write_text("A matting network.")
    found = identify(tmp_path / "modnet")
    assert (found.variant, found.details["files"]) == ("general", ("model.onnx",))
    assert found.details["architecture"] == "modnet"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mask": (1, 3, 64, 64)}, r"makes an array \[1, 3, 64, 64\]; of ONNX models only cut-out"),
        ({"mask": (1, 1000)}, r"makes an array \[1, 1000\]"),
        ({"image": (1, 64, 64, 3)}, r"takes an array \[1, 64, 64, 3\]"),
        ({"image": (8, 3, 64, 64)}, "takes 8 pictures at a time"),
        ({"image": (1, 3, 64, 128)}, "pictures of 128 x 64 pixels; only square"),
        ({"more_inputs": ("points",)}, "takes 2 inputs"),
        ({"dtype": FLOAT16}, "as F16, which is not supported; import the float32"),
        ({"dtype": INT64}, "as I64"),
        ({"node_rest": part(7, "com.example")}, "needs operators of 'com.example'"),
        ({"rest": part(25, part(1, "secret"))}, "functions, which are not supported"),
    ],
)
def test_other_networks_are_not_ours(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(NotRecognised, match=says):
        identify(write_cut_out(tmp_path / "isnet.onnx", **change))


def test_weights_in_other_files_are_unsafe(tmp_path: Path) -> None:
    """A file could name any other on the machine."""
    elsewhere = part(13, part(1, "location") + part(2, "../../etc/passwd")) + number(14, 1)
    with pytest.raises(UnsafeFile, match="keeps its weights in other files"):
        identify(write_cut_out(tmp_path / "isnet.onnx", weights=elsewhere))
    # The same within a node, and within a graph in a node.
    hidden = part(5, part(1, "value") + part(5, tensor("x", (1,), (1.0,), elsewhere)))
    with pytest.raises(UnsafeFile):
        identify(write_cut_out(tmp_path / "isnet.onnx", node_rest=hidden))
    branch = part(5, part(1, "then_branch") + part(6, part(1, node("Constant", [], ["y"], hidden))))
    with pytest.raises(UnsafeFile):
        identify(write_cut_out(tmp_path / "isnet.onnx", node_rest=branch))


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    """Old files name their weights among the inputs of the graph."""
    found = identify(write_cut_out(tmp_path / "u2net.onnx", more_inputs=("red",)))
    assert found.variant == "general"


def test_torn_files_are_corrupt_wherever_they_end(tmp_path: Path) -> None:
    whole = cut_out_bytes()
    for length in range(len(whole)):
        file = tmp_path / "isnet.onnx"
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsCorrupt):
            identify(file)


def test_damaged_bytes_never_break_the_reader(tmp_path: Path) -> None:
    whole = cut_out_bytes()
    file = tmp_path / "isnet.onnx"
    for position in range(len(whole)):
        for byte in (0x00, 0x7F, 0xFF):
            file.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
            try:
                identify(file)
            except RuntimeFault:
                continue


def test_graphs_without_end_are_refused(tmp_path: Path) -> None:
    graph = part(1, node("If", [], ["x"]))
    for _ in range(40):
        graph = part(1, node("If", [], ["x"], part(5, part(6, graph))))
    graph += part(11, value_info("image", (1, 3, 8, 8))) + part(12, value_info("mask", (1, 1, 8, 8)))
    (tmp_path / "deep.onnx").write_bytes(model(graph))
    with pytest.raises(WeightsCorrupt, match="too deep"):
        identify(tmp_path / "deep.onnx")


def test_what_only_ends_like_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.onnx").write_bytes(b"<!doctype html><html></html>")
    with pytest.raises(NotWeights, match="a web page"):
        identify(tmp_path / "page.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(WeightsCorrupt, match=r"empty\.onnx is empty"):
        identify(tmp_path / "empty.onnx")
