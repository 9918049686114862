"""Scheduler configurations that checkpoints bring, and samplers and schedules on them.

Samplers that diffusers has a class for are compared with it over whole trajectories, and to the bit; our own
with what must be true of them. Where an image is changed, the reference is the pipelines' own get_timesteps.
"""

from __future__ import annotations

import gc
import inspect
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline
from torch import Tensor

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import name_of, read_name, schedules_of
from gpu_runtime.samplers import (
    ALGORITHMS,
    DECLARED_ONLY,
    EDM_SAMPLERS,
    MAX_STEPS,
    SAMPLERS,
    SamplerFactory,
    SchedulerConfig,
    pipeline_config,
    read_scheduler_config,
)
from gpu_runtime.sampling.multistep import lms_weights
from gpu_runtime.sampling.prepared import MAX_PREPARED, Shelf
from gpu_runtime.sampling.restart import levels_with_restarts
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.schedules import ALIGNED_SD, ALIGNED_SDXL, beta_quantiles

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
    for sampler in (Sampler.EULER_A, Sampler.DDIM, Sampler.UNIPC):
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


def test_the_shelf_keeps_what_was_used_last() -> None:
    shelf: Shelf[list[int]] = Shelf()
    made: list[int] = []

    def prepare() -> list[int]:
        made.append(len(made))
        return [0]

    assert shelf.get("a", prepare) is shelf.get("a", prepare)
    assert made == [0]
    for number in range(MAX_PREPARED):
        shelf.get(number, prepare)
    shelf.get("a", prepare)
    assert len(made) == MAX_PREPARED + 2


STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
SETTINGS: dict[SigmaSchedule, dict[str, object]] = {
    SigmaSchedule.AUTOMATIC: {},
    SigmaSchedule.KARRAS: {"use_karras_sigmas": True},
    SigmaSchedule.EXPONENTIAL: {"use_exponential_sigmas": True},
    SigmaSchedule.UNIFORM: {"timestep_spacing": "linspace"},
    SigmaSchedule.SGM_UNIFORM: {"timestep_spacing": "trailing"},
    SigmaSchedule.DDIM: {"timestep_spacing": "leading"},
}
"""How a user of diffusers asks for a schedule."""

SLOW_TO_SET_UP = (Sampler.KDPM2, Sampler.KDPM2_A)
"""A tenth of a second for 20 steps, in diffusers."""

CLEAN = torch.full((1, 4, 2, 2), 0.5)


def stable_diffusion(prediction_type: str = "epsilon", **changes: object) -> SchedulerConfig:
    values = STABLE_DIFFUSION | {"prediction_type": prediction_type} | changes
    config: SchedulerConfig = EulerDiscreteScheduler(**values).config
    return config


def predicted(seen: Tensor, timestep: float) -> Tensor:
    """A denoiser that depends on what it sees and when."""
    return torch.tanh(seen + timestep / 1000)


def run(sampler: RowSampler, latents: Tensor) -> Tensor:
    while not sampler.is_done:
        latents = sampler.advance(predicted(sampler.scale(latents), sampler.timestep), latents)
    return latents


