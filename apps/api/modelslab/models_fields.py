"""From the fields of ModelsLab's model endpoints to ours: listing, searching, loading. Names stop here.

One table an endpoint says everything that is read; IGNORED names what is accepted without effect, each with
its reason. Any other name belongs to some other endpoint and is ignored as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from apps.api.bodies import JsonObject
from apps.api.modelslab.fields.generation import MAX_NAME_CHARS
from apps.api.modelslab.fields.generation import MAX_URL_CHARS as MAX_WEBHOOK_CHARS
from apps.api.modelslab.fields.table import REQUIRED, Field, read_table
from apps.api.modelslab.readers import Flag, Names, Text, Track, Whole
from apps.api.modelslab.word_readers import OneOf
from apps.catalog.choices import Kind
from apps.catalog.search import CatalogFilters, Order

T = TypeVar("T")

MAX_TEXT_CHARS: Final = 200
MAX_URL_CHARS: Final = 2000
MAX_TAGS: Final = 20
DEFAULT_PER_PAGE: Final = 20
DEFAULT_LIST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """What a word for a sort of models means here."""

    kind: Kind
    families: tuple[str, ...] = ()
    """Any of these; empty: all."""


CATEGORIES: Final[Mapping[str, Category]] = {
    "stable_diffusion": Category(kind=Kind.CHECKPOINT, families=("sd15", "sd2")),
    "stable_diffusion_xl": Category(kind=Kind.CHECKPOINT, families=("sdxl",)),
    "stable_diffusion_3": Category(kind=Kind.CHECKPOINT, families=("sd3",)),
    "flux": Category(kind=Kind.CHECKPOINT, families=("flux",)),
    "z_image": Category(kind=Kind.CHECKPOINT, families=("z-image",)),
    "checkpoint": Category(kind=Kind.CHECKPOINT),
    "lora": Category(kind=Kind.LORA),
    "flux_lora": Category(kind=Kind.LORA, families=("flux",)),
    "controlnet": Category(kind=Kind.CONTROLNET),
    "embeddings": Category(kind=Kind.EMBEDDING),
    "embedding": Category(kind=Kind.EMBEDDING),
    "vae": Category(kind=Kind.VAE),
    "text_encoder": Category(kind=Kind.TEXT_ENCODER),
    "ip_adapter": Category(kind=Kind.IP_ADAPTER),
    "upscaler": Category(kind=Kind.UPSCALER),
    "background_removal": Category(kind=Kind.BACKGROUND_REMOVAL),
    "face": Category(kind=Kind.FACE),
    "preprocessor": Category(kind=Kind.PREPROCESSOR),
    "safety": Category(kind=Kind.SAFETY),
}
"""The contract's words and our own; of several words for one thing, the first is the one we say."""

FEATURES: Final[Mapping[str, object]] = {
    "imagen": True,
    "video_fusion": False,
    "audio_gen": False,
    "llmaster": False,
    "threed": False,
    "interior": False,
    "deepfake": False,
}
"""The contract's features, and whether models of this appliance have it."""

BASE_MODELS: Final[Mapping[str, str]] = {
    "sd 1.5": "sd15",
    "sd1.5": "sd15",
    "sd-1.5": "sd15",
    "stable_diffusion": "sd15",
    "sd 2.1": "sd2",
    "sdxl 1.0": "sdxl",
    "stable_diffusion_xl": "sdxl",
    "sd 3.5": "sd3",
    "sd3.5": "sd3",
    "flux.1": "flux",
    "flux.1 d": "flux",
    "flux.1 s": "flux",
    "flux.2": "flux2",
    "flux.2 d": "flux2",
    "z_image": "z-image",
    "z-image-turbo": "z-image",
    "qwen": "qwen-image",
    "qwen_image": "qwen-image",
}
"""Other spellings of base models; a family's own name is always understood."""

SORTS: Final[Mapping[str, object]] = {
    "recommended": Order.MOST_USED,
    "most-used": Order.MOST_USED,
    "latest": Order.LATEST,
    "asc": Order.NAME,
    "sort-asc": Order.NAME,
    "desc": Order.NAME_DESCENDING,
    "sort-desc": Order.NAME_DESCENDING,
}

