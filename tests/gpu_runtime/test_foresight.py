"""What previews show: the clean latents that a prediction stands for, of every sampler and kind of network.

The network of these tests is perfect: it knows the noise that was mixed in, so what is foreseen must be what
it was mixed into, at every noise level. Where diffusers' classes say what they foresee, it is the same.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, EulerDiscreteScheduler
from torch import Tensor

from gpu_runtime.flow_samplers import FLOW_SAMPLERS, FlowSamplerFactory
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.samplers import ALGORITHMS, EDM_SAMPLERS, SAMPLERS, SamplerFactory
from gpu_runtime.sampling.row_sampler import RowSampler

CPU = torch.device("cpu")
STABLE_DIFFUSION = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
EDM = {"_class_name": "EDMEulerScheduler", "sigma_data": 0.5, "sigma_min": 0.002, "sigma_max": 80.0}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
SHAPE = (1, 4, 4, 4)
ROUNDING = 0.02
"""Of the clean latents: some classes round their timesteps to whole ones."""


def clean_and_noise() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def predicted(kind: str, sampler: RowSampler, scaled: Tensor, clean: Tensor) -> Tensor:
    """What a perfect network says of this input."""
    if kind == "sample":
        return clean
    if kind == "flow":
        level = sampler.timestep / 1000
        return (scaled - clean) / level
    kept = DDIMScheduler.from_config(STABLE_DIFFUSION).alphas_cumprod.double()
    levels = torch.log((1 - kept) / kept) / 2
    lower = int(sampler.timestep)
    between = torch.lerp(levels[lower], levels[min(lower + 1, 999)], sampler.timestep - lower)
    signal = ((2 * between).exp() + 1) ** -0.5
    noise = (scaled - signal * clean) / (1 - signal**2) ** 0.5
    return (noise if kind == "epsilon" else signal * noise - (1 - signal**2) ** 0.5 * clean).float()


CASES = [(sampler, kind) for sampler in (*SAMPLERS, *ALGORITHMS) for kind in ("epsilon", "v_prediction")]
# Few classes take networks that predict the clean latents themselves.
CASES += [(Sampler.DDIM, "sample"), (Sampler.DPMPP_2M, "sample"), (Sampler.LMS, "sample")]


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize(("sampler", "kind"), CASES)
def test_perfect_prediction_shows_the_clean_latents(sampler: Sampler, kind: str, strength: float) -> None:
    factory = SamplerFactory(STABLE_DIFFUSION | {"prediction_type": kind}, CPU)
    made = factory.make(sampler, steps=20, seed=1, strength=strength)
    clean, noise = clean_and_noise()
    latents = made.add_noise(clean, noise) if strength < 1 else made.pure(noise)
    if strength == 1:
        # Nothing of a picture is in pure noise; a perfect network sees in it what is foreseen anyway.
        clean = torch.zeros(SHAPE)
    for _ in range(3):
        scaled = made.scale(latents)
        prediction = predicted(kind, made, scaled, clean)
        foreseen = made.denoised(prediction, latents)
        assert foreseen is not None
        assert foreseen.sub(clean).abs().max() < ROUNDING * (1 + clean.abs().max())
        latents = made.advance(prediction, latents)


@pytest.mark.parametrize("sampler", list(FLOW_SAMPLERS), ids=lambda sampler: sampler.value)
def test_perfect_velocity_of_a_flow_shows_the_data(sampler: Sampler) -> None:
    made = FlowSamplerFactory(FLOW, CPU, starts_even=True).make(sampler, steps=8, seed=1, image_tokens=256)
    clean, noise = clean_and_noise()
    latents = made.pure(noise)
    while not made.is_done:
        prediction = predicted("flow", made, latents, clean)
        torch.testing.assert_close(made.denoised(prediction, latents), clean, atol=1e-3, rtol=1e-3)
        latents = made.advance(prediction, latents)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("reference_class", [EulerDiscreteScheduler, DDIMScheduler], ids=["euler", "ddim"])
def test_is_what_the_class_itself_foresees(reference_class: Any, kind: str) -> None:
    sampler = Sampler.EULER if reference_class is EulerDiscreteScheduler else Sampler.DDIM
    config = STABLE_DIFFUSION | {"prediction_type": kind, "clip_sample": False}
    reference = reference_class.from_config(config)
    reference.set_timesteps(8)
    made = SamplerFactory(config, CPU).make(sampler, steps=8, seed=1)
    _follow(made, reference, made.pure(clean_and_noise()[1]))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", list(EDM_SAMPLERS), ids=lambda sampler: sampler.value)
def test_is_what_the_class_itself_foresees_with_preconditioning(sampler: Sampler, kind: str) -> None:
    config = EDM | {"prediction_type": kind}
    made = SamplerFactory(config, CPU).make(sampler, steps=8, seed=1)
    latents = made.pure(clean_and_noise()[1])
    while not made.is_done:
        prediction = 0.1 * made.scale(latents)
        level = torch.tensor(made.timestep).mul(4).exp()
        wanted = EDMEulerScheduler.from_config(config).precondition_outputs(latents, prediction, level)
        torch.testing.assert_close(made.denoised(prediction, latents), wanted, atol=1e-4, rtol=1e-4)
        latents = made.advance(prediction, latents)


def test_looking_ahead_moves_nothing() -> None:
    factory = SamplerFactory(STABLE_DIFFUSION, CPU)
    for sampler in (*SAMPLERS, *ALGORITHMS):
        plain, watched = (
            factory.make(sampler, steps=4, seed=1, schedule=SigmaSchedule.AUTOMATIC) for _ in range(2)
        )
        latents = seen = plain.pure(clean_and_noise()[1])
        while not plain.is_done:
            prediction = 0.1 * plain.scale(latents)
            latents = plain.advance(prediction, latents)
            watched.denoised(prediction, seen)
            seen = watched.advance(0.1 * watched.scale(seen), seen)
        torch.testing.assert_close(seen, latents, atol=0, rtol=0)


ENDLESS_NOISE = STABLE_DIFFUSION | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def test_pure_noise_that_the_network_says_the_velocity_of_shows_what_it_foresees() -> None:
    """The level at the first timestep is infinite: all that is to be seen is in the prediction."""
    made = SamplerFactory(ENDLESS_NOISE | {"prediction_type": "v_prediction"}, CPU).make(
        Sampler.DDIM, steps=4, seed=1
    )
    clean, noise = clean_and_noise()
    assert made.timestep == 999
    torch.testing.assert_close(made.denoised(-clean, made.pure(noise)), clean)


def test_pure_noise_that_the_network_says_the_noise_of_shows_nothing() -> None:
    made = SamplerFactory(ENDLESS_NOISE | {"prediction_type": "epsilon"}, CPU).make(
        Sampler.DDIM, steps=4, seed=1
    )
    latents = made.pure(clean_and_noise()[1])
    assert made.denoised(latents, latents) is None
    # The timestep after it has a level again.
    latents = made.advance(torch.zeros_like(latents), latents)
    later = made.denoised(torch.zeros_like(latents), torch.ones_like(latents))
    assert later is not None
    assert later.isfinite().all()


def _follow(made: RowSampler, reference: Any, latents: Tensor) -> None:
    """`reference` is one of diffusers' noise schedulers, untyped."""
    for timestep in reference.timesteps:
        prediction = 0.1 * made.scale(latents)
        wanted = reference.step(prediction, timestep, latents).pred_original_sample
        torch.testing.assert_close(made.denoised(prediction, latents), wanted, atol=1e-3, rtol=1e-3)
        latents = made.advance(prediction, latents)
