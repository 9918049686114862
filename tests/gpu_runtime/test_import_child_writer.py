"""The canonical file: equal tensors give equal bytes, conversions cost no memory, every number is checked."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.conversions import convert_flux, convert_openclip
from gpu_runtime.weights.importing.lazy_tensors import LazyTensor, lazy, numbers
from gpu_runtime.weights.importing.sources import open_pickle, open_safetensors
from gpu_runtime.weights.importing.unet_shapes import unet_config
from gpu_runtime.weights.importing.writer import (
    Planned,
    header_of,
    is_finite,
    stored_bytes,
    write_safetensors,
)
from gpu_runtime.weights.safetensors_header import check_safetensors

FLOATS = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


def keep(tensors: dict[str, Tensor]) -> dict[str, Planned]:
    return {name: Planned(tensor, tensor.dtype) for name, tensor in tensors.items()}


def never() -> Tensor:
    raise AssertionError("no number is needed")


def test_file_is_read_by_safetensors_and_hashed(tmp_path: Path) -> None:
    tensors = {
        "z": torch.arange(7, dtype=torch.int64),
        "odd": torch.randn(3, 5).bfloat16(),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "bits": torch.tensor([True, False, True]),
        "eighth": torch.randn(9).to(torch.float8_e4m3fn),
    }
    seen: list[int] = []

    written = write_safetensors(tmp_path / "a.safetensors", keep(tensors), seen.append)

    data = (tmp_path / "a.safetensors").read_bytes()
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert written.size_bytes == len(data) == sum(seen)
    assert check_safetensors(tmp_path / "a.safetensors") == len(tensors)
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].float(), tensor.float())
    with safe_open(tmp_path / "a.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_order_and_container_leave_no_trace(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.randn(number + 1, 3) for number in range(20)}
    tensors["half"] = torch.randn(5).half()
    shuffled = dict(reversed(tensors.items()))
    save_file(shuffled, tmp_path / "in.safetensors", {"title": "other"})
    torch.save(shuffled, tmp_path / "in.pt")
    sources = [tensors, open_safetensors(tmp_path / "in.safetensors"), open_pickle(tmp_path / "in.pt")]

    digests = {
        write_safetensors(tmp_path / f"{number}", keep(each), lambda size: None).sha256
        for number, each in enumerate(sources)
    }

    assert len(digests) == 1


def test_numbers_that_lie_unaligned_are_read(tmp_path: Path) -> None:
    header = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    }
    text = json.dumps(header).encode()
    data = bytes([1, 2, 3]) + struct.pack("<2f", 1.5, -2.0)
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)

    assert numbers(open_safetensors(tmp_path / "x.safetensors")["b"]).tolist() == [1.5, -2.0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 1000, (1 << 18) + 3])
def test_not_finite_is_found_wherever_it_is(dtype: torch.dtype, size: int) -> None:
    good = torch.linspace(-4, 4, size).to(dtype)
    assert is_finite(good)
    assert is_finite(torch.full((size,), torch.finfo(dtype).max, dtype=torch.float64).to(dtype))
    wrong = [float("nan"), -float("nan")]
    if dtype != torch.float8_e4m3fn:  # the one type without infinities
        wrong += [float("inf"), -float("inf")]
    for value in wrong:
        for place in (0, size // 2, size - 1):
            bad = good.clone()
            bad[place] = value
            assert not is_finite(bad), (value, place)


def test_whole_numbers_are_always_finite() -> None:
    assert is_finite(torch.full((4,), -1, dtype=torch.int64))
    assert is_finite(torch.zeros(0))


def test_not_finite_stops_the_writing(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3), "b": torch.tensor([1.0, float("nan")])}

    with pytest.raises(WeightsCorrupt, match=r"^b contains numbers that are not finite"):
        write_safetensors(tmp_path / "x", keep(tensors), lambda size: None)


def test_lazy_conversion_equals_the_ordinary_one() -> None:
    made = torch.randn(6, 4)
    late = lazy((6, 4), torch.float32, lambda: made)

    q, k, v = late.chunk(3, dim=0)
    joined = torch.cat([v, q.T.contiguous().T])
    pixel = late.reshape(6, 4, 1, 1)[:, :, 0, 0]

    assert isinstance(joined, LazyTensor)
    assert torch.equal(numbers(k), made[2:4])
    assert torch.equal(numbers(joined), torch.cat([made[4:], made[:2]]))
    assert torch.equal(numbers(pixel), made)
    assert torch.equal(numbers(late.to(torch.float16) * 2), made.half() * 2)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16])
def test_fused_projections_of_small_floats_are_split(dtype: torch.dtype) -> None:
    fused = torch.randn(12, 4).to(dtype)
    tensors = {"transformer.resblocks.0.attn.in_proj_weight": lazy((12, 4), dtype, lambda: fused)}

    converted = convert_openclip(tensors)

    found = numbers(converted["text_model.encoder.layers.0.self_attn.k_proj.weight"])
    assert torch.equal(found.float(), fused[4:8].float())


def test_conversion_reads_no_number() -> None:
    width, hidden = 8, 32
    shapes = {"linear1.weight": (3 * width + hidden, width), "linear1.bias": (3 * width + hidden,)}
    shapes |= {"linear2.weight": (width, width + hidden), "linear2.bias": (width,)}
    shapes |= {"modulation.lin.weight": (3 * width, width), "modulation.lin.bias": (3 * width,)}
    shapes |= {"norm.query_norm.scale": (4,), "norm.key_norm.scale": (4,)}
    tensors: dict[str, Tensor] = {
        f"single_blocks.0.{name}": lazy(shape, torch.bfloat16, never) for name, shape in shapes.items()
    }
    for name in ("img_in", "txt_in", "final_layer.linear"):
        tensors[f"{name}.weight"] = lazy((width, width), torch.bfloat16, never)
    for name in ("time_in", "vector_in"):
        for layer in ("in_layer", "out_layer"):
            tensors[f"{name}.{layer}.weight"] = lazy((width, width), torch.bfloat16, never)
    for leaf, shape in (("weight", (2 * width, width)), ("bias", (2 * width,))):
        tensors[f"final_layer.adaLN_modulation.1.{leaf}"] = lazy(shape, torch.bfloat16, never)

    converted = convert_flux(tensors, {"num_layers": 0, "num_single_layers": 1})

    block = "single_transformer_blocks.0."
    assert converted[f"{block}proj_mlp.weight"].shape == (hidden, width)
    assert converted[f"{block}attn.to_v.bias"].shape == (width,)


def test_tensor_without_a_place_is_named() -> None:
    tensors: dict[str, Tensor] = {"img_in.weight": torch.zeros(2, 2), "txt_in.weight": torch.zeros(2, 2)}
    for leaf in ("weight", "bias"):
        tensors[f"final_layer.adaLN_modulation.1.{leaf}"] = torch.zeros(4)
    tensors |= {"final_layer.linear.weight": torch.zeros(2, 2), "double_blocks.7.extra": torch.zeros(1)}

    with pytest.raises(WeightsCorrupt, match=r"double_blocks\.7\.extra has no place in the architecture"):
        convert_flux(tensors, {"num_layers": 0, "num_single_layers": 0})


@pytest.mark.slow
def test_file_of_any_size_converts_in_little_memory(tmp_path: Path) -> None:
    """600 MB of fused projections, split and cast under a limit of 300 MB beside the libraries."""
    source = tmp_path / "large.safetensors"
    names = [f"transformer.resblocks.{number}.attn.in_proj_weight" for number in range(10)]
    plan = {name: Planned(lazy((7680, 2000), torch.float32, never), torch.float32) for name in names}
    with source.open("wb") as stream:
        header = header_of(plan)
        stream.write(header)
        stream.truncate(len(header) + stored_bytes(plan))
    code = f"""
