"""The GPU suite runs here with tiny networks: what it finds on a device is the same code's."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.pipelines import make_tiny
from tests.bench.gpu import checkpoints
from tests.bench.gpu.__main__ import main
from tests.bench.gpu.bench import run
from tests.bench.gpu.figures import Figure, Report
from tests.bench.gpu.load import waiting_in_line
from tests.gpu_runtime.driving import image_request

pytestmark = pytest.mark.slow

SECTIONS = (
    "roofs",
    "images sd15",
    "load",
    "sameness",
    "turns sd15",
    "swaps",
    "fast sd15",
    "fp8",
    "graphs sd15",
)


def test_tiny_suite_finds_every_kind_of_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gpu.json"
    report = main(["--tiny", "--device", "cpu", "--json", str(file), "--only", *SECTIONS])
    assert report.notes == []
    found = {figure.name for figure in report.figures}
    assert {
        "bfloat16 product",
        "fp8 product, a scale for each row",
        "copy from page-locked host memory",
        "sd15-2 at 64: engine, p95",
        "sd15-2 at 64: diffusers, p50",
        "sd15 at 70% load: engine, p95",
        "sd15 at 110% load: one at a time (simulated), p50",
        "sd15 64: b*",
        "sd15 64: MFU at the best rate",
        "sdxl: live tensors after 4 swaps",
        "sd15, reuse_threshold 0.08: standard over fast",
        "sd15, 4 images: without over with graphs",
        "sd35m, reuse_threshold 0.0, fp8 True: relative difference of the latents",
    } <= found
    same = next(figure for figure in report.figures if "same bytes under load" in figure.name)
    assert same.value == 1.0
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])["settings"]["is_tiny"]
    assert len(json.loads(file.read_text())["figures"]) == len(report.figures)


def test_failed_section_loses_no_other_and_late_ones_are_skipped(tmp_path: Path) -> None:
    def fail() -> list[Figure]:
        raise ValueError("broken")

    report = Report(tmp_path / "found.json", 100.0)
    report.section("first", 1.0, fail)
    report.section("second", 1.0, lambda: [Figure(section="second", name="speed", value=1.0, unit="m/s")])
    report.section("third", 1000.0, fail)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [figure["name"] for figure in found["figures"]] == ["speed"]
    assert found["notes"][0] == "first: failed: ValueError: broken"
    assert found["notes"][1].startswith("third: skipped, it needs 1000 s and ")


def test_checkpoint_of_holes_makes_images_once_its_values_are_drawn(tmp_path: Path) -> None:
    """As the sized ones do, with a tiny pipeline's configurations in the place of the shipped ones."""
    shipped = make_tiny("sd15", tmp_path / "shipped")
    for file in [*shipped.glob("tokenizer/*"), *shipped.rglob("*.safetensors")]:
        file.unlink()
    (shipped / "tokenizer").rmdir()
    checkpoints.write_sized(shipped, tmp_path / "sd15-1")
    weights = tmp_path / "sd15-1" / "unet" / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size > 100_000 > 512 * weights.stat().st_blocks
    checkpoint = CheckpointRef(name="sd15-1", family="sd15", path=str(tmp_path / "sd15-1"), digest="sd15-1")
    engine = Engine(EngineConfig(device="cpu"), families=checkpoints.families(is_tiny=False))
    image = run(engine, [image_request("r", checkpoint, width=64, height=64, steps=2)])["r"]
    assert np.asarray(Image.open(BytesIO(image))).std() > 1
    engine.close()


def test_one_at_a_time_is_first_come_first_served() -> None:
    assert waiting_in_line([0.0, 1.0, 10.0], 2.0) == [2.0, 3.0, 2.0]
