"""The engine with more checkpoints than fit: swaps, warming, idle unloading, other autoencoders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline
from transformers import CLIPTextModel

from gpu_runtime.batching.turns import HYSTERESIS_TURNS
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import CheckpointMissing, OutOfMemory, UnsupportedCombination
from gpu_runtime.messages import CheckpointRef, Progress, RequestDone, RequestFailed, Tier, VaeRef
from gpu_runtime.messages import Residency as Place
from gpu_runtime.tiny.pipelines import make_tiny
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import drive, image_request, pixels, run_all
from tests.gpu_runtime.faulty_family import Faults
from tests.gpu_runtime.weight_store import Clock, TinyStore, megabytes, size_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return TinyStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def first(store: TinyStore) -> CheckpointRef:
    return store.checkpoint("first", seed=1)


@pytest.fixture(scope="module")
def second(store: TinyStore) -> CheckpointRef:
    """Of the same architecture; shares nothing."""
    return store.checkpoint("second", seed=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    engine = Engine(EngineConfig(check_invariants=True), clock=clock)
    yield engine
    engine.close()


def room_for_one(first: CheckpointRef, clock: Clock, **settings: Any) -> Engine:
    budget = megabytes(size_of(first))
    return Engine(EngineConfig(check_invariants=True, weights_budget_mb=budget, **settings), clock=clock)


def loads_of(engine: Engine) -> int:
    """Components brought to the device so far."""
    return engine._residency.loads


def test_two_checkpoints_that_do_not_fit_together_take_long_turns(
    first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    engine = room_for_one(first, clock, max_rows=4)
    requests = [
        image_request(
            f"r{index}",
            (first, second)[index % 2],
            seeds=(index,),
            steps=8,
            guidance_scale=1.0,
            account=f"account {index // 2 % 4}",
        )
        for index in range(40)
    ]
    outcome = run_all(engine, requests)
    for request in requests:
        assert isinstance(outcome.final(request.request_id), RequestDone)
        assert len(outcome.images(request.request_id)) == 1
    # 40 x 8 steps in calls of 4 rows are 80 turns, 5 times the hysteresis; every change costs 3 components.
    assert loads_of(engine) <= 3 * (80 / 16 + 2)
    assert engine.info().weights_bytes == size_of(first)


def test_neither_of_two_checkpoints_waits_for_all_of_the_other(
    first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    engine = room_for_one(first, clock, max_rows=2)
    requests = [
        image_request(f"{which.name} {index}", which, steps=8, guidance_scale=1.0, account=which.name)
        for index in range(20)
        for which in (first, second)
    ]
    for request in requests:
        engine.submit(request)
    progressed = [
        event.request_id.split()[0]
        for _ in range(HYSTERESIS_TURNS + 2)
        for event in engine.step()
        if isinstance(event, Progress)
    ]
    assert progressed[0] == "first"
    assert progressed[-1] == "second"


def test_swapped_images_equal_those_of_an_engine_of_their_own(
    first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    """Some rows of each are half done when the other's weights are copied over their own."""
    requests = [
        image_request(f"{which.name} {index}", which, seeds=(index,), steps=20, guidance_scale=1.0)
        for index in range(3)
        for which in (first, second)
    ]
    roomy = run_all(Engine(EngineConfig()), requests)
    engine = room_for_one(first, clock)
    cramped = run_all(engine, requests)
    assert loads_of(engine) > 6
    for request in requests:
        ours, theirs = (each.images(request.request_id)[0].data for each in (cramped, roomy))
        assert ours == theirs


