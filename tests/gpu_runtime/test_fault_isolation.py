"""A fault of one request does not take others with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import DeviceLost, NumericFault, OutOfMemory, RuntimeFault
from gpu_runtime.messages import CheckpointRef, RequestDone, RequestFailed
from tests.gpu_runtime.driving import Outcome, drive, image_request, pixels, run_all
from tests.gpu_runtime.faulty_family import Faults


def faulty_engine(faults: Faults, **settings: Any) -> Engine:
    config = EngineConfig(check_invariants=True, **settings)
    return Engine(config, families={"sd15": faults.load})


def failure(outcome: Outcome, request_id: str) -> RuntimeFault:
    final = outcome.final(request_id)
    assert isinstance(final, RequestFailed)
    return final.fault


@pytest.mark.parametrize(
    ("prompt", "fault", "words"),
    [
        ("poisoned", NumericFault, "not finite"),
        ("too big", OutOfMemory, "out of memory"),
        ("broken", RuntimeFault, "cannot be computed"),
        ("unreadable", RuntimeFault, "KeyError while preparing a request"),
    ],
)
def test_faulty_request_fails_and_its_neighbour_is_unchanged(
    prompt: str, fault: type[RuntimeFault], words: str, checkpoint: CheckpointRef
) -> None:
    neighbour = image_request("good", checkpoint)
    alone = run_all(faulty_engine(Faults()), [neighbour]).images("good")[0]
    requests = [image_request("bad", checkpoint, prompt=prompt, seeds=(1, 2)), neighbour]
    outcome = run_all(faulty_engine(Faults()), requests)
    assert type(failure(outcome, "bad")) is fault
    assert words in str(failure(outcome, "bad"))
    assert abs(pixels(outcome.images("good")[0].data) - pixels(alone.data)).max() <= 1


def test_call_that_does_not_fit_shrinks_and_every_image_is_made(checkpoint: CheckpointRef) -> None:
    faults = Faults(capacity=3)
    outcome = run_all(faulty_engine(faults), [image_request("r", checkpoint, seeds=(1, 2, 3, 4))])
    assert isinstance(outcome.final("r"), RequestDone)
    assert faults.largest_call <= 3
    roomy = run_all(faulty_engine(Faults()), [image_request("r", checkpoint, seeds=(1, 2, 3, 4))])
    for index, image in roomy.images("r").items():
        assert abs(pixels(image.data) - pixels(outcome.images("r")[index].data)).max() <= 1


def test_call_grows_again_after_a_while(checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_runtime.calls.SHRUNK_TURNS", 6)
    faults = Faults(capacity=2)
    engine = faulty_engine(faults)
    requests = [image_request("r", checkpoint, seeds=(1, 2, 3, 4), width=16, height=16, steps=1)]
    run_all(engine, requests)
    faults.capacity = 100
    faults.largest_call = 0
    run_all(engine, [image_request("s", checkpoint, width=16, height=16, steps=6)])
    assert faults.largest_call == 2
    run_all(engine, requests)
    assert faults.largest_call == 8


def test_request_that_fits_nowhere_fails_alone(checkpoint: CheckpointRef) -> None:
    outcome = run_all(faulty_engine(Faults(capacity=0)), [image_request("r", checkpoint)])
    assert isinstance(failure(outcome, "r"), OutOfMemory)


def test_decode_that_does_not_fit_is_made_smaller(checkpoint: CheckpointRef) -> None:
    engine = faulty_engine(Faults(decode_capacity=1))
    outcome = run_all(engine, [image_request("r", checkpoint, seeds=(1, 2, 3))])
    assert isinstance(outcome.final("r"), RequestDone)


def test_decode_that_fits_nowhere_fails_its_request(checkpoint: CheckpointRef) -> None:
    outcome = run_all(faulty_engine(Faults(decode_capacity=0)), [image_request("r", checkpoint)])
    assert isinstance(failure(outcome, "r"), OutOfMemory)


def test_image_that_decodes_only_in_tiles_is_made(
    checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An autoencoder for which a quarter of the image is the most that fits."""
    whole = run_all(faulty_engine(Faults()), [image_request("r", checkpoint, seeds=(1, 2))]).images("r")
    original, largest = AutoencoderKL._decode, []
    decoder = Decoder.forward
    settings: set[tuple[bool, int, int]] = set()

    def note(self: Any, *args: Any, **kwargs: Any) -> Any:
        settings.add((self.use_tiling, self.tile_latent_min_size, self.tile_sample_min_size))
        return original(self, *args, **kwargs)

    def small(self: Any, sample: Tensor, *args: Any) -> Any:
        if sample.shape[-1] > 8 or sample.shape[-2] > 8:
            raise torch.OutOfMemoryError("full")
        largest.append(sample.shape[-1])
        return decoder(self, sample, *args)

    monkeypatch.setattr(AutoencoderKL, "_decode", note)
    monkeypatch.setattr(Decoder, "forward", small)
    engine = faulty_engine(Faults())
    outcome = run_all(engine, [image_request("r", checkpoint, seeds=(1, 2))])
    assert isinstance(outcome.final("r"), RequestDone)
    assert max(largest) == 8
    for index, image in outcome.images("r").items():
        assert (image.width, image.height) == (32, 32)
        assert abs(pixels(image.data) - pixels(whole[index].data)).mean() < 40
    monkeypatch.undo()
    again = run_all(engine, [image_request("s", checkpoint, seeds=(1,))]).images("s")[0]
    assert again.data == whole[0].data
    assert {tiling for tiling, _, _ in settings} == {False, True}


def test_what_did_not_fit_is_forgotten_in_time(
    checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_runtime.calls.SHRUNK_TURNS", 6)
    engine = faulty_engine(Faults(capacity=1))
    for index in range(5):
        run_all(engine, [image_request(f"r{index}", checkpoint, steps=4, is_isolated=True)])
    assert len(engine._calls._shrunk) <= 2


def test_lost_device_reaches_the_caller(checkpoint: CheckpointRef) -> None:
    faults = Faults()
    engine = faulty_engine(faults)
    engine.submit(image_request("a", checkpoint))
    engine.step()
    faults.is_device_lost = True
    with pytest.raises(DeviceLost, match="illegal memory access"):
        drive(engine)


def test_failed_request_delivers_nothing_afterwards(checkpoint: CheckpointRef) -> None:
    outcome = run_all(
        faulty_engine(Faults()), [image_request("bad", checkpoint, prompt="poisoned", seeds=(1, 2))]
    )
    assert isinstance(outcome.events[-1], RequestFailed)
    assert outcome.images("bad") == {}