def reference(scheduler: Any, latents: Tensor, times: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """The latents after each call of a pipeline's loop. Any: untyped in diffusers."""
    accepted = inspect.signature(scheduler.step).parameters
    extra = {"eta": 0.0, "generator": generator}
    extra = {name: value for name, value in extra.items() if name in accepted}
    for time in times:
        seen = scheduler.scale_model_input(latents, time)
        latents = scheduler.step(predicted(seen, float(time)), time, latents, **extra, return_dict=False)[0]
        yield latents


def made_by_hand(
    sampler: Sampler, schedule: SigmaSchedule, steps: int, config: SchedulerConfig
) -> Any:  # an untyped diffusers class
    """The noise scheduler of a user of diffusers; None where its class has no setting for the schedule."""
    spec = SAMPLERS[sampler]
    kind = getattr(diffusers, spec.scheduler)
    if not SETTINGS[schedule].keys() <= inspect.signature(kind.__init__).parameters.keys():
        return None
    scheduler = kind.from_config(config, **spec.overrides, **SETTINGS[schedule])
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", list(SAMPLERS), ids=lambda s: s.value)
def test_whole_trajectories_are_those_of_the_class(sampler: Sampler, prediction_type: str) -> None:
    config = stable_diffusion(prediction_type)
    factory = SamplerFactory(config, CPU)
    schedules, most = SETTINGS.keys() & schedules_of(sampler), MAX_STEPS[sampler]
    if sampler in SLOW_TO_SET_UP:
        schedules, most = {SigmaSchedule.KARRAS}, 9
    for schedule in sorted(schedules):
        is_long = schedule is SigmaSchedule.AUTOMATIC and prediction_type == "epsilon"
        for steps in (1, 2, 9, *([most] if is_long else [])):
            scheduler = made_by_hand(sampler, schedule, steps, config)
            if scheduler is None:
                continue
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(0)
            ours = factory.make(sampler, steps=steps, seed=3, schedule=schedule)
            generator = torch.Generator().manual_seed(3)
            latents = torch.randn(1, 4, 2, 2, generator=generator) * scheduler.init_noise_sigma
            assert torch.equal(ours.initial_latents((4, 2, 2)), latents)
            *_, theirs = reference(scheduler, latents, scheduler.timesteps, generator)
            assert torch.equal(run(ours, latents), theirs), (schedule, steps)
            assert ours.steps_done == ours.steps_total == steps


@pytest.mark.parametrize("strength", [0.3, 0.8])
@pytest.mark.parametrize("sampler", list(SAMPLERS), ids=lambda s: s.value)
def test_changing_an_image_begins_where_the_pipelines_begin(sampler: Sampler, strength: float) -> None:
    config, steps = stable_diffusion(), 9
    scheduler = made_by_hand(sampler, SigmaSchedule.AUTOMATIC, steps, config)
    times, count = StableDiffusionImg2ImgPipeline.get_timesteps(
        SimpleNamespace(scheduler=scheduler), steps, strength, CPU
    )
    ours = SamplerFactory(config, CPU).make(sampler, steps=steps, seed=3, strength=strength)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 4, 2, 2, generator=generator)
    assert torch.equal(ours.draw_noise((4, 2, 2)), noise)
    latents = scheduler.add_noise(CLEAN, noise, times[:1])
    assert torch.equal(ours.add_noise(CLEAN, noise), latents)
    moved = latents
    for index, theirs in enumerate(reference(scheduler, latents, times, generator)):
        moved = ours.advance(predicted(ours.scale(moved), ours.timestep), moved)
        assert torch.equal(moved, theirs)
        is_last = index == len(times) - 1
        kept = CLEAN if is_last else scheduler.add_noise(CLEAN, noise, torch.tensor([times[index + 1]]))
        assert torch.equal(ours.noised_at_next(CLEAN, noise), kept)
    assert ours.is_done
    assert ours.steps_done == ours.steps_total == count == int(steps * strength)


@pytest.mark.parametrize("share", [0.3, 0.62, 0.8, 0.95])
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize(
    "sampler", [Sampler.EULER, Sampler.HEUN, Sampler.DPMPP_2M, Sampler.PNDM], ids=lambda s: s.value
)
def test_a_second_checkpoint_goes_on_where_the_first_one_ended(
    sampler: Sampler, steps: int, share: float
) -> None:
    factory = SamplerFactory(stable_diffusion(), CPU)
    scheduler = made_by_hand(sampler, SigmaSchedule.AUTOMATIC, steps, stable_diffusion())
    expected, _ = StableDiffusionXLImg2ImgPipeline.get_timesteps(
        SimpleNamespace(scheduler=scheduler), steps, 0.3, CPU, denoising_start=share
    )
    cutoff = round(1000 - share * 1000)
    before = [time for time in scheduler.timesteps.tolist() if time >= cutoff]
    cases: list[tuple[list[float], dict[str, Any]]] = [
        (before, {"end_at": share}),
        (expected.tolist(), {"begin_at": share}),
    ]
    for wanted, settings in cases:
        if not wanted:
            with pytest.raises(UnsupportedCombination, match="none is left to do between"):
                factory.make(sampler, steps=steps, seed=1, **settings)
            continue
        ours = factory.make(sampler, steps=steps, seed=1, **settings)
        seen = []
        latents = CLEAN
        while not ours.is_done:
            seen.append(ours.timestep)
            latents = ours.advance(predicted(ours.scale(latents), ours.timestep), latents)
        assert seen == wanted
        assert ours.steps_done == ours.steps_total >= 1


