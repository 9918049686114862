"""Scheduler configurations that checkpoints bring, and the sampler state of one image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import Sampler
from gpu_runtime.samplers import (
    DECLARED_ONLY,
    EDM_SAMPLERS,
    MAX_PREPARED,
    SAMPLERS,
    PreparedSchedulers,
    SamplerFactory,
    pipeline_config,
    read_scheduler_config,
)

CPU = torch.device("cpu")
DECLARABLE = sorted(
    {spec.scheduler for spec in (*SAMPLERS.values(), *EDM_SAMPLERS.values())} | set(DECLARED_ONLY)
)


def declare(folder: Path, **values: object) -> Path:
    (folder / "scheduler_config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("class_name", DECLARABLE)
def test_every_known_class_may_be_declared(class_name: str, tmp_path: Path) -> None:
    config = read_scheduler_config(declare(tmp_path, _class_name=class_name, num_train_timesteps=1000))
    assert config["_class_name"] == DECLARED_ONLY.get(class_name, class_name)
    assert config["num_train_timesteps"] == 1000


@pytest.mark.parametrize(
    "class_name", [name for name in DECLARABLE if not name.startswith(("EDM", "FlowMatch"))]
)
def test_every_sampler_starts_from_every_declared_noise_schedule(class_name: str, tmp_path: Path) -> None:
    factory = SamplerFactory(read_scheduler_config(declare(tmp_path, _class_name=class_name)), CPU)
    for sampler in (Sampler.EULER_A, Sampler.DPMPP_2M_KARRAS, Sampler.DDIM, Sampler.UNIPC):
        made = factory.make(sampler, steps=2, seed=1)
        latents = made.initial_latents((4, 2, 2))
        while not made.is_done:
            latents = made.advance(0.1 * made.scale(latents), latents)
        assert bool(torch.isfinite(latents).all())
        assert made.steps_done == 2


def test_unknown_class_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match=r"'os\.system' is none of DDIMScheduler"):
        read_scheduler_config(declare(tmp_path, _class_name="os.system"))


def test_missing_and_damaged_files_are_different_answers(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing):
        read_scheduler_config(tmp_path)
    (tmp_path / "scheduler_config.json").write_text("{")
    with pytest.raises(WeightsCorrupt):
        read_scheduler_config(tmp_path)
    for values in ({"beta_start": 0.1}, {"_class_name": ["os", "system"]}):
        with pytest.raises(WeightsCorrupt):
            read_scheduler_config(declare(tmp_path, **values))


@pytest.mark.parametrize("count", [0, -1, 100_001, 10**9, 10**400, 1000.0, "1000", True, None])
def test_number_of_noise_levels_is_limited(count: object, tmp_path: Path) -> None:
    """Schedulers make tables of so many rows as soon as they are built."""
    with pytest.raises(WeightsCorrupt, match="num_train_timesteps"):
        read_scheduler_config(declare(tmp_path, _class_name="DDIMScheduler", num_train_timesteps=count))


@pytest.mark.parametrize("values", [{"beta_schedule": "none of them"}, {"beta_start": "a"}])
def test_settings_that_make_no_scheduler_are_damage(values: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="is not a scheduler configuration"):
        read_scheduler_config(declare(tmp_path, _class_name="DDIMScheduler", **values))


def test_corrections_of_the_first_pipelines_are_asked_for(tmp_path: Path) -> None:
    declared = read_scheduler_config(
        declare(tmp_path, _class_name="DDIMScheduler", steps_offset=0, clip_sample=True)
    )
    assert (declared["steps_offset"], declared["clip_sample"]) == (0, True)
    corrected = pipeline_config(declared)
    assert (corrected["steps_offset"], corrected["clip_sample"]) == (1, False)


@pytest.mark.parametrize("sampler", [Sampler.DDIM, Sampler.DDPM], ids=lambda s: s.value)
def test_latents_are_not_clipped_where_the_configuration_is_silent(sampler: Sampler, tmp_path: Path) -> None:
    factory = SamplerFactory(
        read_scheduler_config(declare(tmp_path, _class_name="EulerDiscreteScheduler")), CPU
    )
    made = factory.make(sampler, steps=1, seed=1)
    latents = torch.full((1, 4, 2, 2), 3.0)
    assert float(made.advance(torch.zeros_like(latents), latents).min()) > 1


def test_preconditioned_checkpoint_has_its_own_samplers(tmp_path: Path) -> None:
    factory = SamplerFactory(read_scheduler_config(declare(tmp_path, _class_name="EDMEulerScheduler")), CPU)
    assert float(factory.make(Sampler.EULER, steps=2, seed=1).initial_latents((4, 8, 8)).abs().max()) > 80
    with pytest.raises(UnsupportedCombination, match="sampler ddim does not fit"):
        factory.make(Sampler.DDIM, steps=2, seed=1)


def test_prepared_schedulers_are_copied_and_the_oldest_forgotten() -> None:
    prepared, made = PreparedSchedulers(), []

    def prepare() -> list[int]:
        made.append(len(made))
        return [0]

    first, second = prepared.copy("a", prepare), prepared.copy("a", prepare)
    assert first is not second
    assert made == [0]
    for number in range(MAX_PREPARED):
        prepared.copy(number, prepare)
    prepared.copy("a", prepare)
    assert len(made) == MAX_PREPARED + 2
