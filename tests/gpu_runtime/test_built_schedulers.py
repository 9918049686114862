"""Noise schedulers are made by diffusers once for each configuration, and each caller gets one of its own."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from diffusers import KDPM2DiscreteScheduler

from gpu_runtime.messages import SigmaSchedule
from gpu_runtime.sampling import built

CPU = torch.device("cpu")


def build(steps: int, *, schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC, **config: Any) -> Any:
    return built.build(
        "KDPM2DiscreteScheduler", config, {}, schedule, steps=steps, device=CPU, aligned=(14.6, 1.0, 0.03)
    )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The configurations that diffusers has made a scheduler of."""
    configs: list[dict[str, Any]] = []

    class Counted(KDPM2DiscreteScheduler):  # type: ignore[misc]  # diffusers' classes are untyped
        @classmethod
        def from_config(cls, config: Any, **changes: Any) -> Any:
            configs.append({**config, **changes})
            return super().from_config(config, **changes)

    built._original.cache_clear()
    monkeypatch.setattr(diffusers, "KDPM2DiscreteScheduler", Counted)
    return configs


def test_other_steps_take_no_other_scheduler_and_change_none(made: list[dict[str, Any]]) -> None:
    first = build(4)
    levels = first.sigmas.clone()
    other = build(7)

    assert len(made) == 1
    assert torch.equal(first.sigmas, levels)
    for ours, steps in ((first, 4), (other, 7)):
        theirs = KDPM2DiscreteScheduler.from_config({})
        theirs.set_timesteps(steps)
        assert torch.equal(ours.timesteps, theirs.timesteps)
        assert torch.equal(ours.sigmas, theirs.sigmas)


def test_another_configuration_and_another_schedule_are_made_anew(made: list[dict[str, Any]]) -> None:
    plain, predicting, spaced = (
        build(4),
        build(4, prediction_type="v_prediction"),
        build(4, schedule=SigmaSchedule.KARRAS),
    )

    assert len(made) == 3
    assert (plain.config.prediction_type, predicting.config.prediction_type) == ("epsilon", "v_prediction")
    assert not torch.equal(plain.sigmas, spaced.sigmas)
