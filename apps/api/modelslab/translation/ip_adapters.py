"""The contract's ids of IP-adapters, found in the catalogue by name, else by what they are."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.translation.asked import Asked
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogName, CatalogQuerySet
from apps.catalog.selectors import find_entry, list_usable
from apps.generation.errors import ModelNotInstalled
from apps.generation.import_examples import find_example

# A file does not say whether it was trained on faces; its name does.
FACES: Final = r"plus[-_]?face"

KNOWN: Final = {
    "ip-adapter_sdxl": ("sdxl", ("base", "full")),
    "ip-adapter_sd15": ("sd15", ("base", "full")),
    "ip-adapter-plus-face_sd15": ("sd15", ("plus-face",)),
    "ip-adapter-plus_sdxl_vit-h": ("sdxl", ("plus",)),
    "ip-adapter-plus-face_sdxl_vit-h": ("sdxl", ("plus-face",)),
}
"""Id -> family and variants that serve, where none goes by that name."""


def find_ip_adapter(asked: Asked, name: str) -> str:
    """The catalogue's name of it. Raises ModelNotInstalled, which names the id."""
    usable = _adapters(asked)
    found = find_entry(usable, name)
    if found is None and name.lower() in KNOWN:
        family, variants = KNOWN[name.lower()]
        fitting = usable.filter(family=family)
        found = (
            _most_used(_of_faces(fitting))
            if variants == ("plus-face",)
            else _most_used(fitting.filter(variant__in=variants).exclude(pk__in=_of_faces(fitting)))
        )
    if found is None:
        raise ModelNotInstalled(
            kind=f"IP-adapter {name[:80]}",
            hint="import it under this name, or name another with ip_adapter_id",
        )
    return found.name


def find_face_adapter(asked: Asked, *, family: str = "") -> CatalogEntry:
    """One that puts a face into an image. Raises ModelNotInstalled."""
    usable = _of_faces(_adapters(asked))
    found = _most_used(usable.filter(family=family) if family else usable)
    if found is None:
        of = f" for {family}" if family else ""
        known = find_example(Kind.IP_ADAPTER, ("plus-face",), family=family or "sd15")
        example = f", for example {known}" if known else ""
        raise ModelNotInstalled(
            kind=f"IP-adapter for faces{of}",
            hint=f"import a model of kind ip_adapter whose name says plus-face{example}",
        )
    return found


def _adapters(asked: Asked) -> CatalogQuerySet:
    return list_usable(account=asked.account).filter(kind=Kind.IP_ADAPTER)


def _of_faces(adapters: CatalogQuerySet) -> CatalogQuerySet:
    """By name or alias."""
    named = CatalogName.objects.filter(name__iregex=FACES)
    return adapters.filter(pk__in=named.values("entry_id"))


def _most_used(entries: CatalogQuerySet) -> CatalogEntry | None:
    return entries.order_by("-use_count", "pk").first()
