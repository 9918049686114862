"""Which checkpoint serves a request that names none: the first that fits, of those that are used most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.conf import settings

from apps.api.modelslab.fields.generation import FLUX_2_DEV
from apps.api.modelslab.translation.asked import Asked, ModelChoice
from apps.api.modelslab.translation.ip_adapters import find_face_adapter
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import find_entry, list_usable
from apps.core.errors import InvalidField
from apps.generation.checkpoints import EDITING, KONTEXT, WITH_MASK, most_references
from apps.generation.errors import ModelNotInstalled
from gpu_runtime.weights.family_facts import NEEDS_MORE_THAN_A_PROMPT, UNETS

FAST: Final = ("turbo", "lightning", "schnell", "lcm")
"""Variants that need a few steps only."""
MAX_EDITORS: Final = 50
KONTEXT_NAME: Final = "flux-kontext-dev"
FLUX_2_NAME: Final = "flux-2-dev"
KLEIN: Final = "klein"
"""How variants of FLUX.2 that are not dev begin."""


def must_be_named(asked: Asked) -> str:
    """Raises InvalidField: nobody but the caller can say which."""
    raise InvalidField(field="checkpoint", problem="is required")


def needs_none(asked: Asked) -> str:
    """Of kinds that denoise nothing."""
    return ""


def fast_model(asked: Asked) -> str:
    """The operator's REALTIME_MODEL, else a fast variant, else whatever makes images from a prompt."""
    usable = _checkpoints(asked)
    if settings.REALTIME_MODEL:
        return str(settings.REALTIME_MODEL)
    return (_most_used(usable.filter(variant__in=FAST)) or _plain(usable)).name


def inpainting_model(asked: Asked) -> str:
    """One whose network takes masks, else one that makes images from a prompt: those inpaint as well."""
    usable = _checkpoints(asked)
    return (_most_used(usable.filter(variant__in=WITH_MASK)) or _plain(usable)).name


def mixing_model(asked: Asked) -> str:
    """One into whose steps a picture can be mixed. Raises ModelNotInstalled."""
    found = _find_plain(_checkpoints(asked).filter(family__in=UNETS))
    if found is None:
        hint = "import one that makes images from a prompt"
        raise ModelNotInstalled(kind="Stable Diffusion checkpoint (1.x, 2.x or XL)", hint=hint)
    return found.name


def named_model(name: str, family: str = "") -> ModelChoice:
    """The catalogue's `name`, else what is used most of a family; with neither, `name` is not found."""

    def choose(asked: Asked) -> str:
        usable = _checkpoints(asked)
        found = find_entry(usable, name)
        if found is None and family:
            found = _find_plain(usable.filter(family=family))
        return found.name if found is not None else name

    return choose


def editing_model(*names: str, pictures: int = 1) -> ModelChoice:
    """The first of `names` that is there, else one that edits from so many pictures at once."""

    def choose(asked: Asked) -> str:
        usable = _checkpoints(asked)
        for name in names:
            found = find_entry(usable, name)
            if found is not None:
                return found.name
        able = [each for each in _editors(usable) if most_references(each) >= pictures]
        if not able:
            raise ModelNotInstalled(
                kind="model that edits pictures" if pictures == 1 else "model that edits several pictures",
                hint="import one such as Qwen-Image-Edit or FLUX.1 Kontext"
                + (f", under the name {names[0]}" if names else ""),
            )
        return able[0].name

    return choose


def kontext_model(asked: Asked) -> str:
    """flux-kontext-dev, else any Kontext. Raises ModelNotInstalled."""
    usable = _checkpoints(asked)
    found = find_entry(usable, KONTEXT_NAME) or _most_used(usable.filter(variant=KONTEXT))
    if found is None:
        raise ModelNotInstalled(kind=f"model {KONTEXT_NAME}", hint="import FLUX.1 Kontext under this name")
    return found.name


def flux_model(asked: Asked) -> str:
    """FLUX.1 as its server always has it, or FLUX.2 where `deploy_type` says so. Raises ModelNotInstalled."""
    if asked.values.get("deployment", "") != FLUX_2_DEV:
        return named_model("flux", "flux")(asked)
    usable = _checkpoints(asked).filter(family="flux2")
    dev = usable.exclude(variant__startswith=KLEIN)
    found = find_entry(usable, FLUX_2_NAME) or _most_used(dev) or _most_used(usable)
    if found is None:
        raise ModelNotInstalled(
            kind="model of the FLUX.2 family", hint=f"import FLUX.2 dev, under the name {FLUX_2_NAME}"
        )
    return found.name


def face_model(family: str = "") -> ModelChoice:
    """Whatever makes images from a prompt and fits the IP-adapter that puts faces into them."""

    def choose(asked: Asked) -> str:
        adapter = find_face_adapter(asked, family=family)
        usable = _checkpoints(asked)
        return _plain(usable.filter(family=adapter.family) if adapter.family else usable).name

    return choose


def is_editor(checkpoint: CatalogEntry) -> bool:
    """Whether it changes pictures as a prompt says, and looks at several if need be."""
    return most_references(checkpoint) > 0


def _editors(usable: CatalogQuerySet) -> Sequence[CatalogEntry]:
    return list(usable.filter(variant__in=EDITING).order_by("-use_count", "pk")[:MAX_EDITORS])


def _checkpoints(asked: Asked) -> CatalogQuerySet:
    return list_usable(account=asked.account, key=asked.key).filter(kind=Kind.CHECKPOINT)


def _most_used(entries: CatalogQuerySet) -> CatalogEntry | None:
    return entries.order_by("-use_count", "pk").first()


def _find_plain(usable: CatalogQuerySet) -> CatalogEntry | None:
    """One that makes images from a prompt, and is meant for that where there is one."""
    able = usable.exclude(variant__in=NEEDS_MORE_THAN_A_PROMPT)
    return _most_used(able.exclude(variant__in=EDITING)) or _most_used(able)


def _plain(usable: CatalogQuerySet) -> CatalogEntry:
    """Raises ModelNotInstalled."""
    found = _find_plain(usable)
    if found is None:
        raise ModelNotInstalled(kind="checkpoint", hint="import one that makes images from a prompt")
    return found