import resource, torch
from pathlib import Path
from gpu_runtime.weights.importing.conversions import convert_openclip
from gpu_runtime.weights.importing.sources import open_safetensors
from gpu_runtime.weights.importing.writer import Planned, write_safetensors
torch.set_num_threads(1)
torch.zeros(4).sum()
used = sum(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith(('VmData', 'VmStk'))) * 1024
limit = used + (300 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
tensors = convert_openclip(open_safetensors(Path({str(source)!r})))
plan = {{name: Planned(tensor, torch.float16) for name, tensor in tensors.items()}}
print(write_safetensors(Path({str(tmp_path / "out")!r}), plan, lambda size: None).size_bytes)
try:
    torch.zeros(128 << 20)
except RuntimeError:
    print('the limit holds')
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    size, control = done.stdout.splitlines()
    assert int(size) > 10 * 7680 * 2000 * 2
    assert control == "the limit holds"


def pruned_unet(*, depths: list[list[int]], middle: int, up: list[list[int]]) -> dict[str, Tensor]:
    """Names and shapes of an XL UNet in LDM's layout, as far as its configuration is read from them."""
    tensors: dict[str, Tensor] = {"input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)}
    tensors["out.2.weight"] = torch.zeros(4, 32, 3, 3)
    tensors["label_emb.0.0.weight"] = torch.zeros(128, 1280 + 6 * 256)

    def attention(prefix: str, depth: int) -> None:
        if depth:
            tensors[f"{prefix}proj_in.weight"] = torch.zeros(8, 8)
        for layer in range(depth):
            tensors[f"{prefix}transformer_blocks.{layer}.attn2.to_k.weight"] = torch.zeros(8, 2048)

    number = 1
    for level, blocks in enumerate(depths):
        for depth in blocks:
            tensors[f"input_blocks.{number}.0.in_layers.2.weight"] = torch.zeros(32 << level, 8, 3, 3)
            attention(f"input_blocks.{number}.1.", depth)
            number += 1
        if level < len(depths) - 1:
            tensors[f"input_blocks.{number}.0.op.weight"] = torch.zeros(1)
            number += 1
    attention("middle_block.1.", middle)
    for place, depth in enumerate(depth for blocks in up for depth in blocks):
        tensors[f"output_blocks.{place}.0.in_layers.2.weight"] = torch.zeros(8, 8, 3, 3)
        attention(f"output_blocks.{place}.1.", depth)
    return tensors


BASE = {
    "attention_head_dim": [5, 10, 20],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def test_depths_of_the_released_xl() -> None:
    tensors = pruned_unet(
        depths=[[0, 0], [2, 2], [10, 10]], middle=10, up=[[10, 10, 10], [2, 2, 2], [0, 0, 0]]
    )

    config = unet_config(BASE, tensors)

    assert config["transformer_layers_per_block"] == [1, 2, 10]
    assert "reverse_transformer_layers_per_block" not in config
    assert "mid_block_type" not in config
    assert config["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert config["up_block_types"] == ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]


def test_depths_of_a_pruned_xl() -> None:
    """SSD-1B: fewer layers, others on the way up than on the way down, no attention in the middle."""
    tensors = pruned_unet(depths=[[0, 0], [2, 2], [4, 4]], middle=0, up=[[4, 4, 10], [2, 1, 1], [0, 0, 0]])

    config = unet_config(BASE, tensors)

    assert config["transformer_layers_per_block"] == [1, 2, 4]
    assert config["reverse_transformer_layers_per_block"] == [[4, 4, 10], [2, 1, 1], 1]
    assert config["mid_block_type"] == "UNetMidBlock2D"


def test_heads_where_the_familys_number_does_not_fit() -> None:
    tensors = pruned_unet(depths=[[0, 0], [2, 2]], middle=2, up=[[2, 2, 2], [0, 0, 0]])

    assert unet_config(BASE, tensors)["attention_head_dim"] == [1, 1]
