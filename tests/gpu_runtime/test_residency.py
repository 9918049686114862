"""What is on the device after a sequence of uses, and what left it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_runtime.errors import CheckpointMissing, OutOfMemory, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import CheckpointRef, VaeRef
from gpu_runtime.messages import Residency as Place
from gpu_runtime.weights.residency import Residency
from gpu_runtime.weights.slots import Slot
from gpu_runtime.weights.source import WeightsSource
from tests.gpu_runtime.folder_source import load_network
from tests.gpu_runtime.weight_store import Clock, Parts, TinyStore, load_parts, megabytes, residency, size_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return TinyStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def base(store: TinyStore) -> CheckpointRef:
    return store.checkpoint("base", seed=1)


@pytest.fixture(scope="module")
def tune(store: TinyStore) -> CheckpointRef:
    """Differs from `base` in the denoiser alone."""
    return store.checkpoint("tune", seed=2, base=1)


@pytest.fixture(scope="module")
def stranger(store: TinyStore) -> CheckpointRef:
    """Of the same architecture; shares nothing."""
    return store.checkpoint("stranger", seed=3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def parts_of(weights: Residency, checkpoint: CheckpointRef) -> Parts:
    family = weights.get(checkpoint)
    assert isinstance(family, Parts)
    return family


def place(weights: Residency, checkpoint: CheckpointRef) -> Place:
    found = [held.residency for held in weights.held() if held.digest == checkpoint.digest]
    return found[0] if found else Place.COLD


def holds(parts: Parts, checkpoint: CheckpointRef) -> bool:
    """Whether the networks have exactly the checkpoint's weights."""
    folder = Path(checkpoint.path)
    for name, ours in zip(("text_encoder", "unet", "vae"), parts.networks, strict=True):
        tensors = load_network(folder, name).state_dict()
        if not all(torch.equal(value, tensors[key]) for key, value in ours.state_dict().items()):
            return False
    return True


def test_checkpoint_is_loaded_once(clock: Clock, base: CheckpointRef) -> None:
    weights = residency(clock)
    first = parts_of(weights, base)
    assert weights.get(base) is first
    assert weights.loads == 3
    assert weights.size_bytes == size_of(base)
    assert holds(first, base)


def test_fine_tunes_share_all_but_the_denoiser(
    clock: Clock, base: CheckpointRef, tune: CheckpointRef
) -> None:
    weights = residency(clock)
    one, other = parts_of(weights, base), parts_of(weights, tune)
    assert weights.loads == 4
    assert weights.size_bytes == size_of(base, tune) < size_of(base) + size_of(tune)
    assert (one.text_encoder, one.vae) == (other.text_encoder, other.vae)
    assert one.unet is not other.unet
    assert holds(one, base)
    assert holds(other, tune)
    assert [held.size_bytes for held in weights.held()] == [size_of(base), size_of(tune)]


def test_one_of_the_same_architecture_is_copied_over_the_last(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)))
    one = parts_of(weights, base)
    places = [(id(network), [id(p) for p in network.parameters()]) for network in one.networks]
    other = parts_of(weights, stranger)
    assert [(id(network), [id(p) for p in network.parameters()]) for network in other.networks] == places
    assert holds(other, stranger)
    assert weights.names() == ("stranger",)
    assert place(weights, base) is Place.STAGED
    assert weights.size_bytes == size_of(stranger)


def test_two_of_one_architecture_stay_when_there_is_room(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base, stranger)))
    one, other = parts_of(weights, base), parts_of(weights, stranger)
    assert weights.names() == ("base", "stranger")
    assert holds(one, base)
    assert holds(other, stranger)


def test_family_is_dropped_with_the_first_component_that_leaves(
    clock: Clock, base: CheckpointRef, tune: CheckpointRef
) -> None:
    """One byte short of both: the other's denoiser leaves, and what they share stays."""
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base, tune) - 1))
    one = parts_of(weights, base)
    other = parts_of(weights, tune)
    assert weights.names() == ("tune",)
    assert weights.loads == 4
    again = parts_of(weights, base)
    assert weights.loads == 5
    assert again is not one
    assert again.text_encoder is other.text_encoder
    assert holds(again, base)


def test_longest_unused_leaves_first(
    clock: Clock, store: TinyStore, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    third = store.checkpoint("third", seed=4)
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base, stranger)))
    for checkpoint in (base, stranger, base, third):
        weights.get(checkpoint)
        clock.sleep(60)
    assert weights.names() == ("base", "third")


