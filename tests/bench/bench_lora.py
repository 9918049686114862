"""What a different LoRA for every request costs, here and with diffusers.

Two questions, in float32 on the device that `--device` names, for Stable Diffusion 1.5 networks of random
weights with every block of the real one: `tiny`, where a call costs what starting its operations costs, as on
an accelerator, and `quarter`, a quarter as wide as the real one, where a processor is busy with arithmetic
that no batch saves. LoRAs of rank 16 for attention, feed-forward and text encoder:

1. Throughput: `--images` concurrent single-image guided requests, each with its own LoRA, in one batch of
   the engine, against diffusers' pipeline with `load_lora_weights`, the image and `unload_lora_weights`, one
   request after another. *Cold* reads every file anew for every request (as diffusers does), *warm* has them
   in the bank. The same without LoRAs shows what the adapters themselves cost.
2. Change: how long until another LoRA is in effect. Cold is reading and fitting a file that was never seen,
   warm one that is in the bank; both include the stacked tensors for the first call.

Fixed prompt, seeds, size, steps and sampler; decoding and PNG included; loading the checkpoint and one
warm-up round excluded; ours and theirs are measured in turn in every round. Before that, each image is
compared with the pipeline's: at most one level of 255. Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_lora [--rounds 5] [--images 8] [--steps 10]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.bank import AdapterBank, Networks
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, ImageRequest, LoraRef, Sampler
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.bench.reporting import Rounds, publish, spread
from tests.gpu_runtime.driving import pixels, run_all

NETWORKS = ("tiny", "quarter")

WIDTHS = (80, 160, 320, 320)
"""A quarter of the real UNet's."""

TEXT_WIDTH = 192
RANK = 16
SCALE = 0.8
TARGET = 5.0


def build_checkpoint(folder: Path, network: str) -> CheckpointRef:
    """The tiny pipeline, or the same with a wider UNet and text encoder."""
    torch.manual_seed(0)
    pipeline = tiny_pipeline("sd15")
    if network == "quarter":
        _widen(pipeline)
    pipeline.save_pretrained(folder)
    return CheckpointRef(name=network, family="sd15", path=str(folder), digest=network)


def _widen(pipeline: Any) -> None:  # an untyped diffusers pipeline
    settings = dict(pipeline.unet.config) | {
        "block_out_channels": WIDTHS,
        "cross_attention_dim": TEXT_WIDTH,
        "norm_num_groups": 16,
    }
    pipeline.unet = UNet2DConditionModel.from_config(settings)
    text = pipeline.text_encoder.config.to_dict() | {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    pipeline.text_encoder = CLIPTextModel(CLIPTextConfig(**text))


def build_loras(folder: Path, checkpoint: CheckpointRef, count: int) -> list[Path]:
    """kohya files for every attention layer and the text encoder, as trainers make them by default."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint.path, local_files_only=True)
    layers = {
        f"lora_unet_{path.replace('.', '_')}": module.weight.shape
        for path, module in pipeline.unet.named_modules()
        if path.endswith(("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"))
    }
    layers |= {
        f"lora_te_text_model_{path.replace('.', '_')}": module.weight.shape
        for path, module in pipeline.text_encoder.named_modules()
        if path.endswith(("_proj", "fc1", "fc2"))
    }
    files = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for stem, (rows, columns) in layers.items():
            tensors[f"{stem}.lora_down.weight"] = torch.randn(RANK, columns, generator=generator) * 0.05
            tensors[f"{stem}.lora_up.weight"] = torch.randn(rows, RANK, generator=generator) * 0.05
            tensors[f"{stem}.alpha"] = torch.tensor(RANK / 2)
        files.append(folder / f"style-{seed}.safetensors")
        save_file(tensors, files[-1])
    return files


def lora_ref(file: Path, generation: int = 0) -> LoraRef:
    """Another generation is another digest: a file that the bank has never seen."""
    return LoraRef(name=file.stem, path=str(file), digest=f"{file.stem}/{generation}", scale=SCALE)


def requests_of(
    checkpoint: CheckpointRef, files: Sequence[Path], chosen: argparse.Namespace
) -> list[ImageRequest]:
    return [
        ImageRequest(
            request_id=f"r{seed}",
            checkpoint=checkpoint,
            prompt="a red apple on a wooden table",
            negative_prompt="blurry",
            width=chosen.side,
            height=chosen.side,
            output_width=chosen.side,
            output_height=chosen.side,
            steps=chosen.steps,
            guidance_scale=5.0,
            seeds=(seed,),
            sampler=Sampler.EULER,
            account=f"account-{seed}",
            loras=(lora_ref(file),),
        )
        for seed, file in enumerate(files)
    ]


class Plain:
    """diffusers' pipeline, one request after another."""

    def __init__(self, checkpoint: CheckpointRef, device: str) -> None:
        pipeline = StableDiffusionPipeline.from_pretrained(checkpoint.path, local_files_only=True)
        pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline: Any = pipeline.to(device)

    def load(self, request: ImageRequest) -> None:
        (lora,) = request.loras
        file = Path(lora.path)
        self._pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="a")
        self._pipeline.set_adapters(["a"], [lora.scale])

    def unload(self) -> None:
        self._pipeline.unload_lora_weights()

    def image(self, request: ImageRequest) -> Any:
        return self._pipeline(
            request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seeds[0]),
        ).images[0]

    def serve(self, requests: Sequence[ImageRequest]) -> list[Any]:
        images = []
        for request in requests:
            if request.loras:
                self.load(request)
            images.append(self.image(request))
            if request.loras:
                self.unload()
        return images

    def networks(self) -> Networks:
        return {"unet": self._pipeline.unet, "text_encoder": self._pipeline.text_encoder}


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds, and the process's own processor seconds, which neighbours do not lengthen."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started, used = time.monotonic(), time.process_time()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - started, time.process_time() - used


