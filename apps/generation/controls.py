"""ControlNets of a request: which entry, which of its modes, and what its detector needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_entry, list_usable, require_compatible
from apps.core.errors import InvalidField
from apps.generation.choices import Balance, ControlType
from apps.generation.errors import ModelNotInstalled
from apps.generation.finding import find_of, require_of
from apps.generation.import_examples import find_example
from apps.generation.request import GenerationRequest
from apps.generation.used import Assets, UsedControl, UsedEntry
from apps.generation.wishes import ControlWish
from gpu_runtime.weights.family_facts import UNETS

UNION: Final = "union"

VARIANTS: Final[Mapping[ControlType, tuple[str, ...]]] = {
    ControlType.SEGMENTATION: ("seg", "segmentation"),
    ControlType.GRAY: ("recolor", "gray"),
    ControlType.NORMAL: ("normal", "surface_normal"),
    ControlType.LINEART: ("lineart", "lineart_anime"),
    ControlType.BLUR: ("blur", "tile"),
    ControlType.THRESHOLD: ("threshold", "scribble"),
}
"""Control types as identification stores them, the best first, where ours has another name."""

MODES: Final[Mapping[str, Mapping[ControlType, int]]] = {
    # The order of xinsir's union network, which joins kinds that look alike.
    "sdxl": {
        ControlType.OPENPOSE: 0,
        ControlType.DEPTH: 1,
        ControlType.SOFTEDGE: 2,
        ControlType.SCRIBBLE: 2,
        ControlType.CANNY: 3,
        ControlType.LINEART: 3,
        ControlType.MLSD: 3,
        ControlType.NORMAL: 4,
        ControlType.SEGMENTATION: 5,
        ControlType.TILE: 6,
        ControlType.INPAINT: 7,
    },
    # The order of InstantX' and Shakker's union networks.
    "flux": {
        ControlType.CANNY: 0,
        ControlType.TILE: 1,
        ControlType.DEPTH: 2,
        ControlType.BLUR: 3,
        ControlType.OPENPOSE: 4,
        ControlType.GRAY: 5,
    },
}
"""By family: the number by which a union network knows a kind of map."""

DETECTOR_ROLES: Final[Mapping[ControlType, Mapping[str, tuple[Kind, tuple[str, ...]]]]] = {
    ControlType.SOFTEDGE: {"model": (Kind.PREPROCESSOR, ("softedge",))},
    ControlType.OPENPOSE: {"model": (Kind.PREPROCESSOR, ("openpose",))},
    ControlType.DEPTH: {"model": (Kind.PREPROCESSOR, ("depth",))},
    ControlType.NORMAL: {"model": (Kind.PREPROCESSOR, ("normal", "depth"))},
    ControlType.SEGMENTATION: {"model": (Kind.PREPROCESSOR, ("segmentation",))},
    ControlType.FACE: {
        "detector": (Kind.FACE, ("detection",)),
        "mesh": (Kind.FACE, ("landmarks",)),
    },
}
"""Weights that detectors cannot do without: the operation's name for them, kind, and variants that serve."""


def choose_controls(
    *, account: Account, request: GenerationRequest, checkpoint: CatalogEntry
) -> tuple[UsedControl, ...]:
    """Raises EntryNotFound, EntryDisabled, FamilyMismatch, ModelNotInstalled, InvalidField."""
    return tuple(_choose(account, request, wish, checkpoint) for wish in request.controls)


def _choose(
    account: Account, request: GenerationRequest, wish: ControlWish, checkpoint: CatalogEntry
) -> UsedControl:
    if wish.balance is not Balance.BALANCED and checkpoint.family not in UNETS:
        problem = (
            f"cannot be balanced towards the {wish.balance.value} for models of family {checkpoint.family}:"
            " use a lower or higher scale instead"
        )
        raise InvalidField(field="controls", problem=problem)
    network = _network(account, wish, checkpoint)
    if wish.type is ControlType.INPAINT and not wish.is_hint and request.mask is None:
        raise InvalidField(field="mask", problem="is required for a control image of type inpaint")
    return UsedControl(
        network=UsedEntry(entry_id=network.pk, name=network.name),
        picture=wish.picture,
        type=wish.type,
        is_hint=wish.is_hint,
        scale=wish.scale,
        start=wish.start,
        end=wish.end,
        resolution_px=wish.resolution_px,
        threshold_a=wish.threshold_a,
        threshold_b=wish.threshold_b,
        mode=_mode(network, wish),
        balance=wish.balance,
        assets=() if wish.is_hint else detector_assets(account=account, type=wish.type),
    )


def _network(account: Account, wish: ControlWish, checkpoint: CatalogEntry) -> CatalogEntry:
    """The named one, else the one of its type, else a union network that knows the type."""
    if wish.model:
        network = access_entry(account=account, name=wish.model, kind=Kind.CONTROLNET)
        require_compatible(entry=network, checkpoint=checkpoint)
        return network
    fitting = list_usable(account=account).filter(kind=Kind.CONTROLNET, family=checkpoint.family)
    wanted = VARIANTS.get(wish.type, (wish.type.value,))
    if wish.type in MODES.get(checkpoint.family, {}):
        wanted += (UNION,)
    found = {
        entry.variant: entry for entry in fitting.filter(variant__in=wanted).order_by("use_count", "-pk")
    }
    for variant in wanted:
        if variant in found:
            return found[variant]
    example = find_example(Kind.CONTROLNET, wanted, family=checkpoint.family) or f"of variant {wanted[0]}"
    raise ModelNotInstalled(
        kind=f"ControlNet of type {wish.type.value} for {checkpoint.family}",
        hint=f"import one, for example {example}, or name another with the request",
    )


def _mode(network: CatalogEntry, wish: ControlWish) -> int | None:
    """Raises InvalidField for a union network that does not know the type."""
    if network.variant != UNION:
        return None
    modes = MODES.get(network.family, {})
    if wish.type not in modes:
        known = ", ".join(sorted(modes)) or "none"
        problem = f"of type {wish.type.value} are not known to {network.name}, which takes {known}"
        raise InvalidField(field="controls", problem=problem)
    return modes[wish.type]


def detector_assets(*, account: Account, type: ControlType) -> Assets:
    """What makes a map of this type. Raises ModelNotInstalled."""
    title = f"detector of {type.value}"
    assets = tuple(
        require_of(account=account, role=role, kind=kind, variants=variants, title=title)
        for role, (kind, variants) in DETECTOR_ROLES.get(type, {}).items()
    )
    if type is ControlType.SCRIBBLE:
        # Drawn after soft edges where there are some, after differences of brightness otherwise.
        better = find_of(account=account, role="model", kind=Kind.PREPROCESSOR, variants=("softedge",))
        return (better,) if better else ()
    return assets