def test_what_a_held_request_needs_outlives_what_was_used_later(
    clock: Clock, store: TinyStore, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    third = store.checkpoint("third wanted", seed=5)
    weights = residency(clock, wanted={base.digest}, weights_budget_mb=megabytes(size_of(base, stranger)))
    for checkpoint in (base, stranger, third):
        weights.get(checkpoint)
        clock.sleep(60)
    assert weights.names() == ("base", "third wanted")


def test_pinned_checkpoint_is_never_evicted(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)))
    weights.get(replace(base, is_pinned=True))
    with pytest.raises(OutOfMemory, match="must stay"):
        weights.get(stranger)
    assert weights.names() == ("base",)
    assert [held.is_pinned for held in weights.held()] == [True]
    weights.get(replace(base, is_pinned=False))
    weights.get(stranger)
    assert weights.names() == ("stranger",)


def test_checkpoint_that_cannot_fit_evicts_nothing(
    clock: Clock, store: TinyStore, base: CheckpointRef
) -> None:
    large = store.checkpoint("large", "sdxl", seed=1)
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)), families={"sd15": load_parts})
    weights.get(base)
    with pytest.raises(OutOfMemory, match="do not fit"):
        weights.get(replace(large, family="sd15"))
    assert weights.names() == ("base",)
    assert weights.loads == 3


@pytest.mark.parametrize(
    ("own", "setting", "idle_s", "is_gone"),
    [
        (None, 0.0, 1e9, False),
        (None, 60.0, 59.0, False),
        (None, 60.0, 60.0, True),
        (30.0, 60.0, 30.0, True),
        (90.0, 60.0, 89.0, False),
        (0.0, 60.0, 1e9, False),
    ],
)
def test_idle_checkpoint_leaves_after_its_keep_alive(
    own: float | None, setting: float, idle_s: float, is_gone: bool, clock: Clock, base: CheckpointRef
) -> None:
    weights = residency(clock, keep_alive_s=setting)
    weights.get(replace(base, keep_alive_s=own))
    clock.sleep(idle_s)
    assert weights.is_unload_due() is is_gone
    assert weights.unload_idle() == (size_of(base) if is_gone else 0)
    assert place(weights, base) is (Place.STAGED if is_gone else Place.RESIDENT)
    assert not weights.is_unload_due()


@pytest.mark.parametrize("reason", ["pinned", "wanted"])
def test_idle_checkpoint_stays_when_pinned_or_wanted(reason: str, clock: Clock, base: CheckpointRef) -> None:
    wanted = {base.digest} if reason == "wanted" else set()
    weights = residency(clock, wanted=wanted, keep_alive_s=1.0)
    weights.get(replace(base, is_pinned=reason == "pinned"))
    clock.sleep(3600)
    assert not weights.is_unload_due()
    assert weights.unload_idle() == 0
    assert weights.names() == ("base",)


def test_idle_checkpoint_leaves_what_another_uses(
    clock: Clock, base: CheckpointRef, tune: CheckpointRef
) -> None:
    weights = residency(clock, keep_alive_s=60.0)
    weights.get(base)
    clock.sleep(50)
    other = parts_of(weights, tune)
    clock.sleep(20)
    assert weights.unload_idle() == size_of(base, tune) - size_of(tune)
    assert weights.get(tune) is other
    assert holds(other, tune)
    clock.sleep(60)
    assert weights.unload_idle() == size_of(tune)
    assert weights.size_bytes == 0


def test_components_left_by_an_eviction_leave_when_idle(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    """The stranger takes two of three places; what is left of the other serves nobody."""
    weights = residency(clock, keep_alive_s=60.0, weights_budget_mb=megabytes(size_of(base) * 3 // 2))
    weights.get(base)
    weights.get(stranger)
    left = weights.size_bytes - size_of(stranger)
    assert left > 0
    clock.sleep(30)
    weights.get(stranger)
    clock.sleep(30)
    assert weights.unload_idle() == left
    assert weights.names() == ("stranger",)


def test_unload_frees_the_device_and_staging(clock: Clock, base: CheckpointRef, tune: CheckpointRef) -> None:
    weights = residency(clock)
    weights.get(base)
    other = parts_of(weights, tune)
    alone = size_of(base, tune) - size_of(tune)
    assert weights.unload(base.digest, keep=()) == alone
    assert place(weights, base) is Place.COLD
    assert weights.get(tune) is other
    assert weights.unload(None, keep=()) == size_of(tune)
    assert weights.held() == ()
    assert weights.size_bytes == 0


def test_unload_keeps_what_is_needed(clock: Clock, base: CheckpointRef, stranger: CheckpointRef) -> None:
    weights = residency(clock)
    for checkpoint in (base, stranger):
        weights.get(checkpoint)
    assert weights.unload(base.digest, keep={base.digest}) == 0
    weights.unload(None, keep={base.digest})
    assert weights.names() == ("base",)


def test_unload_takes_pinned_ones_as_well(clock: Clock, base: CheckpointRef) -> None:
    weights = residency(clock)
    weights.get(replace(base, is_pinned=True))
    assert weights.unload(base.digest, keep=()) > 0
    assert weights.names() == ()


def test_held_tells_place_use_and_order(
    clock: Clock, base: CheckpointRef, tune: CheckpointRef, stranger: CheckpointRef
) -> None:
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base, tune)))
    for checkpoint in (base, tune, stranger):
        clock.sleep(10)
        weights.get(checkpoint)
    assert [(held.name, held.residency, held.idle_s) for held in weights.held()] == [
        ("base", Place.STAGED, 20.0),
        ("tune", Place.STAGED, 10.0),
        ("stranger", Place.RESIDENT, 0.0),
    ]
    assert {held.family for held in weights.held()} == {"sd15"}


