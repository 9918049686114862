"""Tiny checkpoints laid out as in the store: components by content, checkpoints that link to them."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import DevicePlan
from gpu_runtime.families.registry import LoadFamily
from gpu_runtime.messages import CheckpointRef, VaeRef
from gpu_runtime.tiny.pipelines import base_family
from gpu_runtime.weights.assembly import open_residency
from gpu_runtime.weights.budget import MIB, ActivationPeaks
from gpu_runtime.weights.checkpoint_files import component_folders, weights_bytes
from gpu_runtime.weights.residency import Residency
from gpu_runtime.weights.source import WeightsSource
from tests.gpu_runtime.tiny_folders import tiny_folder

PLAN = DevicePlan(
    device=torch.device("cpu"),
    device_name="cpu",
    dtype=torch.float32,
    kernels=(SDPBackend.MATH,),
    reason="a test",
)


class TinyStore:
    """Makes checkpoints in one folder; equal components have one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "components").mkdir(parents=True)
        (folder / "checkpoints").mkdir()

    def checkpoint(
        self, name: str, family: str = "sd15", *, seed: int, base: int | None = None, **ref: Any
    ) -> CheckpointRef:
        """A tiny checkpoint; those with the same `base` share all but the denoiser."""
        folder = self.folder / "checkpoints" / name
        tiny_folder(family, folder, seed=seed, shared_seed=seed if base is None else base)
        for part in sorted(folder.iterdir()):
            if part.is_dir():
                self._link(part)
        return CheckpointRef(
            name=name, family=base_family(family), path=str(folder), digest=f"digest of {name}", **ref
        )

    def vae(self, name: str, family: str = "sd15", *, seed: int) -> VaeRef:
        """An autoencoder by itself."""
        made = tiny_folder(family, self.folder / f"whole-{name}", seed=seed)
        return VaeRef(name=name, path=str(self._link(made / "vae")), digest=f"digest of {name}")

    def _link(self, part: Path) -> Path:
        """Move a component to its place by content and leave a link."""
        digest = hashlib.sha256()
        for file in sorted(part.iterdir()):
            digest.update(file.name.encode() + file.read_bytes())
        component = self.folder / "components" / digest.hexdigest()
        if component.exists():
            shutil.rmtree(part)
        else:
            part.rename(component)
        part.symlink_to(component)
        return component


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Parts:
    """Stands for a family: the networks of a checkpoint and nothing else."""

    def __init__(self, source: WeightsSource) -> None:
        self.text_encoder = source.network("text_encoder", allowed=("CLIPTextModel",))
        self.unet = source.network("unet", allowed=("UNet2DConditionModel",))
        self.vae = source.network("vae", allowed=("AutoencoderKL",), dtype=torch.float32)

    @property
    def networks(self) -> tuple[Any, Any, Any]:
        return self.text_encoder, self.unet, self.vae


def load_parts(checkpoint: CheckpointRef, source: WeightsSource) -> Any:
    """In the place of the family registry's loader."""
    return Parts(source)


def residency(
    clock: Clock,
    *,
    wanted: set[str] | None = None,
    families: Mapping[str, LoadFamily] | None = None,
    **settings: Any,
) -> Residency:
    """On the CPU; `settings` are those of the engine's configuration."""
    held: set[str] = set() if wanted is None else wanted
    return open_residency(
        EngineConfig(**settings),
        PLAN,
        families=families or {"sd15": load_parts},
        peaks=ActivationPeaks(),
        wanted=lambda: held,
        clock=clock,
    )


def size_of(*checkpoints: CheckpointRef) -> int:
    """Bytes of the checkpoints together in float32, shared components once."""
    folders = {folder for each in checkpoints for folder in component_folders(Path(each.path)).values()}
    return sum(weights_bytes(folder, torch.float32) for folder in folders)


def megabytes(size_bytes: int) -> float:
    """As the configuration takes it."""
    return size_bytes / MIB


def live_tensors() -> tuple[int, int]:
    """How many tensors there are, and the bytes of their distinct storages."""
    gc.collect()
    storages: dict[int, int] = {}
    count = 0
    for found in gc.get_objects():
        # Exactly these: tests of compilation leave stand-ins without memory.
        if type(found) in (torch.Tensor, torch.nn.Parameter):
            count += 1
            storages[found.untyped_storage().data_ptr()] = found.untyped_storage().nbytes()
    return count, sum(storages.values())
