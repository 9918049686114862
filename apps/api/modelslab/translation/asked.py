"""One request on its way from the caller's fields to ours, and the endpoint it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, TypeAlias, TypedDict

from apps.accounts.models import Account
from apps.api.modelslab.fields.table import Refused, Table, Values
from apps.apikeys.models import ApiKey
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_checkpoint
from apps.core.errors import InvalidField
from apps.generation.request import GenerationRequest


class Shape(StrEnum):
    """How a success is told."""

    IMAGES = "images"
    """`output` is a list of links."""
    LINK = "link"
    """`output` is one link, as enterprise super resolution has it."""
    WORDS = "words"
    """`output` is a list with one text."""
    FINDINGS = "findings"
    """`has_nsfw_concept`, a list of flags."""


class ClientOptions(TypedDict):
    """What rendering the result needs to know of the request again; stored with the job."""

    family: str
    """Path between /api/ and /fetch/."""
    shape: str
    base64: bool
    temp: bool
    instant_response: bool
    threshold: float
    """Of FINDINGS: the score from which an image counts as unsuitable."""
    echo: dict[str, str]
    """Fields that `meta` repeats as they came: addresses of pictures, names of styles."""


ModelChoice: TypeAlias = "Callable[[Asked], str]"
"""The checkpoint of a request that names none."""


@dataclass(kw_only=True)
class Asked:
    """A request whose fields are read and whose pictures are stored."""

    account: Account
    key: ApiKey
    values: Values
    now: datetime
    choose_model: ModelChoice
    is_enterprise: bool = False
    echo: dict[str, str] = field(default_factory=dict)

    @cached_property
    def model(self) -> str:
        """Name of the checkpoint: the caller's, else the endpoint's choice. Raises ModelNotInstalled."""
        return self.values.get("checkpoint", "") or self.choose_model(self)

    @cached_property
    def checkpoint(self) -> CatalogEntry:
        """Raises CheckpointNotFound and EntryDisabled."""
        return access_checkpoint(account=self.account, name=self.model)


Translate: TypeAlias = "Callable[[Asked], GenerationRequest]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One thing that can be asked for, under one path or several."""

    summary: str
    """For the reference."""
    table: Table
    translate: Translate
    choose_model: ModelChoice
    refused: Mapping[str, Refused]
    family: str = "v6/images"
    """Path between /api/ and /fetch/."""
    shape: Shape = Shape.IMAGES
    is_enterprise: bool = False

    def __post_init__(self) -> None:
        ours = [field.ours for field in self.table]
        assert len(set(ours)) == len(ours), f"{self.summary}: a field is in the table twice"


OTHER_NAMES: Final[Mapping[str, str]] = {
    "checkpoint": "model_id",
    "image": "init_image",
    "references": "init_image",
    "mask": "mask_image",
    "mix": "model_id",
    "loras": "lora_model",
    "lora_scale": "lora_strength",
    "ip_adapters": "ip_adapter_id",
    "ip_adapter_pictures": "ip_adapter_image",
    "controls": "controlnet_model",
    "control_scale": "controlnet_conditioning_scale",
    "hires": "highres_fix",
    "hires_scale": "highres_fix",
    "hires_width": "highres_fix",
    "hires_height": "highres_fix",
    "hires_strength": "strength",
    "upscale_width": "scale",
    "upscale_height": "scale",
    "upscaler": "model_id",
    "expand": "width",
    "expand_left": "width",
    "expand_right": "width",
    "expand_top": "height",
    "expand_bottom": "height",
    "expand_overlap": "overlap_width",
    "true_guidance_scale": "true_cfg_scale",
    "face_swap": "target_image",
    "reference": "reference_image",
    "safety": "safety_checker",
    "faces": "face_enhance",
}
"""Fields of GenerationRequest to the dialect's, where no table has them by that name."""


def renamed(error: InvalidField, values: Values, table: Table) -> InvalidField:
    """The refusal with the name the caller used, or else the dialect's."""
    theirs = {row.ours: row.theirs for row in table}
    other = OTHER_NAMES.get(error.field, error.field)
    return error.renamed(values.names.get(error.field) or theirs.get(error.field, other))