def test_checkpoint_without_staging_is_cold_when_evicted(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)), staging_budget_mb=0.001)
    weights.get(base)
    weights.get(stranger)
    assert [held.name for held in weights.held()] == ["stranger"]
    assert holds(parts_of(weights, base), base)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_broken_checkpoint_harms_nothing_that_is_loaded(
    component: str, clock: Clock, base: CheckpointRef, stranger: CheckpointRef, tmp_path: Path
) -> None:
    broken = copy_of(stranger, tmp_path / "broken")
    file = next((tmp_path / "broken" / component).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)))
    one = parts_of(weights, base)
    with pytest.raises(WeightsCorrupt, match=component):
        weights.get(broken)
    assert weights.get(base) is one
    assert holds(one, base)
    assert weights.loads == 3


def test_component_with_strange_settings_is_refused_by_name(
    clock: Clock, stranger: CheckpointRef, tmp_path: Path
) -> None:
    broken = copy_of(stranger, tmp_path / "broken")
    config = tmp_path / "broken" / "unet" / "config.json"
    config.write_text(config.read_text().replace('"block_out_channels": [', '"block_out_channels": [3, '))
    with pytest.raises(WeightsCorrupt, match="unet"):
        residency(clock).get(broken)


def copy_of(checkpoint: CheckpointRef, folder: Path) -> CheckpointRef:
    """A copy outside of the store, whose files may be broken."""
    shutil.copytree(checkpoint.path, folder)
    return replace(checkpoint, name=folder.name, path=str(folder), digest=f"digest of {folder}")


def test_missing_checkpoint_leaves_no_trace(clock: Clock, base: CheckpointRef, tmp_path: Path) -> None:
    weights = residency(clock)
    with pytest.raises(CheckpointMissing):
        weights.get(replace(base, path=str(tmp_path / "gone"), digest="gone"))
    assert weights.held() == ()
    assert weights.size_bytes == 0