def test_a_strength_that_leaves_no_step_is_refused() -> None:
    factory = SamplerFactory(stable_diffusion(), CPU)
    for sampler in (Sampler.EULER, Sampler.LMS):
        with pytest.raises(UnsupportedCombination, match=r"of 4 steps none is left to do at strength 0\.2"):
            factory.make(sampler, steps=4, seed=1, strength=0.2)


@pytest.mark.parametrize("sampler", list(Sampler), ids=lambda s: s.value)
def test_every_sampler_ends_at_finite_latents_with_each_of_its_schedules(sampler: Sampler) -> None:
    factory = SamplerFactory(stable_diffusion(), CPU)
    seen = {}
    for schedule in (SigmaSchedule.BETA,) if sampler in SLOW_TO_SET_UP else SigmaSchedule:
        if schedule not in schedules_of(sampler):
            with pytest.raises(UnsupportedCombination, match=f"schedule {schedule.value} does not fit"):
                factory.make(sampler, steps=2, seed=1, schedule=schedule)
            continue
        for steps in (1, 22, MAX_STEPS[sampler]) if sampler in ALGORITHMS else (1, 3):
            made = factory.make(sampler, steps=steps, seed=1, schedule=schedule)
            final = run(made, made.initial_latents((4, 2, 2)))
            assert bool(torch.isfinite(final).all()), (schedule, steps)
            assert made.steps_done == made.steps_total == steps
            seen[schedule] = final
    if seen.keys() == set(SigmaSchedule):
        assert not torch.equal(seen[SigmaSchedule.KARRAS], seen[SigmaSchedule.ALIGN_YOUR_STEPS])
        assert torch.equal(seen[SigmaSchedule.EXPONENTIAL], seen[SigmaSchedule.POLYEXPONENTIAL])


class Bell:
    """The best denoiser there can be for data that is normally distributed: it ends at such data."""

    MEAN, SPREAD = 0.5, 0.3

    def __init__(self) -> None:
        kept = EulerDiscreteScheduler(**STABLE_DIFFUSION).alphas_cumprod.double()
        self._log_levels = (((1 - kept) / kept).log() / 2).numpy()

    def predicted(self, seen: Tensor, timestep: float) -> Tensor:
        level = math.exp(float(np.interp(timestep, np.arange(1000), self._log_levels)))
        latents = seen * math.sqrt(level**2 + 1)
        denoised = (latents * self.SPREAD**2 + self.MEAN * level**2) / (self.SPREAD**2 + level**2)
        return (latents - denoised) / level


@pytest.mark.parametrize("sampler", list(ALGORITHMS), ids=lambda s: s.value)
def test_our_own_samplers_draw_from_the_data(sampler: Sampler) -> None:
    bell = Bell()
    factory = SamplerFactory(stable_diffusion(timestep_spacing="trailing"), CPU)
    is_choosable = SigmaSchedule.KARRAS in schedules_of(sampler)
    schedule = SigmaSchedule.KARRAS if is_choosable else SigmaSchedule.AUTOMATIC
    made = factory.make(sampler, steps=40, seed=1, schedule=schedule)
    latents = made.initial_latents((4, 48, 48))
    while not made.is_done:
        latents = made.advance(bell.predicted(made.scale(latents), made.timestep), latents)
    assert float(latents.mean()) == pytest.approx(bell.MEAN, abs=0.02)
    assert float(latents.std()) == pytest.approx(bell.SPREAD, abs=0.04)


@pytest.mark.parametrize("sampler", list(ALGORITHMS), ids=lambda s: s.value)
def test_our_own_samplers_draw_only_from_their_seed(sampler: Sampler) -> None:
    factory = SamplerFactory(stable_diffusion(), CPU)
    first, again, other = (factory.make(sampler, steps=22, seed=seed) for seed in (1, 1, 2))
    final = run(first, first.initial_latents((4, 2, 2)))
    factory.make(sampler, steps=22, seed=3)
    assert torch.equal(final, run(again, again.initial_latents((4, 2, 2))))
    assert not torch.equal(final, run(other, other.initial_latents((4, 2, 2))))


