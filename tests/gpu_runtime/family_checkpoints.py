"""Tiny checkpoints of every family, and variations of them that the field has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.pipelines import base_family
from tests.gpu_runtime.tiny_folders import tiny_folder

SCHEDULER = "scheduler/scheduler_config.json"

GUIDANCE_WIDTH = 16
"""Of the guidance embedding of a UNet distilled with it; 256 in the field."""

PLAYGROUND_SCHEDULER = {
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "prediction_type": "epsilon",
    "solver_order": 2,
}


class FamilyCheckpoints:
    """Makes each checkpoint once, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, CheckpointRef] = {}

    def plain(self, name: str) -> CheckpointRef:
        """By family or variant, as `make_tiny` names them."""
        if name not in self._made:
            tiny_folder(name, self._folder / name, seed=3)
            self._made[name] = self._ref(name, name)
        return self._made[name]

    def altered(self, name: str, title: str, changes: Mapping[str, Mapping[str, Any]]) -> CheckpointRef:
        """A new checkpoint whose JSON files (path inside the folder) have other values.

        None removes a value; a file that gets another `_class_name` keeps nothing else.
        """
        if title not in self._made:
            folder = tiny_folder(name, self._folder / title, seed=3)
            for file, values in changes.items():
                _alter(folder / file, values)
            self._made[title] = self._ref(name, title)
        return self._made[title]

    def guidance_distilled(self, name: str) -> CheckpointRef:
        """A UNet that takes the guidance scale as an input, as LCM checkpoints have."""
        title = f"{name}-lcm"
        if title not in self._made:
            pipeline = DiffusionPipeline.from_pretrained(self.plain(name).path, local_files_only=True)
            pipeline.unet = type(pipeline.unet).from_config(
                pipeline.unet.config, time_cond_proj_dim=GUIDANCE_WIDTH
            )
            pipeline.save_pretrained(self._folder / title)
            self._made[title] = self._ref(name, title)
        return self._made[title]

    def _ref(self, name: str, title: str) -> CheckpointRef:
        return CheckpointRef(
            name=title, family=base_family(name), path=str(self._folder / title), digest=title
        )


def _alter(file: Path, values: Mapping[str, Any]) -> None:
    known = {} if "_class_name" in values else json.loads(file.read_text())
    known.update(values)
    file.write_text(json.dumps({name: value for name, value in known.items() if value is not None}))
