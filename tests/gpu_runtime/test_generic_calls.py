"""Calls of diffusers' own pipelines: what one request did, or failed at, must not be seen in the next."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gpu_runtime.families.generic_calls import call_of, for_task, own_pipeline
from gpu_runtime.families.generic_pipelines import PIPELINES
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.driving import image_request

SPEC = PIPELINES["AmusedPipeline"]


@pytest.fixture(scope="module")
def amused() -> Any:
    return tiny_pipeline("amused")


@pytest.mark.parametrize("class_name", [SPEC.from_image, SPEC.within_mask])
def test_pipeline_for_a_task_leaves_the_checkpoints_own_as_it_was(class_name: str, amused: Any) -> None:
    """The one for masks sets another masking schedule on the noise scheduler that it is given."""
    before = dict(amused.scheduler.config)
    made = for_task(amused, class_name)
    assert dict(amused.scheduler.config) == before
    assert made.transformer is amused.transformer


def test_autoencoder_has_its_precision_back_after_a_failure(
    amused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipelines decode in float32 what overflows in float16, and change the shared autoencoder for that."""
    decoded_in = []

    def decode(*_: Any, **__: Any) -> None:
        decoded_in.append(amused.vqvae.dtype)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(amused.vqvae, "decode", decode)
    amused.vqvae.register_to_config(force_upcast=True)
    amused.vqvae.half()
    checkpoint = CheckpointRef(name="amused", family="amused", path="/none", digest="amused")
    request = image_request("r", checkpoint, width=64, height=64, steps=1)
    with pytest.raises(torch.OutOfMemoryError):
        call_of(own_pipeline(amused), SPEC, request, 1)(lambda latents: None)
    assert decoded_in == [torch.float32]
    assert {parameter.dtype for parameter in amused.vqvae.parameters()} == {torch.float16}