@pytest.mark.parametrize("sampler", list(ALGORITHMS), ids=lambda s: s.value)
def test_our_own_samplers_change_images(sampler: Sampler) -> None:
    made = SamplerFactory(stable_diffusion(), CPU).make(sampler, steps=25, seed=1, strength=0.9)
    euler = SamplerFactory(stable_diffusion(), CPU).make(Sampler.EULER, steps=25, seed=1, strength=0.9)
    noise = made.draw_noise((4, 2, 2))
    # Interpolated from its sigma, whose last bits differ between processors.
    assert made.timestep == pytest.approx(euler.timestep, rel=1e-6)
    latents = made.add_noise(CLEAN, noise)
    assert torch.allclose(latents, euler.add_noise(CLEAN, noise), rtol=1e-6)
    levels = []
    while not made.is_done:
        latents = made.advance(predicted(made.scale(latents), made.timestep), latents)
        levels.append(float((made.noised_at_next(CLEAN, noise) - CLEAN).abs().max()))
    assert levels[-1] == 0
    assert made.steps_done == made.steps_total == 22


def test_lms_weights_are_the_integrals_that_diffusers_takes() -> None:
    """Its class needs scipy; Gauss's quadrature with four points is exact for these polynomials."""
    scheduler = EulerDiscreteScheduler(**STABLE_DIFFUSION, use_karras_sigmas=True)
    scheduler.set_timesteps(12)
    sigmas = scheduler.sigmas.tolist()
    nodes, shares = np.polynomial.legendre.leggauss(4)
    for step in range(12):
        known = min(step + 1, 4)
        start, end = sigmas[step], sigmas[step + 1]
        places = (start + end) / 2 + (end - start) / 2 * nodes
        for back, weight in enumerate(lms_weights(sigmas, step, known)):
            basis = np.ones_like(places)
            for other in range(known):
                if other != back:
                    basis *= (places - sigmas[step - other]) / (sigmas[step - back] - sigmas[step - other])
            assert weight == pytest.approx(float((basis * shares).sum() * (end - start) / 2), rel=1e-9)


@pytest.mark.parametrize("schedule", [SigmaSchedule.AUTOMATIC, SigmaSchedule.KARRAS, SigmaSchedule.BETA])
@pytest.mark.parametrize("sampler", [Sampler.LMS, Sampler.EULER, Sampler.DPMPP_2M], ids=lambda s: s.value)
def test_what_diffusers_needs_scipy_for_is_what_it_does(sampler: Sampler, schedule: SigmaSchedule) -> None:
    """Skipped where scipy is not installed; LMS at most 1e-5 off, for it multiplies in another precision."""
    pytest.importorskip("scipy")
    flags = SETTINGS | {SigmaSchedule.BETA: {"use_beta_sigmas": True}}
    name = "LMSDiscreteScheduler" if sampler is Sampler.LMS else SAMPLERS[sampler].scheduler
    scheduler = getattr(diffusers, name).from_config(stable_diffusion(), **flags[schedule])
    scheduler.set_timesteps(20)
    scheduler.set_begin_index(0)
    ours = SamplerFactory(stable_diffusion(), CPU).make(sampler, steps=20, seed=3, schedule=schedule)
    latents = ours.initial_latents((4, 2, 2))
    *_, theirs = reference(scheduler, latents, scheduler.timesteps, torch.Generator())
    assert float((run(ours, latents) - theirs).abs().max() / theirs.abs().max()) < 1e-5


def test_beta_quantiles_have_their_shares_below_them() -> None:
    """The integral of the density, with x = u ** (1 / a) so that it has no pole in the lower half."""
    shares = np.array([0.0, 0.01, 0.2, 0.5, 0.8, 1.0])
    found = beta_quantiles(shares)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    complete = math.gamma(0.6) ** 2 / math.gamma(1.2)
    for share, place in zip(shares[:4], found[:4], strict=True):
        end = place**0.6
        inner = (1 - (end / 2 * (nodes + 1)) ** (1 / 0.6)) ** (0.6 - 1)
        assert float((inner * weights).sum() * end / 2 / 0.6 / complete) == pytest.approx(share, abs=1e-7)
    assert found[[0, 3, 5]] == pytest.approx([0, 0.5, 1])
    assert found[2] + found[4] == pytest.approx(1)


