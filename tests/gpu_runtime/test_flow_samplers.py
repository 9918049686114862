"""Samplers of rectified flows: their noise levels, and that each follows a flow to its end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.flow_samplers import FLOW_SAMPLERS, FlowSamplerFactory, dynamic_shift
from gpu_runtime.messages import Sampler
from gpu_runtime.samplers import SchedulerConfig
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.weights import family_facts

CPU = torch.device("cpu")
FIXED: SchedulerConfig = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
DYNAMIC: SchedulerConfig = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "use_dynamic_shifting": True,
    "shift": 3.0,
    "base_shift": 0.5,
    "max_shift": 1.15,
}
LARGEST_IMAGE_TOKENS = (2048 // 16) ** 2


def make(
    sampler: Sampler,
    steps: int,
    *,
    config: SchedulerConfig = FIXED,
    starts_even: bool = False,
    image_tokens: int = 256,
) -> RowSampler:
    factory = FlowSamplerFactory(config, CPU, starts_even=starts_even)
    return factory.make(sampler, steps=steps, seed=1, image_tokens=image_tokens)


def follow(sampler: RowSampler, velocity: Tensor, latents: Tensor) -> tuple[Tensor, list[float]]:
    """The last latents of a flow whose velocity is the same everywhere, and the timesteps on the way."""
    times = []
    while not sampler.is_done:
        times.append(sampler.timestep)
        latents = sampler.advance(velocity, sampler.scale(latents))
    return latents, times


@pytest.mark.parametrize("config", [FIXED, DYNAMIC], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
@pytest.mark.parametrize("sampler", list(FLOW_SAMPLERS), ids=lambda s: s.value)
def test_straight_flow_is_followed_to_its_data(sampler: Sampler, steps: int, config: SchedulerConfig) -> None:
    made = make(sampler, steps, config=config, image_tokens=LARGEST_IMAGE_TOKENS)
    noise = made.initial_latents((4, 4, 4))
    data = torch.linspace(-1, 1, 64).view(1, 4, 4, 4)
    final, times = follow(made, noise - data, noise)
    # The multistep solvers begin a little below pure noise, at 0.999 before the shift.
    assert torch.allclose(final, data, atol=5e-3)
    assert made.steps_done == steps
    assert times == sorted(times, reverse=True)
    assert 0 < times[-1] <= times[0] <= 1000


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("sampler", list(FLOW_SAMPLERS), ids=lambda s: s.value)
@pytest.mark.parametrize(
    "setting",
    [
        {"shift_terminal": 0.02},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_levels_that_a_checkpoint_asks_for_are_numbers(
    sampler: Sampler, steps: int, setting: SchedulerConfig
) -> None:
    """A single step has no levels between its ends, and multistep classes take one kind of levels alone."""
    made = make(sampler, steps, config=FIXED | setting)
    final, times = follow(made, torch.ones(1, 4, 2, 2), made.initial_latents((4, 2, 2)))
    assert torch.isfinite(final).all()
    assert all(0 < time <= 1000 for time in times)


def test_single_step_goes_all_the_way_whatever_the_last_level_of_longer_ones() -> None:
    _, times = follow(
        make(Sampler.EULER, 1, config=FIXED | {"shift_terminal": 0.02}), *[torch.zeros(1, 4, 2, 2)] * 2
    )
    assert times == [1000.0]
    _, times = follow(
        make(Sampler.EULER, 4, config=FIXED | {"shift_terminal": 0.02}), *[torch.zeros(1, 4, 2, 2)] * 2
    )
    assert times[-1] == pytest.approx(20.0, rel=1e-4)


def test_dynamic_shift_of_one_size_holds_for_all() -> None:
    """The line through its two points has no slope when these are of one size."""
    one_size = DYNAMIC | {"base_image_seq_len": 1024, "max_image_seq_len": 1024}
    assert [dynamic_shift(one_size, tokens) for tokens in (256, 1024, 4096)] == [0.5] * 3


def test_second_order_sampler_calls_twice_a_step_but_the_first() -> None:
    _, times = follow(make(Sampler.HEUN, 4), torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2))
    assert len(times) == 7
    assert times[1::2] == times[2::2]


def test_even_levels_are_those_before_the_shift() -> None:
    unshifted: SchedulerConfig = FIXED | {"shift": 1.0}
    zeros = torch.zeros(1, 4, 2, 2)
    _, even = follow(make(Sampler.EULER, 4, config=unshifted, starts_even=True), zeros, zeros)
    assert even == [1000.0, 750.0, 500.0, 250.0]
    _, trained = follow(make(Sampler.EULER, 4, config=unshifted), zeros, zeros)
    assert trained == pytest.approx([1000.0, 667.0, 334.0, 1.0])


def test_fixed_shift_moves_levels_towards_noise() -> None:
    zeros = torch.zeros(1, 4, 2, 2)
    _, times = follow(make(Sampler.EULER, 4, starts_even=True), zeros, zeros)
    assert times == pytest.approx([1000 * 3 * level / (1 + 2 * level) for level in (1.0, 0.75, 0.5, 0.25)])


def test_shift_grows_with_the_image_between_the_two_configured_points() -> None:
    assert dynamic_shift(DYNAMIC, 256) == pytest.approx(0.5)
    assert dynamic_shift(DYNAMIC, 4096) == pytest.approx(1.15)
    assert dynamic_shift(DYNAMIC, 2176) == pytest.approx((0.5 + 1.15) / 2)
    assert dynamic_shift(FIXED, 4096) is None


def test_images_of_two_sizes_have_their_own_levels() -> None:
    factory = FlowSamplerFactory(DYNAMIC, CPU, starts_even=True)
    small, large = (
        factory.make(Sampler.UNIPC, steps=4, seed=1, image_tokens=tokens) for tokens in (256, 4096)
    )
    zeros = torch.zeros(1, 4, 2, 2)
    _, small_times = follow(small, zeros, zeros)
    _, large_times = follow(large, zeros, zeros)
    assert small_times[1] < large_times[1]


def test_images_do_not_share_their_position() -> None:
    factory = FlowSamplerFactory(FIXED, CPU, starts_even=False)
    first, second = (factory.make(Sampler.HEUN, steps=3, seed=1, image_tokens=16) for _ in range(2))
    follow(first, torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2))
    assert first.is_done
    assert second.steps_done == 0
    assert torch.equal(second.initial_latents((4, 2, 2)), make(Sampler.EULER, 3).initial_latents((4, 2, 2)))


def test_sampler_without_a_flow_form_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedCombination, match=r"sampler ddim .* usable: euler, heun, dpmpp_2m, unipc"):
        make(Sampler.DDIM, 4)


def test_noise_schedule_is_refused() -> None:
    with pytest.raises(UnsupportedCombination, match="DDIMScheduler"):
        FlowSamplerFactory({"_class_name": "DDIMScheduler"}, CPU, starts_even=False)


def test_multistep_configuration_of_a_flow_keeps_its_shift() -> None:
    declared: SchedulerConfig = {
        "_class_name": "UniPCMultistepScheduler",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    }
    zeros = torch.zeros(1, 4, 2, 2)
    assert (
        follow(make(Sampler.EULER, 4, config=declared), zeros, zeros)[1]
        == follow(make(Sampler.EULER, 4), zeros, zeros)[1]
    )


def test_facts_name_exactly_the_samplers_that_flows_have() -> None:
    assert set(family_facts.FLOW_SAMPLERS) == set(FLOW_SAMPLERS)