def test_finished_latents_are_decoded_before_their_weights_leave(
    first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    engine = room_for_one(first, clock)
    run_all(
        engine,
        [
            *(image_request(f"r{index}", first, seeds=(index,), steps=2) for index in range(12)),
            image_request("other", second, steps=2),
        ],
    )
    assert loads_of(engine) == 6


def test_info_tells_what_is_held(first: CheckpointRef, second: CheckpointRef, clock: Clock) -> None:
    engine = room_for_one(first, clock)
    run_all(engine, [image_request("a", first)])
    clock.sleep(5)
    run_all(engine, [image_request("b", replace(second, is_pinned=True))])
    clock.sleep(2)
    info = engine.info()
    assert info.resident == ("second",)
    assert [(h.name, h.residency, h.is_pinned, h.idle_s) for h in info.held] == [
        ("first", Place.STAGED, False, 7.0),
        ("second", Place.RESIDENT, True, 2.0),
    ]
    assert info.weights_bytes == info.weights_budget_bytes == size_of(first)


def test_request_that_does_not_fit_beside_a_pinned_one_fails_alone(
    first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    engine = room_for_one(first, clock)
    outcome = run_all(
        engine,
        [image_request("stays", replace(first, is_pinned=True), steps=20), image_request("waits", second)],
    )
    final = outcome.final("waits")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
    assert isinstance(outcome.final("stays"), RequestDone)


def test_warming_happens_at_the_next_idle_step(
    engine: Engine, first: CheckpointRef, second: CheckpointRef
) -> None:
    engine.submit(image_request("r", first, steps=3))
    engine.warm(second)
    engine.warm(second)
    while engine.info().resident != ("first", "second"):
        assert engine.has_work()
        events = engine.step()
        assert not any(isinstance(event, RequestDone) for event in events) or engine.has_work()
    assert not engine.has_work()
    assert loads_of(engine) == 6
    engine.warm(second)
    assert not engine.has_work()


def test_warming_waits_for_requests(engine: Engine, first: CheckpointRef, second: CheckpointRef) -> None:
    engine.warm(second)
    engine.submit(image_request("r", first, steps=3))
    seen = []
    while engine.has_work():
        done = [event for event in engine.step() if isinstance(event, RequestDone)]
        seen.append((bool(done), "second" in engine.info().resident))
    assert (True, False) in seen
    assert seen[-1] == (False, True)


def test_failed_warming_is_logged_and_forgotten(
    engine: Engine, first: CheckpointRef, caplog: pytest.LogCaptureFixture
) -> None:
    engine.warm(replace(first, name="gone", path="/nonexistent", digest="gone"))
    assert engine.step() == []
    assert not engine.has_work()
    assert "is no checkpoint folder" in caplog.text


def test_draining_engine_warms_nothing(engine: Engine, first: CheckpointRef) -> None:
    engine.warm(first)
    engine.drain()
    engine.warm(first)
    assert not engine.has_work()


def test_watchdog_is_told_that_warming_takes_long(engine: Engine, first: CheckpointRef) -> None:
    engine.warm(first)
    assert engine.expected_step_s() >= 60


def test_idle_engine_unloads_what_nobody_used(engine: Engine, first: CheckpointRef, clock: Clock) -> None:
    run_all(engine, [image_request("r", replace(first, keep_alive_s=30.0))])
    clock.sleep(29)
    assert not engine.has_work()
    clock.sleep(1)
    assert engine.has_work()
    assert engine.step() == []
    assert not engine.has_work()
    assert engine.info().resident == ()
    assert engine.info().weights_bytes == 0
    assert [held.residency for held in engine.info().held] == [Place.STAGED]


def test_busy_engine_unloads_what_nobody_used(
    engine: Engine, first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    run_all(engine, [image_request("a", replace(first, keep_alive_s=30.0))])
    engine.submit(image_request("b", second, steps=10))
    engine.step()
    clock.sleep(30)
    engine.step()
    assert engine.info().resident == ("second",)


def test_unload_frees_what_no_held_request_needs(
    engine: Engine, first: CheckpointRef, second: CheckpointRef
) -> None:
    run_all(engine, [image_request("a", first)])
    engine.submit(image_request("b", second, steps=10))
    engine.step()
    assert engine.unload(second.digest) == 0
    assert engine.unload() == size_of(first)
    assert engine.info().resident == ("second",)
    assert isinstance(drive(engine).final("b"), RequestDone)


def test_unknown_family_goes_to_the_generic_loader(first: CheckpointRef) -> None:
    faults = Faults()
    other = replace(first, family="kandinsky")
    with pytest.raises(UnsupportedCombination, match="kandinsky"):
        Engine(EngineConfig(), families={"sd15": faults.load}).submit(image_request("r", other))
    loaded: list[str] = []

    def load(checkpoint: CheckpointRef, source: Any) -> Any:
        loaded.append(f"{checkpoint.family} from {source.folder.name}")
        raise CheckpointMissing("nothing here")

    engine = Engine(EngineConfig(), families={"sd15": faults.load, "generic": load})
    assert isinstance(run_all(engine, [image_request("r", other)]).final("r"), RequestFailed)
    assert loaded == ["kandinsky from first"]


def test_row_that_does_not_fit_is_tried_again_without_other_weights(
    first: CheckpointRef, second: CheckpointRef
) -> None:
    """The denoiser call fails for as long as anything else is on the device."""
    faults = Faults()
    engine = Engine(EngineConfig(check_invariants=True), families={"sd15": faults.load})
    run_all(engine, [image_request("a", first)])
    engine.submit(image_request("b", second, steps=3))
    engine.step()
    fail_until_others_leave(engine, faults)
    assert isinstance(drive(engine).final("b"), RequestDone)
    assert engine.info().resident == ("second",)


def fail_until_others_leave(engine: Engine, faults: Faults) -> None:
    """Denoiser calls find no room from now on until something was taken off the device for them."""
    evict_others = engine._residency.evict_others

    def evict_and_make_room(*digests: str) -> int:
        freed = evict_others(*digests)
        faults.capacity = 10 if freed else 0
        return freed

    engine._residency.evict_others = evict_and_make_room  # type: ignore[method-assign]
    faults.capacity = 0


@pytest.mark.parametrize("tier", [Tier.STANDARD, Tier.EXACT])
def test_networks_of_a_row_that_does_not_fit_stay_with_it(
    tier: Tier, first: CheckpointRef, second: CheckpointRef, tmp_path: Path
) -> None:
    """Its ControlNet and its IP-adapter would be loaded again at once for the second try."""
    faults, networks = Faults(), ExtraNetworks(tmp_path)
    engine = Engine(EngineConfig(check_invariants=True), families={"sd15": faults.load})
    run_all(engine, [image_request("a", first)])
    brought: dict[str, Any] = {
        "controls": (networks.control("sd15"),),
        "ip_adapters": (networks.adapter("sd15", 0),),
    }
    engine.submit(image_request("b", second, steps=3, tier=tier, **brought))
    engine.step()
    loads = engine._residency.loads
    fail_until_others_leave(engine, faults)
    assert isinstance(drive(engine).final("b"), RequestDone)
    assert engine.info().resident == ("second",)
    assert engine._residency.loads == loads


@pytest.mark.parametrize("what", ["encode", "decode"])
def test_what_does_not_fit_beside_other_weights_is_tried_again_without_them(
    what: str, engine: Engine, first: CheckpointRef, second: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, method = {"encode": (CLIPTextModel, "forward"), "decode": (AutoencoderKL, "decode")}[what]
    alone = run_all(Engine(EngineConfig()), [image_request("r", first, seeds=(1, 2))]).images("r")
    run_all(engine, [image_request("other", second)])
    original = getattr(network, method)

    def full_beside_others(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "second" in engine.info().resident:
            raise torch.OutOfMemoryError("full")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(network, method, full_beside_others)
    outcome = run_all(engine, [image_request("r", first, seeds=(1, 2))])
    assert isinstance(outcome.final("r"), RequestDone), outcome.final("r")
    for index, image in outcome.images("r").items():
        # Decoded one by one the second time, which some processors round otherwise.
        assert abs(pixels(image.data) - pixels(alone[index].data)).max() <= 1
    assert engine.info().resident == ("first",)


def test_encoding_that_fits_nowhere_fails_its_request(
    engine: Engine, first: CheckpointRef, second: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(engine, [image_request("other", second)])

    def full(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(CLIPTextModel, "forward", full)
    final = run_all(engine, [image_request("r", first)]).final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)


def test_other_files_in_the_place_of_a_checkpoints_make_other_images(engine: Engine, tmp_path: Path) -> None:
    """As when an operator registers a folder anew after having replaced what is in it."""
    folder = tmp_path / "registered"
    before = CheckpointRef(name="m", family="sd15", path=str(folder), digest="before")
    after = replace(before, digest="after")
    make_tiny("sd15", folder, seed=1)
    old = run_all(engine, [image_request("r", before)]).images("r")[0].data
    shutil.rmtree(folder)
    make_tiny("sd15", folder, seed=2)
    fresh = run_all(Engine(EngineConfig()), [image_request("r", after)]).images("r")[0].data
    assert fresh != old
    assert run_all(engine, [image_request("r", after)]).images("r")[0].data == fresh


@pytest.fixture(scope="module")
def vae(store: TinyStore) -> VaeRef:
    return store.vae("another", seed=11)


def plain_image(checkpoint: CheckpointRef, vae: VaeRef, seed: int) -> Any:
    """The same image from diffusers' own pipeline with that autoencoder."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        checkpoint.path, vae=AutoencoderKL.from_pretrained(vae.path), safety_checker=None
    )
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "a red apple",
        negative_prompt="blurry",
        width=32,
        height=32,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    ).images[0]
    return (image * 255).round().astype("int16")


def test_request_with_another_autoencoder_equals_the_plain_pipeline(
    engine: Engine, first: CheckpointRef, vae: VaeRef
) -> None:
    """Beside one without, in the same calls: they are decoded apart."""
    requests = [
        image_request("own", first, seeds=(1,)),
        image_request("other", first, seeds=(1, 2), vae=vae),
    ]
    outcome = run_all(engine, requests)
    for index, seed in enumerate((1, 2)):
        ours = pixels(outcome.images("other")[index].data)
        assert abs(ours - plain_image(first, vae, seed)).max() <= 1
    own = VaeRef(name="own", path=str(Path(first.path) / "vae"), digest="own")
    assert abs(pixels(outcome.images("own")[0].data) - plain_image(first, own, 1)).max() <= 1
    assert outcome.images("own")[0].data != outcome.images("other")[0].data
    assert loads_of(engine) == 4


def test_other_autoencoder_under_a_tight_budget_gives_the_same_image(
    engine: Engine, first: CheckpointRef, vae: VaeRef, clock: Clock
) -> None:
    requests = [image_request("r", first, vae=vae, seeds=tuple(range(6)))]
    roomy = run_all(engine, requests).images("r")
    cramped = run_all(room_for_one(first, clock), requests)
    assert isinstance(cramped.final("r"), RequestDone), cramped.final("r")
    assert {i: image.data for i, image in cramped.images("r").items()} == {
        i: image.data for i, image in roomy.items()
    }


def test_autoencoder_that_cannot_fit_beside_a_pinned_checkpoint_is_refused_before_any_step(
    first: CheckpointRef, vae: VaeRef, clock: Clock
) -> None:
    pinned = replace(first, is_pinned=True)
    outcome = run_all(room_for_one(first, clock), [image_request("r", pinned, vae=vae)])
    final = outcome.final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
    assert not any(getattr(event, "step", 0) for event in outcome.events)


@pytest.mark.parametrize(
    ("make", "fault", "words"),
    [
        (lambda store: store.vae("flux's", "flux", seed=1), UnsupportedCombination, "16 latent channels"),
        (lambda store: VaeRef(name="gone", path="/gone", digest="gone"), CheckpointMissing, "/gone"),
    ],
    ids=["other latents", "missing"],
)
def test_wrong_autoencoder_fails_its_request_before_any_step(
    make: Any, fault: type[Exception], words: str, engine: Engine, store: TinyStore, first: CheckpointRef
) -> None:
    requests = [image_request("bad", first, vae=make(store)), image_request("good", first)]
    outcome = run_all(engine, requests)
    final = outcome.final("bad")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, fault)
    assert words in str(final.fault)
    assert isinstance(outcome.final("good"), RequestDone)
    assert not any(getattr(event, "step", 0) for event in outcome.events if event.request_id == "bad")