_FILTERS: Final = (
    Field("search", "text", Text(max_chars=MAX_TEXT_CHARS), "everything", "v6", alias="q"),
    Field("feature", "has_feature", OneOf(FEATURES), "any", "v6"),
    Field("model_subcategory", "subcategory", OneOf(CATEGORIES), "any", "v6"),
    Field("base_model", "base_model", Text(max_chars=MAX_NAME_CHARS), "any", "v6"),
    Field("provider", "provider", Text(max_chars=MAX_NAME_CHARS), "any", "v6"),
    Field("sort", "order", OneOf(SORTS), "recommended; by relevance with search", "v6"),
    Field("tags", "tags", Names(max_names=MAX_TAGS, max_chars=60), "any", "v6", alias="tags[]"),
    Field("page", "page", Whole(lowest=1, highest=1_000_000), "1", "v6"),
)

SEARCH_FIELDS: Final = (
    *_FILTERS,
    Field("model_type", "category", OneOf(CATEGORIES), "any", "v6", alias="model_category"),
    Field(
        "per_page",
        "per_page",
        Whole(lowest=1, highest=100),
        str(DEFAULT_PER_PAGE),
        "v6",
        alias="limit",
    ),
)
"""GET model-search and agents/v1/models."""

LIST_FIELDS: Final = (
    *_FILTERS,
    Field("model_type", "category", OneOf(CATEGORIES), "checkpoint", "v3", alias="model_category"),
    Field("limit", "per_page", Whole(lowest=1, highest=1000), str(DEFAULT_LIST), "v3", alias="per_page"),
)
"""POST model_list."""

_NAME = Text(max_chars=MAX_NAME_CHARS)
_URL = Text(max_chars=MAX_URL_CHARS)
PRECISIONS: Final[Mapping[str, object]] = {"fp16": "float16", "bf16": "bfloat16", "fp32": "keep"}
FORMATS: Final[Mapping[str, object]] = {
    word: word for word in ("diffusers", "safetensors", "ckpt", "pt", "bin")
}
VISIBILITIES: Final[Mapping[str, object]] = {"public": False, "private": True}

MODEL_TYPES: Final[Mapping[str, object]] = {
    "huggingface": Category(kind=Kind.CHECKPOINT),
    "custom_ckpt": Category(kind=Kind.CHECKPOINT),
    "lora": CATEGORIES["lora"],
    "controlnet": CATEGORIES["controlnet"],
}
"""Of the first load_model; `api_trained` waits for training."""

_REVISION = Field("revision", "precision", OneOf(PRECISIONS), "as in the file", "v1")
_MODEL_ID = Field("model_id", "name", _NAME, REQUIRED, "v1")
_SOURCE = Field("url", "address", _URL, REQUIRED, "v1")
_MODEL_NAME = Field("model_name", "title", _NAME, "the model_id", "v1")
_TOLD = (
    Field("webhook", "webhook", Text(max_chars=MAX_WEBHOOK_CHARS), "none", "v1", alias="webhook_url"),
    Field("track_id", "track_id", Track(), "none", "v1"),
)
"""Who is told when it is there, or will never be."""

LOAD_COMMUNITY: Final = (
    _SOURCE,
    _MODEL_ID,
    Field("model_format", "format", OneOf(FORMATS), "seen from the file", "v3"),
    Field("model_category", "category", OneOf(CATEGORIES), "seen from the file", "v3"),
    Field("model_subcategory", "subcategory", OneOf(CATEGORIES), "none", "v3"),
    Field("model_visibility", "is_private", OneOf(VISIBILITIES), "public", "v3"),
    _MODEL_NAME,
    Field("force_load", "force", Flag(), "no", "v3"),
    _REVISION,
    *_TOLD,
)
"""POST /api/v3/load_model."""

LOAD_FIRST: Final = (
    _SOURCE,
    _MODEL_ID,
    Field("model_type", "category", OneOf(MODEL_TYPES), "seen from the file", "v1"),
    _MODEL_NAME,
    _REVISION,
    *_TOLD,
)
"""POST enterprise/load_model."""

