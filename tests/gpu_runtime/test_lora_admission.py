"""Adapters that can never work are refused when the request is submitted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gpu_runtime.batching.admission import Admitted, Rejected, admit
from gpu_runtime.batching.limits import Limits
from gpu_runtime.messages import EmbeddingRef, ImageRequest, LoraRef
from tests.gpu_runtime.driving import NO_CHECKPOINT, image_request


def lora(number: int = 0, scale: float = 1.0) -> LoraRef:
    return LoraRef(name=f"l{number}", path=f"/l{number}", digest=f"d{number}", scale=scale)


def embedding(number: int = 0, token: str | None = None) -> EmbeddingRef:
    token = f"word{number}" if token is None else token
    return EmbeddingRef(name=f"e{number}", token=token, path=f"/e{number}", digest=f"d{number}")


def with_adapters(
    *loras: LoraRef, embeddings: tuple[EmbeddingRef, ...] = (), family: str = "sd15"
) -> ImageRequest:
    checkpoint = replace(NO_CHECKPOINT, family=family)
    return replace(image_request("it", checkpoint), loras=loras, embeddings=embeddings)


@pytest.mark.parametrize(
    "request_",
    [
        with_adapters(*(lora(number) for number in range(8))),
        with_adapters(lora(0, 4.0), lora(1, -4.0), lora(2, 0.0)),
        with_adapters(lora(), family="flux"),
        with_adapters(embeddings=tuple(embedding(number) for number in range(16)), family="sdxl"),
    ],
)
def test_adapters_within_the_limits_are_admitted(request_: ImageRequest) -> None:
    assert admit(request_, Limits()) == Admitted()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (with_adapters(*(lora(n) for n in range(9))), "a request has at most 8 LoRAs, not 9"),
        (with_adapters(lora(0), lora(1), lora(0, 0.5)), "a LoRA may be named once a request"),
        (with_adapters(lora(0, 4.1)), "the scale of LoRA 'l0' must be -4 to 4, not 4.1"),
        (with_adapters(lora(0, math.nan)), "the scale of LoRA 'l0' must be -4 to 4, not nan"),
        (with_adapters(lora(0, -math.inf)), "the scale of LoRA 'l0' must be -4 to 4, not -inf"),
        (with_adapters(lora(), family="pixart"), "LoRAs are not supported for family 'pixart'"),
        (
            with_adapters(embeddings=(embedding(),), family="pixart"),
            "embeddings are not supported for family 'pixart'",
        ),
        (
            with_adapters(embeddings=tuple(embedding(n) for n in range(17))),
            "a request has at most 16 embeddings, not 17",
        ),
        (
            with_adapters(embeddings=(embedding(0, "one"), embedding(1, "one"))),
            "every embedding needs a word of its own",
        ),
        (with_adapters(embeddings=(embedding(0, " "),)), "every embedding needs a word of its own"),
    ],
)
def test_other_adapters_are_refused_with_a_reason(request_: ImageRequest, reason: str) -> None:
    assert admit(request_, Limits()) == Rejected(reason)