def require_equal_images(engine: Engine, plain: Plain, requests: Sequence[ImageRequest]) -> int:
    """The largest difference in levels of 255. Raises AssertionError where it is above 1."""
    outcome = run_all(engine, requests)
    worst = 0
    for request, image in zip(requests, plain.serve(requests), strict=True):
        ours = pixels(outcome.images(request.request_id)[0].data)
        worst = max(worst, int(np.abs(ours - np.asarray(image).astype(np.int16)).max()))
    assert worst <= 1, f"images differ by {worst} levels"
    return worst


def measure_throughput(
    checkpoint: CheckpointRef, files: Sequence[Path], chosen: argparse.Namespace
) -> tuple[list[Rounds], dict[str, object]]:
    config = EngineConfig(device=chosen.device, dtype="float32", max_rows=max(16, chosen.images))
    warm, cold = Engine(config), Engine(replace(config, lora_budget_mb=0))
    plain = Plain(checkpoint, warm.info().device)
    requests = requests_of(checkpoint, files, chosen)
    bare = [replace(request, loras=()) for request in requests]
    worst = require_equal_images(warm, plain, requests)
    run_all(cold, requests)
    figures = {
        "engine, a LoRA each, cold": lambda: run_all(cold, requests),
        "engine, a LoRA each, warm": lambda: run_all(warm, requests),
        "engine, no LoRA": lambda: run_all(warm, bare),
        "diffusers, load and unload each": lambda: plain.serve(requests),
        "diffusers, no LoRA": lambda: plain.serve(bare),
    }
    rates = {name: Rounds(name, "images/s") for name in figures}
    used = {name: Rounds(f"{name}, processor", "ms/image") for name in figures}
    for _ in range(chosen.rounds):
        for name, call in figures.items():
            wall_s, processor_s = seconds(call)
            rates[name].values.append(len(requests) / wall_s)
            used[name].values.append(processor_s / len(requests) * 1e3)
    info = warm.info()
    warm.close()
    cold.close()
    about = {"device": info.device_name, "dtype": info.dtype, "levels_off": worst}
    return [*rates.values(), *used.values(), *_gains(rates, used)], about


