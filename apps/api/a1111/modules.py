"""Preprocessors and ControlNets by the ControlNet extension's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import list_usable
from apps.generation.choices import ControlType
from apps.generation.controls import DETECTOR_ROLES, UNION, VARIANTS

NONE: Final = "none"
NO_MODEL: Final = frozenset({"", "none"})
MODEL_HASH_CHARS: Final = 8


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """One type of map."""

    type: ControlType
    label: str
    """Of the group in `control_types`."""
    names: tuple[str, ...]
    """Modules of theirs that this stands for; the first is listed."""
    sliders: tuple[str, ...] = ()
    """Of threshold_a and threshold_b, as far as the detector has them."""


MODULES: Final = (
    ModuleRow(
        ControlType.CANNY, "Canny", ("canny", "canny_edge"), ("Canny Low Threshold", "Canny High Threshold")
    ),
    ModuleRow(
        ControlType.DEPTH,
        "Depth",
        (
            "depth_midas",
            "depth",
            "depth_anything",
            "depth_anything_v2",
            "depth_zoe",
            "depth_leres",
            "depth_leres++",
        ),
    ),
    ModuleRow(ControlType.NORMAL, "NormalMap", ("normal_bae", "normal_midas", "normal_map", "normal_dsine")),
    ModuleRow(
        ControlType.OPENPOSE,
        "OpenPose",
        (
            "openpose_full",
            "openpose",
            "openpose_hand",
            "openpose_face",
            "openpose_faceonly",
            "dw_openpose_full",
        ),
    ),
    ModuleRow(ControlType.MLSD, "MLSD", ("mlsd",), ("MLSD Value Threshold", "MLSD Distance Threshold")),
    ModuleRow(
        ControlType.LINEART,
        "Lineart",
        (
            "lineart_standard",
            "lineart_standard (from white bg & black line)",
            "lineart_realistic",
            "lineart",
            "lineart_coarse",
            "lineart_anime",
            "lineart_anime_denoise",
        ),
    ),
    ModuleRow(
        ControlType.SOFTEDGE,
        "SoftEdge",
        (
            "softedge_hed",
            "hed",
            "softedge_hedsafe",
            "softedge_pidinet",
            "softedge_pidisafe",
            "softedge_teed",
            "pidinet",
        ),
    ),
    ModuleRow(
        ControlType.SCRIBBLE,
        "Scribble",
        ("scribble_hed", "scribble_xdog", "scribble_pidinet", "fake_scribble"),
    ),
    ModuleRow(
        ControlType.SEGMENTATION,
        "Segmentation",
        ("seg_ofade20k", "seg_ofcoco", "seg_ufade20k", "segmentation"),
    ),
    ModuleRow(ControlType.SHUFFLE, "Shuffle", ("shuffle",)),
    ModuleRow(
        ControlType.TILE,
        "Tile",
        ("tile_resample", "tile_colorfix", "tile_colorfix+sharp"),
        ("Down Sampling Rate",),
    ),
    ModuleRow(ControlType.BLUR, "Blur", ("blur_gaussian",), ("Sigma",)),
    ModuleRow(
        ControlType.INPAINT,
        "Inpaint",
        ("inpaint_only", "inpaint_global_harmonious", "inpaint_only+lama", "inpaint"),
    ),
    ModuleRow(ControlType.GRAY, "Recolor", ("recolor_luminance", "recolor_intensity"), ("Gamma Correction",)),
    ModuleRow(ControlType.THRESHOLD, "Threshold", ("threshold",), ("Binarization Threshold",)),
    ModuleRow(ControlType.FACE, "Face", ("mediapipe_face",)),
)
"""In the order of lists."""

_BY_NAME: Final[Mapping[str, ModuleRow]] = {name: row for row in MODULES for name in row.names}
_BY_VARIANT: Final[Mapping[str, ControlType]] = {
    variant: row.type for row in reversed(MODULES) for variant in VARIANTS.get(row.type, (row.type.value,))
} | {row.type.value: row.type for row in MODULES}
_BY_LABEL: Final[Mapping[str, ControlType]] = {row.label.casefold(): row.type for row in MODULES}


def find_module(name: str) -> ModuleRow | None:
    """By any name that the extension has for it."""
    return _BY_NAME.get(name.strip().casefold())


def type_of(entry: CatalogEntry, union_type: str = "") -> ControlType | None:
    """Which maps a ControlNet follows; of several, those that the caller says. None: nobody knows."""
    if entry.variant == UNION:
        return _BY_LABEL.get(union_type.strip().casefold())
    return _BY_VARIANT.get(entry.variant)


def usable_modules(account: Account) -> list[ModuleRow]:
    """Those whose weights are installed, or that need none."""
    kinds = (Kind.PREPROCESSOR, Kind.FACE)
    rows = list_usable(account=account).filter(kind__in=kinds).values_list("kind", "variant")
    installed = set(rows)
    return [
        row
        for row in MODULES
        if all(
            any((kind, variant) in installed for variant in variants)
            for kind, variants in DETECTOR_ROLES.get(row.type, {}).values()
        )
    ]


def list_networks(account: Account) -> CatalogQuerySet:
    """The ControlNets that the account may use, by name."""
    return list_usable(account=account).filter(kind=Kind.CONTROLNET).order_by("name")


def title_of_network(entry: CatalogEntry) -> str:
    """As the extension's lists name it."""
    return f"{entry.name} [{entry.digest[:MODEL_HASH_CHARS]}]"


def listed_name(row: ModuleRow) -> str:
    """As lists name the module."""
    return row.names[0]