LOAD_SECOND: Final = (
    _SOURCE,
    _MODEL_ID,
    Field("model_category", "category", OneOf(CATEGORIES), "seen from the file", "v1"),
    Field("model_format", "format", OneOf(FORMATS), "seen from the file", "v1"),
    _MODEL_NAME,
    _REVISION,
    *_TOLD,
)
"""POST enterprise/load_model_v2."""

LOAD_LORA: Final = (
    Field("url", "address", _URL, REQUIRED, "v1", alias="lora_url"),
    Field("model_id", "name", _NAME, REQUIRED, "v1", alias="lora_id"),
    Field("model_format", "format", OneOf(FORMATS), "seen from the file", "v1", alias="lora_type"),
    _MODEL_NAME,
    _REVISION,
    *_TOLD,
)
"""POST enterprise/load_lora, which no page documents: load_vae's names in the same pattern."""

LOAD_VAE: Final = (
    Field("vae_url", "address", _URL, REQUIRED, "v1", alias="url"),
    Field("vae_id", "name", _NAME, REQUIRED, "v1", alias="model_id"),
    Field("vae_type", "format", OneOf(FORMATS), "seen from the file", "v1"),
    _REVISION,
    *_TOLD,
)
"""POST enterprise/load_vae."""

ONE_MODEL: Final = (Field("model_id", "name", _NAME, REQUIRED, "v1"),)
"""POST verify_model, delete_model, model_reload."""

SYNC: Final = (Field("sync_key", "sync_key", _NAME, REQUIRED, "v1"),)

TABLES: Final = (
    SEARCH_FIELDS,
    LIST_FIELDS,
    LOAD_COMMUNITY,
    LOAD_FIRST,
    LOAD_SECOND,
    LOAD_LORA,
    LOAD_VAE,
    ONE_MODEL,
    SYNC,
)

IGNORED: Final = {
    "key": "the credential, read before anything else",
    "from_safetensors": "the format is seen from the file",
    "upcast_attention": "the runtime decides precision by family",
    "hf_upload": "nothing leaves this appliance",
    "model_image": "previews are uploaded with POST /v1/models/{name}/previews",
    "instance_prompt": "trigger words are read from the file and edited in the console",
    "deploy_type": "one server does everything",
}


def read_values(table: tuple[Field, ...], fields: JsonObject) -> dict[str, object]:
    """Values by our names. Raises InvalidField, with the caller's own name, for the first that is wrong."""
    return read_table(table, fields).by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """What a list is asked for."""

    filters: CatalogFilters
    order: Order
    page: int
    per_page: int
    is_possible: bool
    """Whether anything can match: a feature that no model here has matches nothing."""


def read_list(
    table: tuple[Field, ...], fields: JsonObject, *, per_page: int, kinds: tuple[str, ...] = ()
) -> ListRequest:
    """A page of a search or list; `kinds` are listed when the caller names none. Raises InvalidField."""
    values = read_values(table, fields)
    wanted = [values[name] for name in ("category", "subcategory") if name in values]
    categories = cast("list[Category]", wanted)
    chosen_kinds = {category.kind for category in categories}
    families = [set(category.families) for category in categories if category.families]
    if "base_model" in values:
        word = str(values["base_model"]).strip().lower()
        families.append({BASE_MODELS.get(word, word)})
    common = set.intersection(*families) if families else set()
    text = get(values, "text", "")
    return ListRequest(
        filters=CatalogFilters(
            text=text,
            kinds=tuple(sorted(chosen_kinds)) or kinds,
            families=tuple(sorted(common)),
            tags=get(values, "tags", ()),
            provider=get(values, "provider", "").strip().lower(),
        ),
        order=get(values, "order", Order.RELEVANCE if text.strip() else Order.MOST_USED),
        page=get(values, "page", 1),
        per_page=get(values, "per_page", per_page),
        # Two different kinds, or two base models, at once: nothing is both.
        is_possible=get(values, "has_feature", True)
        and len(chosen_kinds) < 2
        and (not families or bool(common)),
    )


def get(values: Mapping[str, object], name: str, default: T) -> T:
    """The value under `name`, of the type that its reader makes."""
    return cast(T, values.get(name, default))
