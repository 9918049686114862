"""Catalogue entries as a job will use them: chosen at submit, stored with it, looked up again at claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.generation.choices import Balance, ControlType, Replacement
from apps.generation.wishes import BackgroundWish, DetectWish, FaceSwapWish, FaceWish, StoredPicture


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedEntry:
    """One entry."""

    entry_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedLora:
    """One LoRA as the worker will use it."""

    entry_id: int
    name: str
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedAsset:
    """Weights of one operation, under the operation's own name for them."""

    role: str
    """E.g. "model", "detector", "mesh"."""
    entry_id: int
    name: str


Assets = tuple[UsedAsset, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedAdapters:
    """What changes the checkpoint for one request; all of it fits the checkpoint's family."""

    loras: tuple[UsedLora, ...] = ()
    embeddings: tuple[UsedEntry, ...] = ()
    vae: UsedEntry | None = None


NO_ADAPTERS = UsedAdapters()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedControl:
    """One ControlNet with the picture that it follows; fields as in ControlWish."""

    network: UsedEntry
    picture: StoredPicture
    type: ControlType
    is_hint: bool
    scale: float
    start: float
    end: float
    resolution_px: int
    threshold_a: float | None
    threshold_b: float | None
    mode: int | None = None
    """Which kind of map, for networks that know several."""
    balance: Balance = Balance.BALANCED
    assets: Assets = ()
    """Of its detector; none for types that need no weights, and for maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedIpAdapter:
    """One IP-adapter with the model that sees for it."""

    adapter: UsedEntry
    encoder: UsedEntry
    pictures: tuple[StoredPicture, ...]
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRefiner:
    """The checkpoint that does the last steps."""

    checkpoint: UsedEntry
    switch_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUpscale:
    """How far and by what an image is enlarged."""

    width: int
    """Of the enlarged image, pixels."""
    height: int
    assets: Assets = ()
    """"model" enlarges, without one the image is resampled (Lanczos)."""
    scale: int = 1
    """The model's own factor; what it costs goes by it and by its architecture. 1 without a model."""
    variant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUpscaler:
    """What enlarges, for a size that is yet to be worked out; fields as in UsedUpscale."""

    assets: Assets = ()
    scale: int = 1
    variant: str = ""


NO_UPSCALER = UsedUpscaler()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedFaces:
    """What restores faces, and how."""

    wish: FaceWish
    assets: Assets
    """"model" restores; "detector" and "mesh" find faces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedBackground:
    """What cuts out what stands in front."""

    wish: BackgroundWish
    assets: Assets


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedFaceSwap:
    """What finds the faces that are swapped."""

    wish: FaceSwapWish
    assets: Assets


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedDetect:
    """A detector by itself."""

    wish: DetectWish
    assets: Assets


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedCheck:
    """How images are looked at before they are delivered."""

    assets: Assets
    replacement: Replacement = Replacement.NONE
    is_blocking: bool = False
    """An unsuitable image fails the job, which is then not charged."""

    @property
    def may_replace(self) -> bool:
        """Whether somebody is not to see what the check objects to."""
        return self.is_blocking or self.replacement is not Replacement.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Every catalogue entry that a request will use besides its checkpoint; see `choosing`."""

    adapters: UsedAdapters = NO_ADAPTERS
    controls: tuple[UsedControl, ...] = ()
    ip_adapters: tuple[UsedIpAdapter, ...] = ()
    refiner: UsedRefiner | None = None
    upscaler: UsedUpscaler = NO_UPSCALER
    hires_upscaler: UsedUpscaler = NO_UPSCALER
    faces: tuple[UsedFaces, ...] = ()
    background: UsedBackground | None = None
    face_swap: UsedFaceSwap | None = None
    detect: UsedDetect | None = None
    reader: Assets = ()
    check: UsedCheck | None = None


NOTHING_CHOSEN = Chosen()


def entry_ids_in(value: Any) -> set[int]:
    """Primary keys of every entry in a value of this module, in a tuple of them, or in None."""
    if value is None:
        return set()
    if isinstance(value, tuple):
        return {found for each in value for found in entry_ids_in(each)}
    if isinstance(value, UsedEntry | UsedLora | UsedAsset):
        return {value.entry_id}
    slots = getattr(type(value), "__slots__", ())
    return {found for slot in slots for found in entry_ids_in(getattr(value, slot))}


def pictures_in(value: Any) -> dict[str, StoredPicture]:
    """Every stored picture in a value of this module or of `wishes`, by digest."""
    if isinstance(value, StoredPicture):
        return {value.digest: value}
    if isinstance(value, tuple):
        each = value
    else:
        each = tuple(getattr(value, slot) for slot in getattr(type(value), "__slots__", ()))
    found: dict[str, StoredPicture] = {}
    for part in each:
        found |= pictures_in(part)
    return found
