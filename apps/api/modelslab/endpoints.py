"""Path -> endpoint, for everything that can be asked to be made. Paths and reference come from here.

Paths are relative to /api/. An endpoint's `family` is where its `fetch_result` points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from apps.api.modelslab.fields import generation, upscale
from apps.api.modelslab.fields.table import Table
from apps.api.modelslab.offers import (
    CAPTION,
    CONTROLNET,
    FACE_GEN,
    FASHION,
    FLUX_HEAD_SHOT,
    HEAD_SHOT,
    IMAGE_MIXER,
    IMAGE_TO_IMAGE,
    INPAINT,
    INPAINT_PLAIN,
    KONTEXT,
    MAGIC_MIX,
    MASK_CREATOR,
    NSFW_CHECK,
    OBJECT_REMOVAL,
    OUTPAINT,
    QWEN_EDIT,
    REALTIME_IMAGE,
    REALTIME_INPAINT,
    REALTIME_TEXT,
    REMOVE_BACKGROUND,
    SIZED_IMAGE_TO_IMAGE,
    SUPER_RESOLUTION,
    SWAP_ALL,
    SWAP_ONE,
    TEXT_TO_IMAGE,
)
from apps.api.modelslab.translation import choosing, upscaling
from apps.api.modelslab.translation.asked import Endpoint, ModelChoice, Shape

Endpoints = Mapping[str, Endpoint]


_IMAGES: Final[Endpoints] = {
    "text2img": TEXT_TO_IMAGE,
    "img2img": IMAGE_TO_IMAGE,
    "inpaint": INPAINT,
    "controlnet": CONTROLNET,
    # Two official SDKs build this path by mistake.
    "text2img/text2img": TEXT_TO_IMAGE,
}
_V7: Final[Endpoints] = {
    "text-to-image": TEXT_TO_IMAGE,
    "image-to-image": SIZED_IMAGE_TO_IMAGE,
    "inpaint": INPAINT,
    "controlnet": CONTROLNET,
}
_REALTIME: Final[Endpoints] = {
    "text2img": REALTIME_TEXT,
    "img2img": REALTIME_IMAGE,
    "inpaint": REALTIME_INPAINT,
}
_IMAGE_EDITING: Final[Endpoints] = {
    "removebg_mask": REMOVE_BACKGROUND,
    "removebg": REMOVE_BACKGROUND,
    "super_resolution": SUPER_RESOLUTION,
    "outpaint": OUTPAINT,
    "outpainting": OUTPAINT,
    "inpaint": INPAINT_PLAIN,
    "inpainting": INPAINT_PLAIN,
    "object_removal": OBJECT_REMOVAL,
    "object_remover": OBJECT_REMOVAL,
    "mask_creator": MASK_CREATOR,
    "create_mask": MASK_CREATOR,
    "caption": CAPTION,
    "face_gen": FACE_GEN,
    "facegen": FACE_GEN,
    "head_shot": HEAD_SHOT,
    "headshot": HEAD_SHOT,
    "flux_headshot": FLUX_HEAD_SHOT,
    "fashion": FASHION,
    "qwen_edit": QWEN_EDIT,
    "img_mixer": IMAGE_MIXER,
    "magic_mix": MAGIC_MIX,
    "flux_kontext_img2img": KONTEXT,
}
_FACESWAP: Final[Endpoints] = {
    "single_face_swap": SWAP_ONE,
    "specific_face_swap": SWAP_ONE,
    "multiple_face_swap": SWAP_ALL,
}


def _under(prefix: str, endpoints: Endpoints, *, family: str = "") -> dict[str, Endpoint]:
    """The endpoints below a prefix, which is their family unless another is named."""
    return {
        f"{prefix}/{name}": replace(endpoint, family=family or prefix) for name, endpoint in endpoints.items()
    }


def _enterprise(name: str, endpoints: Endpoints, *, family: str = "") -> dict[str, Endpoint]:
    """The same below v1/enterprise, where some defaults are others."""
    prefix = f"v1/enterprise/{name}" if name else "v1/enterprise"
    own = {path: replace(endpoint, is_enterprise=True) for path, endpoint in endpoints.items()}
    return _under(prefix, own, family=family)


def _of_model(choose: ModelChoice, more: Table = ()) -> Endpoints:
    """Endpoints of a server for one model: `model_id` may be left out; `more` fields are its own."""
    by_model = {"text2img": TEXT_TO_IMAGE, "img2img": SIZED_IMAGE_TO_IMAGE, "inpaint": INPAINT}
    return {
        name: replace(
            endpoint,
            table=tuple(
                generation.optional(field, "the server's own") if field.ours == "checkpoint" else field
                for field in (*endpoint.table, *more)
            ),
            choose_model=choose,
        )
        for name, endpoint in by_model.items()
    }


_MODEL_SERVERS: Final[Mapping[str, ModelChoice]] = {
    "flux": choosing.flux_model,
    "flux_klein": choosing.named_model("flux-klein", "flux2"),
    "z_image_turbo": choosing.named_model("z-image-turbo", "z-image"),
    "qwen": choosing.named_model("qwen", "qwen-image"),
    "flux_kontext_dev": choosing.kontext_model,
    "pony": choosing.named_model("pony-realism"),
}

_FIELDS_OF_SERVERS: Final[Mapping[str, Table]] = {"flux": (generation.DEPLOYMENT,)}

_ENTERPRISE_IMAGES: Final[Endpoints] = {
    **_IMAGES,
    "super_resolution": replace(SUPER_RESOLUTION, shape=Shape.LINK),
    "nsfw_image_check": NSFW_CHECK,
}
_MAKE: Final[Endpoints] = {
    "make": replace(SUPER_RESOLUTION, table=upscale.MAKE, translate=upscaling.upscaling(2), shape=Shape.LINK)
}

ENDPOINTS: Final[Endpoints] = {
    **_under("v6/images", _IMAGES),
    **_under("v7/images", _V7),
    "v5/controlnet": CONTROLNET,
    **_under("v6/realtime", _REALTIME),
    **_under("v6/image_editing", _IMAGE_EDITING),
    **_under("v6/faceswap", _FACESWAP),
    **_under("v6/deepfake", _FACESWAP),
    # What came before v6.
    **_under("v3", _REALTIME),
    "v3/super_resolution": SUPER_RESOLUTION,
    "v3/nsfw_image_check": NSFW_CHECK,
    **{
        path: replace(endpoint, family=f"{version}/dreambooth")
        for version in ("v3", "v4")
        for path, endpoint in (
            (f"{version}/dreambooth", TEXT_TO_IMAGE),
            (f"{version}/dreambooth/text2img", TEXT_TO_IMAGE),
            (f"{version}/dreambooth/img2img", IMAGE_TO_IMAGE),
            (f"{version}/dreambooth/inpaint", INPAINT),
        )
    },
    # Enterprise, with the names that its SDKs have had for it.
    **_enterprise("", _ENTERPRISE_IMAGES),
    **_enterprise("images", _ENTERPRISE_IMAGES),
    **_enterprise("txt2img", _ENTERPRISE_IMAGES),
    **_enterprise("community", {"text2img": TEXT_TO_IMAGE}, family="v1/enterprise"),
    **_enterprise("realtime", _REALTIME),
    **_enterprise("image_editing", _IMAGE_EDITING),
    **_under("v1/image_editing", _IMAGE_EDITING, family="v1/enterprise/image_editing"),
    **_enterprise("super_resolution", _MAKE),
    **_enterprise("super-resolution", _MAKE),
    **_enterprise("faceswap", _FACESWAP),
    **_enterprise("deepfake", _FACESWAP),
    **_enterprise("face_gen", {"make_gen": FACE_GEN}),
    **_enterprise("flux_headshot", {"make_gen": FLUX_HEAD_SHOT}),
    **{
        path: endpoint
        for name, choose in _MODEL_SERVERS.items()
        for path, endpoint in _enterprise(name, _of_model(choose, _FIELDS_OF_SERVERS.get(name, ()))).items()
    },
}

FAMILIES: Final = tuple(sorted({endpoint.family for endpoint in ENDPOINTS.values()}))
"""Every prefix below which results are fetched."""

SERVERS: Final = tuple(
    sorted(
        family.removeprefix("v1/enterprise/") for family in FAMILIES if family.startswith("v1/enterprise/")
    )
)
"""Enterprise families that the contract manages one by one; here one server does everything."""

HOSTS: Final = ("v1/enterprise", "v1/image_editing", *(f"v1/enterprise/{name}" for name in SERVERS))
"""What management endpoints lie below: SDKs of every age have put them somewhere else."""
