"""Operations by networks that an operator imports: tiny random ones of the same classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from gpu_runtime.errors import CheckpointMissing, PictureUnusable, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.preprocessors.depths import nearness, normal_map
from gpu_runtime.preprocessors.scene_colours import COLOURS
from gpu_runtime.work import Asset
from tests.gpu_runtime.operations.photographs import Pixels, astronaut
from tests.gpu_runtime.operations.running import context_of, run, run_one

SMALL: Pixels = np.ascontiguousarray(cv2.resize(astronaut(), (96, 64), interpolation=cv2.INTER_AREA))
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def asset_of(folder: Path) -> dict[str, Asset]:
    return {"model": Asset(name=folder.name, path=str(folder), digest=str(folder))}


def saved(network: Any, folder: Path, **preprocessor: Any) -> dict[str, Asset]:
    network.eval().save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return asset_of(folder)


def dpt() -> DPTForDepthEstimation:
    torch.manual_seed(0)
    config = DPTConfig(
        **TINY | {"num_hidden_layers": 4},
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    return DPTForDepthEstimation(config)


def depth_anything() -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    return DepthAnythingForDepthEstimation(config)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (dpt, {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
        (
            depth_anything,
            {"size": {"height": 28, "width": 28}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
        ),
    ],
)
def test_depth_is_the_networks(make: Any, said: dict[str, Any], tmp_path: Path) -> None:
    network = make()
    assets = saved(network, tmp_path / "depth", **said)
    with torch.inference_mode():
        made = run_one("detect.depth", {"image": SMALL}, assets=assets)
        width = 42 if said.get("keep_aspect_ratio") else 32
        height = said["size"]["height"]
        pixels = cv2.resize(SMALL, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        mean = np.array(said.get("image_mean", (0.485, 0.456, 0.406)), dtype=np.float32)
        std = np.array(said.get("image_std", (0.229, 0.224, 0.225)), dtype=np.float32)
        tensor = torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)[None]
        values = network(tensor).predicted_depth[:, None]
        values = torch.nn.functional.interpolate(values, (64, 96), mode="bicubic", align_corners=False)[0, 0]
    expected = ((values - values.min()) / (values.max() - values.min()) * 255).numpy()
    assert made.shape == SMALL.shape
    assert np.abs(made[:, :, 0] - expected).max() < 1.5
    assert (int(made.min()), int(made.max())) == (0, 255)


def test_normals_come_from_the_same_network(tmp_path: Path) -> None:
    made = run_one(
        "detect.normal", {"image": SMALL}, assets=saved(dpt(), tmp_path / "depth"), threshold_a=0.0
    )
    lengths = np.linalg.norm(made.astype(float) / 127.5 - 1, axis=2)
    assert lengths == pytest.approx(np.ones((64, 96)), abs=0.02)


def test_normals_of_a_ball_point_left_up_and_at_the_camera() -> None:
    rows, columns = np.indices((101, 101)) - 50
    near = np.sqrt(np.clip(1 - (rows**2 + columns**2) / 50**2, 0, None)).astype(np.float32)
    normals = normal_map(near, background=0.1).astype(int)
    assert normals[50, 50] == pytest.approx([128, 128, 255], abs=2)
    assert normals[50, 15, 0] > 150 > 106 > normals[50, 85, 0]
    assert normals[15, 50, 1] > 150 > 106 > normals[85, 50, 1]
    assert normals[2, 2] == pytest.approx([128, 128, 255], abs=1)


def test_distances_are_turned_into_nearness() -> None:
    near = nearness(np.array([[1.0, 2.0, 10.0]], dtype=np.float32), is_metric=True)
    assert near == pytest.approx(np.array([[1.0, 4 / 9, 0.0]]))
    assert nearness(np.full((2, 2), 7.0, dtype=np.float32), is_metric=False).max() == 0


def segformer(labels: int) -> SegformerForSemanticSegmentation:
    torch.manual_seed(0)
    config = SegformerConfig(
        num_labels=labels,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    return SegformerForSemanticSegmentation(config)


def test_segmentation_is_in_the_colours_of_ade20k(tmp_path: Path) -> None:
    assets = saved(segformer(150), tmp_path / "scenes", size={"height": 64, "width": 64})
    with torch.inference_mode():
        made = run_one("detect.segmentation", {"image": SMALL}, assets=assets)
    colours = np.unique(made.reshape(-1, 3), axis=0)
    assert made.shape == SMALL.shape
    assert {tuple(colour) for colour in colours} <= {tuple(colour) for colour in COLOURS}


def test_colours_are_those_that_controlnets_know() -> None:
    assert COLOURS.shape == (150, 3)
    named = {"wall": 0, "sky": 2, "tree": 4, "person": 12, "flag": 149}
    expected = [(120, 120, 120), (6, 230, 230), (4, 200, 3), (150, 5, 61), (92, 0, 255)]
    assert [tuple(COLOURS[index]) for index in named.values()] == expected


def test_segmentation_of_other_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCombination, match="tells 19 things apart"):
        run_one("detect.segmentation", {"image": SMALL}, assets=saved(segformer(19), tmp_path / "streets"))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "on", "the", "moon", "red", "hat"]


def tokenizer(folder: Path) -> BertTokenizerFast:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    made = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    made.save_pretrained(folder)
    return made


def blip() -> BlipForConditionalGeneration:
    torch.manual_seed(3)
    text = TINY | {"vocab_size": len(WORDS), "bos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        text_config=text | {"encoder_hidden_size": 16, "max_position_embeddings": 64, "eos_token_id": 3},
        vision_config=TINY | {"image_size": 32, "patch_size": 16},
    )
    return BlipForConditionalGeneration(config)


def test_caption_is_what_the_network_generates(tmp_path: Path) -> None:
    words = tokenizer(tmp_path / "reader")
    network = blip()
    assets = saved(network, tmp_path / "reader", size={"height": 32, "width": 32})
    with torch.inference_mode():
        context = run(context_of("picture.caption", {"image": SMALL}, assets=assets, length=6))
        pixels = cv2.resize(SMALL, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        pixels = (pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        tensor = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
        tokens = network.generate(pixel_values=tensor, max_new_tokens=6, do_sample=False, num_beams=1)
    expected = words.decode(tokens[0], skip_special_tokens=True).strip()
    assert expected
    assert context.notes["caption"] == expected
    assert context.outputs == {}


@pytest.mark.parametrize("length", ["endless", 0, 10_000])
def test_unknown_lengths_are_refused(length: str | int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCombination, match="short"):
        run(context_of("picture.caption", {"image": SMALL}, assets=asset_of(tmp_path), length=length))


def clipseg(bias: float) -> CLIPSegForImageSegmentation:
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config=TINY | {"vocab_size": len(WORDS), "eos_token_id": 3, "max_position_embeddings": 16},
        vision_config=TINY | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
        reduce_dim=8,
        extract_layers=[0, 1],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        conditional_layer=0,
    )
    network = CLIPSegForImageSegmentation(config)
    with torch.no_grad():
        network.decoder.transposed_convolution.bias.add_(bias)
    return network


def marked(tmp_path: Path, bias: float, **settings: Any) -> Pixels:
    tokenizer(tmp_path / "marker")
    assets = saved(clipseg(bias), tmp_path / "marker", size={"height": 32, "width": 32})
    with torch.inference_mode():
        context = run(context_of("mask.from_text", {"image": SMALL}, assets=assets, **settings))
    mask: Pixels = context.outputs["mask"]
    return mask


def test_mask_marks_what_is_likely_enough(tmp_path: Path) -> None:
    mask = marked(tmp_path, 0.0, text="the cat", threshold=0.5)
    lower = marked(tmp_path, 0.0, text="the cat, red hat", threshold=0.45)
    assert mask.shape == (64, 96)
    assert set(np.unique(mask)) <= {0, 255}
    assert 0 < int((mask > 0).sum()) <= int((lower > 0).sum())


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(PictureUnusable, match="the moon") as caught:
        marked(tmp_path, -50.0, text="the moon")
    assert caught.value.code == "nothing_found"
    with pytest.raises(UnsupportedCombination, match="needs a text"):
        marked(tmp_path, 0.0, text=" , ")


def test_unfit_folders_are_refused_by_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"config\.json"):
        run_one("detect.depth", {"image": SMALL}, assets=asset_of(tmp_path / "empty"))
    wrong = saved(segformer(150), tmp_path / "scenes")
    with pytest.raises(UnsupportedCombination, match="SegformerForSemanticSegmentation"):
        run_one("detect.depth", {"image": SMALL}, assets=wrong)
    partial = saved(dpt(), tmp_path / "partial")
    file = tmp_path / "partial" / "model.safetensors"
    save_file(
        {name: tensor for name, tensor in load_file(file).items() if "head" not in name},
        file,
        {"format": "pt"},
    )
    with pytest.raises(WeightsCorrupt, match=r"head\..* are missing"):
        run_one("detect.depth", {"image": SMALL}, assets=partial)
    broken = saved(dpt(), tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(WeightsCorrupt, match="DPTForDepthEstimation"):
        run_one("detect.depth", {"image": SMALL}, assets=broken)