def test_aligned_levels_are_the_published_ones_at_ten_steps() -> None:
    for aligned in (ALIGNED_SD, ALIGNED_SDXL):
        factory = SamplerFactory(stable_diffusion(), CPU, aligned=aligned)
        made = factory.make(Sampler.EULER, steps=10, seed=1, schedule=SigmaSchedule.ALIGN_YOUR_STEPS)
        levels = []
        latents = torch.zeros(1, 1, 1, 1)
        while not made.is_done:
            levels.append(float(made.add_noise(latents, torch.ones_like(latents))))
            latents = made.advance(torch.zeros_like(latents), made.scale(latents))
        assert levels == pytest.approx(aligned[:10])


@pytest.mark.parametrize("sampler", list(ALGORITHMS), ids=lambda s: s.value)
@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_our_own_samplers_take_one_last_step(sampler: Sampler, spacing: str) -> None:
    factory = SamplerFactory(stable_diffusion(timestep_spacing=spacing), CPU)
    made = factory.make(sampler, steps=20, seed=1, strength=0.05)
    latents = run(made, made.add_noise(CLEAN, made.draw_noise((4, 2, 2))))
    assert (made.steps_done, made.steps_total) == (1, 1)
    assert bool(torch.isfinite(latents).all())


@pytest.mark.parametrize("sampler", list(ALGORITHMS), ids=lambda s: s.value)
def test_canceled_image_leaves_no_tensor_behind(sampler: Sampler) -> None:
    made = SamplerFactory(stable_diffusion(), CPU).make(sampler, steps=20, seed=1)
    latents = made.initial_latents((4, 2, 2))
    for _ in range(3):
        latents = made.advance(predicted(made.scale(latents), made.timestep), latents)
    held = weakref.ref(latents)
    gc.disable()
    try:
        del latents, made
        assert held() is None
    finally:
        gc.enable()


def test_adaptive_sampler_does_not_search_for_ever() -> None:
    made = SamplerFactory(stable_diffusion(), CPU).make(Sampler.DPM_ADAPTIVE, steps=20, seed=1)
    latents = made.initial_latents((4, 2, 2))
    for _ in range(1_000):
        if not made.is_done:
            latents = made.advance(latents * torch.nan, latents)
    assert made.is_done


def test_restarts_go_back_up_and_make_no_more_steps() -> None:
    factory = SamplerFactory(stable_diffusion(timestep_spacing="linspace"), CPU)
    for steps, restarts in ((19, 0), (20, 1), (35, 1), (36, 2), (150, 2)):
        grid = factory._grid(SigmaSchedule.AUTOMATIC, steps)
        path = levels_with_restarts(grid)
        assert len(path) == steps
        assert sum(each[2] is not None for each in path) == restarts
        assert all(sigma > lower for sigma, lower, _ in path)
        assert all(before is None or before < sigma for sigma, _, before in path)
        assert path[-1][1] == 0
    # A refiner takes over above the interval that is gone through again.
    assert len(levels_with_restarts(factory._grid(SigmaSchedule.AUTOMATIC, 150).part(0, 30))) == 30


def test_names_say_sampler_and_schedule() -> None:
    for sampler in Sampler:
        for schedule in schedules_of(sampler):
            assert read_name(name_of(sampler, schedule)) == (sampler, schedule)
    for unknown in ("", "magic", "karras", "_karras", "ddim_karras", "euler_", "EULER"):
        with pytest.raises(ValueError, match="is no sampler"):
            read_name(unknown)


def test_schedules_of_preconditioned_checkpoints() -> None:
    config = dict(diffusers.EDMEulerScheduler().config) | {"_class_name": "EDMEulerScheduler"}
    factory = SamplerFactory(config, CPU)
    for schedule in (SigmaSchedule.KARRAS, SigmaSchedule.EXPONENTIAL):
        scheduler = diffusers.EDMEulerScheduler.from_config(config, sigma_schedule=schedule.value)
        scheduler.set_timesteps(5)
        ours = factory.make(Sampler.EULER, steps=5, seed=1, schedule=schedule)
        latents = ours.initial_latents((4, 2, 2))
        *_, theirs = reference(scheduler, latents, scheduler.timesteps, torch.Generator())
        assert torch.equal(run(ours, latents), theirs)
    with pytest.raises(UnsupportedCombination, match="schedule beta does not fit this checkpoint"):
        factory.make(Sampler.EULER, steps=5, seed=1, schedule=SigmaSchedule.BETA)
    with pytest.raises(UnsupportedCombination, match="share no steps"):
        factory.make(Sampler.EULER, steps=5, seed=1, end_at=0.8)
