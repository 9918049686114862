"""Rows stepped together are where each would be alone, to the bit, whatever stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from gpu_runtime.families.family import Conditioning, Row, StepSampler, TextEncoding
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.samplers import SamplerFactory
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.scheduler_sampler import SchedulerSampler
from gpu_runtime.stepping import advance

CPU = torch.device("cpu")
SHAPE = (4, 8, 8)
FAST = (Sampler.EULER, Sampler.EULER_A, Sampler.DDIM, Sampler.DPMPP_2M)
MakeRow = Callable[[], Row]


def factory(prediction_type: str) -> SamplerFactory:
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction_type,
    )
    return SamplerFactory(scheduler.config, CPU)


def row(sampler: RowSampler) -> Row:
    conditioning = Conditioning(
        positive=TextEncoding(tokens=torch.zeros(1, 1, 1)), negative=None, guidance_scale=1.0
    )
    return Row(conditioning=conditioning, sampler=sampler, latents=sampler.initial_latents(SHAPE))


def predicted(rows: Sequence[Row]) -> list[Tensor]:
    """A denoiser that depends on what it sees and when."""
    return [torch.tanh(each.sampler.scale(each.latents) + each.sampler.timestep / 1000) for each in rows]


def run_alone(each: Row) -> Tensor:
    while not each.sampler.is_done:
        each.latents = each.sampler.advance(predicted([each])[0], each.latents)
    return each.latents


def run_together(rows: Sequence[Row]) -> list[Tensor]:
    while going := [each for each in rows if not each.sampler.is_done]:
        for each, moved in zip(going, advance(going, predicted(going)), strict=True):
            assert isinstance(moved, Tensor), moved
            each.latents = moved
    return [each.latents for each in rows]


def mixed_rows(prediction_type: str) -> list[MakeRow]:
    """Samplers, schedules, step counts, strengths and shares, in one turn."""
    made = factory(prediction_type)
    rows: list[MakeRow] = []
    for seed, steps in enumerate((1, 2, 7, 16)):
        for sampler in (*FAST, Sampler.HEUN, Sampler.DPMPP_2M_SDE, Sampler.DPMPP_SDE):
            settings: list[dict[str, Any]] = [{}, {"strength": 0.6}] if steps > 1 else [{}]
            settings += [{"schedule": SigmaSchedule.KARRAS}] if sampler is not Sampler.DDIM else []
            settings += [{"end_at": 0.7}, {"begin_at": 0.7}] if steps > 7 else []
            rows += [
                lambda sampler=sampler, steps=steps, seed=seed, more=more: row(  # type: ignore[misc]
                    made.make(sampler, steps=steps, seed=seed, **more)
                )
                for more in settings
            ]
    return rows


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_rows_together_are_where_each_is_alone(prediction_type: str) -> None:
    makers = mixed_rows(prediction_type)
    alone = [run_alone(make()) for make in makers]
    together = run_together([make() for make in makers])
    for make, expected, found in zip(makers, alone, together, strict=True):
        assert torch.equal(expected, found), make().sampler
    assert any(isinstance(make().sampler, SchedulerSampler) for make in makers)


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DPMPP_2M, Sampler.UNIPC], ids=lambda s: s.value)
def test_flow_rows_together_are_where_each_is_alone(sampler: Sampler) -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    made = FlowSamplerFactory(config, CPU, starts_even=True)

    def rows() -> list[Row]:
        return [
            row(made.make(sampler, steps=steps, seed=steps, image_tokens=16, strength=strength))
            for steps, strength in ((1, 1.0), (4, 0.6), (9, 1.0), (20, 0.3))
        ]

    alone = [run_alone(each) for each in rows()]
    assert all(torch.equal(a, b) for a, b in zip(alone, run_together(rows()), strict=True))


@pytest.mark.parametrize("sampler", FAST, ids=lambda s: s.value)
def test_common_samplers_are_stepped_together(sampler: Sampler) -> None:
    made = factory("epsilon").make(sampler, steps=3, seed=1)
    assert isinstance(made, SchedulerSampler)
    assert made.plan is not None


@pytest.mark.parametrize("sampler", [*FAST, Sampler.HEUN, Sampler.UNIPC], ids=lambda s: s.value)
def test_a_row_may_change_between_alone_and_together_at_any_step(sampler: Sampler) -> None:
    made = factory("epsilon")
    expected = run_alone(row(made.make(sampler, steps=6, seed=3)))
    both = [row(made.make(sampler, steps=6, seed=3)) for _ in range(2)]
    turn = 0
    while not both[0].sampler.is_done:
        if turn % 3 == 1:
            for each in both:
                each.latents = each.sampler.advance(predicted([each])[0], each.latents)
        else:
            for each, moved in zip(both, advance(both, predicted(both)), strict=True):
                assert isinstance(moved, Tensor)
                each.latents = moved
        turn += 1
    assert all(torch.equal(each.latents, expected) for each in both)


@pytest.mark.parametrize("sampler", FAST, ids=lambda s: s.value)
def test_noise_for_masks_is_at_the_level_that_the_row_has(sampler: Sampler) -> None:
    made = factory("epsilon")
    clean = torch.ones(1, *SHAPE)
    alone, together = (row(made.make(sampler, steps=4, seed=3, strength=0.8)) for _ in range(2))
    noise = alone.sampler.draw_noise(SHAPE)  # type: ignore[attr-defined]
    assert torch.equal(noise, together.sampler.draw_noise(SHAPE))  # type: ignore[attr-defined]
    while not alone.sampler.is_done:
        alone.latents = alone.sampler.advance(predicted([alone])[0], alone.latents)
        (moved,) = advance([together], predicted([together]))
        assert isinstance(moved, Tensor)
        together.latents = moved
        expected = alone.sampler.noised_at_next(clean, noise)  # type: ignore[attr-defined]
        assert torch.equal(expected, together.sampler.noised_at_next(clean, noise))  # type: ignore[attr-defined]


def test_what_comes_after_a_step_is_applied_to_its_row() -> None:
    made = factory("epsilon")
    rows = [row(made.make(Sampler.EULER, steps=2, seed=seed)) for seed in range(3)]
    rows[1].after_step = lambda latents: torch.full_like(latents, 7.0)
    moved = advance(rows, predicted(rows))
    assert [bool((each == 7.0).all()) for each in moved if isinstance(each, Tensor)] == [False, True, False]


class BrokenSampler:
    """A sampler that cannot step."""

    is_done, steps_done, timestep, place = False, 0, 500.0, (0, 1)

    def scale(self, latents: Tensor) -> Tensor:
        return latents

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        raise ArithmeticError("no way")


def test_an_exception_is_its_rows_alone() -> None:
    made = factory("epsilon")
    broken: StepSampler = BrokenSampler()

    def refuse(_latents: Tensor) -> Tensor:
        raise ValueError("not this one")

    rows = [row(made.make(Sampler.EULER_A, steps=3, seed=seed)) for seed in range(4)]
    rows[2].after_step = refuse
    rows[3].sampler = broken
    expected = [row(made.make(Sampler.EULER_A, steps=3, seed=seed)) for seed in range(2)]
    results = advance(rows, predicted(rows))
    for each, found in zip(expected, results, strict=False):
        assert isinstance(found, Tensor)
        assert torch.equal(found, each.sampler.advance(predicted([each])[0], each.latents))
    assert [type(each) for each in results[2:]] == [ValueError, ArithmeticError]


def test_a_group_that_cannot_be_stepped_together_is_stepped_one_by_one() -> None:
    """A prediction of the wrong shape fails its own row; the noise of the others is drawn only once."""
    made = factory("epsilon")
    rows = [row(made.make(Sampler.EULER_A, steps=3, seed=seed)) for seed in range(3)]
    expected = [row(made.make(Sampler.EULER_A, steps=3, seed=seed)) for seed in range(3)]
    predictions = predicted(rows)
    results = advance(rows, [predictions[0], torch.zeros(1, 3, 5, 5), predictions[2]])
    assert isinstance(results[1], RuntimeError)
    for index in (0, 2):
        found, each = results[index], expected[index]
        assert isinstance(found, Tensor)
        assert torch.equal(found, each.sampler.advance(predicted([each])[0], each.latents))