class FullDevice:
    """Copies fail as on a full device until the residency has let something go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        self._fill = Slot.fill
        monkeypatch.setattr(Slot, "fill", lambda slot, staged: self._try(slot, staged))

    def _try(self, slot: Slot, staged: Any) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        self._fill(slot, staged)


def test_full_device_evicts_and_tries_again(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FullDevice(monkeypatch)
    weights = residency(clock)
    weights.get(base)
    device.failures = 2
    parts = parts_of(weights, stranger)
    assert holds(parts, stranger)
    assert weights.names() == ("stranger",)
    assert weights.size_bytes < size_of(base, stranger)


def test_full_device_with_nothing_to_evict_fails_this_checkpoint_only(
    clock: Clock, base: CheckpointRef, stranger: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FullDevice(monkeypatch)
    weights = residency(clock)
    one = parts_of(weights, replace(base, is_pinned=True))
    device.failures = 10**6
    with pytest.raises(OutOfMemory, match="nothing on it may leave"):
        weights.get(stranger)
    device.failures = 0
    assert weights.get(replace(base, is_pinned=True)) is one
    assert holds(one, base)
    weights.get(stranger)


def whole_family(loaded: list[str]) -> Callable[[CheckpointRef, WeightsSource], Any]:
    def load(checkpoint: CheckpointRef, source: WeightsSource) -> Any:
        loaded.append(source.folder.name)
        return object()

    return load


def test_family_without_parts_is_one_unit_with_all_its_bytes(
    clock: Clock, store: TinyStore, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    other = replace(store.checkpoint("pixart", seed=6), family="pixart")
    loaded: list[str] = []
    weights = residency(
        clock,
        families={"sd15": load_parts, "generic": whole_family(loaded)},
        weights_budget_mb=megabytes(size_of(base, other)),
    )
    whole = weights.get(other)
    assert weights.size_bytes == size_of(other)
    weights.get(base)
    assert weights.get(other) is whole
    clock.sleep(60)
    weights.get(base)
    weights.get(stranger)
    assert weights.names() == ("base", "stranger")
    assert place(weights, other) is Place.COLD
    assert weights.get(other) is not whole
    assert loaded == ["pixart", "pixart"]


def test_autoencoder_in_place_of_the_checkpoints_own(
    clock: Clock, store: TinyStore, base: CheckpointRef
) -> None:
    vae = store.vae("other vae", seed=7)
    weights = residency(clock)
    parts = parts_of(weights, base)
    module = weights.vae(vae, base)
    assert module is not parts.vae
    assert weights.vae(vae, base) is module
    assert weights.get(base) is parts
    assert weights.loads == 4
    assert [held.name for held in weights.held()] == ["base"]
    assert weights.unload(vae.digest, keep=()) > 0
    assert weights.size_bytes == size_of(base)


def test_autoencoder_that_is_the_checkpoints_own_is_not_loaded_again(
    clock: Clock, base: CheckpointRef
) -> None:
    own = VaeRef(name="own", path=str(Path(base.path) / "vae"), digest="own")
    weights = residency(clock)
    assert weights.vae(own, base) is parts_of(weights, base).vae
    assert weights.loads == 3


def test_loading_an_autoencoder_takes_nothing_from_its_checkpoint_while_others_are_there(
    clock: Clock, store: TinyStore, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    vae = store.vae("vae beside", seed=8)
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base, stranger)))
    weights.get(stranger)
    clock.sleep(60)
    parts = parts_of(weights, base)
    clock.sleep(60)
    weights.vae(vae, base)
    assert weights.get(base) is parts
    assert weights.names() == ("base",)


def test_autoencoder_takes_the_room_of_its_checkpoint_when_there_is_no_other(
    clock: Clock, store: TinyStore, base: CheckpointRef
) -> None:
    vae = store.vae("vae instead", seed=9)
    weights = residency(clock, weights_budget_mb=megabytes(size_of(base)))
    weights.get(base)
    module = weights.vae(vae, base)
    tensors = load_network(
        Path(vae.path).parent, Path(vae.path).name, class_name="AutoencoderKL"
    ).state_dict()
    assert all(torch.equal(value, tensors[key]) for key, value in module.state_dict().items())
    assert weights.size_bytes <= size_of(base)
    assert holds(parts_of(weights, base), base)


def test_making_room_spares_what_is_named_and_pinned(
    clock: Clock, store: TinyStore, base: CheckpointRef, stranger: CheckpointRef
) -> None:
    vae = store.vae("spared", seed=10)
    weights = residency(clock)
    parts = parts_of(weights, base)
    module = weights.vae(vae, base)
    weights.get(stranger)
    assert weights.evict_others(base.digest, vae.digest) == size_of(stranger)
    assert parts_of(weights, base) is parts
    assert weights.vae(vae, base) is module
    weights.get(replace(stranger, is_pinned=True))
    assert weights.evict_others(base.digest, vae.digest) == 0


def test_autoencoder_of_other_latents_is_refused(clock: Clock, store: TinyStore, base: CheckpointRef) -> None:
    weights = residency(clock)
    weights.get(base)
    with pytest.raises(UnsupportedCombination, match="has 16 latent channels, the checkpoint's has 4"):
        weights.vae(store.vae("of flux", "flux", seed=1), base)
    with pytest.raises(CheckpointMissing, match="no autoencoder at"):
        weights.vae(VaeRef(name="gone", path="/nonexistent", digest="gone"), base)
    assert weights.loads == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_class_name": "AutoencoderDC"}, "is a AutoencoderDC, the checkpoint's a AutoencoderKL"),
        ({"block_out_channels": [8, 8, 8]}, "pixels a latent"),
    ],
)
def test_autoencoder_that_would_give_other_images_is_refused(
    changes: dict[str, Any], words: str, clock: Clock, base: CheckpointRef, tmp_path: Path
) -> None:
    import json

    folder = tmp_path / "vae"
    shutil.copytree(Path(base.path) / "vae", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UnsupportedCombination, match=words):
        residency(clock).require_vae(VaeRef(name="other", path=str(folder), digest="other"), base)