def _gains(rates: Mapping[str, Rounds], used: Mapping[str, Rounds]) -> list[Rounds]:
    """Ratios within each round."""
    theirs = "diffusers, load and unload each"
    warm, cold = "engine, a LoRA each, warm", "engine, a LoRA each, cold"
    target = f">= {TARGET:g}"
    return [
        ratio("gain, cold", rates[cold], rates[theirs], target),
        ratio("gain, warm", rates[warm], rates[theirs], target),
        ratio("gain in processor time, cold", used[theirs], used[cold], target),
        ratio("gain in processor time, warm", used[theirs], used[warm], target),
        ratio("processor time with LoRAs over without, warm", used[warm], used["engine, no LoRA"]),
    ]


def ratio(name: str, above: Rounds, below: Rounds, target: str = "") -> Rounds:
    values = [a / b for a, b in zip(above.values, below.values, strict=True)]
    return Rounds(name, "x", target, values)


def measure_change(
    checkpoint: CheckpointRef, files: Sequence[Path], chosen: argparse.Namespace
) -> tuple[list[Rounds], dict[str, object]]:
    """Milliseconds until another LoRA is in effect on the denoiser and the text encoder."""
    plan = Engine(EngineConfig(device=chosen.device, dtype="float32"))
    plain = Plain(checkpoint, plan.info().device)
    plan.close()
    networks, bank = plain.networks(), AdapterBank(2**30)
    requests = requests_of(checkpoint, files, chosen)

    def open_hooks(ref: LoraRef) -> None:
        uses = bank.uses([ref], "sd15", networks)
        for name, network in networks.items():
            with applied(network, name, [uses, uses]):
                pass

    def load_plainly(request: ImageRequest) -> None:
        plain.load(request)
        plain.unload()

    cold, warm, theirs = (
        Rounds("change to a LoRA never seen", "ms"),
        Rounds("change to one in the bank", "ms"),
        Rounds("diffusers, load and unload", "ms"),
    )
    load_plainly(requests[0])
    for generation in range(1, chosen.rounds + 1):
        for file, request in zip(files, requests, strict=True):
            ref = lora_ref(file, generation)
            cold.values.append(seconds(lambda ref=ref: open_hooks(ref))[0] * 1e3)
            warm.values.append(seconds(lambda ref=ref: open_hooks(ref))[0] * 1e3)
            theirs.values.append(seconds(lambda request=request: load_plainly(request))[0] * 1e3)
    gain = ratio("gain of a change, cold", theirs, cold, f">= {TARGET:g}")
    details = {"change_cold_ms": spread(cold.values), "change_warm_ms": spread(warm.values)}
    return [cold, warm, theirs, gain], details


def read_options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", type=Path, help="also write the JSON document to this file")
    options.add_argument("--device", default="auto")
    options.add_argument("--images", type=int, default=8)
    options.add_argument("--side", type=int, default=64)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=1, help="torch threads on the CPU")
    return options.parse_args()


def main() -> None:
    chosen = read_options()
    torch.set_num_threads(chosen.threads)
    logging.disable(logging.WARNING)  # peft and transformers report every load
    warnings.simplefilter("ignore")
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    figures: list[Rounds] = []
    details: dict[str, object] = {}
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = build_checkpoint(Path(scratch) / "checkpoint", network)
            files = build_loras(Path(scratch), checkpoint, chosen.images)
            throughput, about = measure_throughput(checkpoint, files, chosen)
            change, more = measure_change(checkpoint, files, chosen)
            details[network] = about | more | {"lora_bytes": files[0].stat().st_size}
        for figure in (*throughput, *change):
            figure.name = f"{network}: {figure.name}"
            figures.append(figure)
    libraries = {name: version(name) for name in ("torch", "diffusers", "peft", "transformers")}
    settings = {name: value for name, value in vars(chosen).items() if name != "json"}
    publish(
        "lora",
        figures,
        settings=settings | {"rank": RANK},
        details=details | {"libraries": libraries},
        target=chosen.json,
    )


if __name__ == "__main__":
    main()
