"""Every field that the contract names is read, refused with advice, or ignored with a reason."""

from __future__ import annotations

import pytest

from apps.api.modelslab import models_fields
from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields import general
from apps.api.modelslab.fields.generation import IGNORED
from apps.api.modelslab.fields.table import Table

SHARED = (
    "key model_id prompt negative_prompt width height samples num_inference_steps guidance_scale seed"
    " scheduler use_karras_sigmas algorithm_type vae lora_model lora_strength embeddings_model clip_skip"
    " ip_adapter_id ip_adapter_scale ip_adapter_image enhance_prompt enhance_style safety_checker"
    " safety_checker_type upscale highres_fix tomesd multi_lingual panorama self_attention"
    " instant_response base64 temp webhook track_id watermark loadbalancer"
)
FLUX = "injected_noise_alpha sigma_threshold true_cfg_scale use_cfg_zero_star use_zero_init zero_steps"
ANSWER = "key webhook track_id"
FACE = (
    f"{ANSWER} prompt face_image negative_prompt width height num_inference_steps guidance_scale s_scale"
    " samples style safety_checker safety_checker_type base64 seed"
)
SWAP = f"{ANSWER} init_image target_image watermark base64"
DOCUMENTED = {
    "v6/images/text2img": f"{SHARED} {FLUX}",
    "v6/images/img2img": f"{SHARED} init_image init_image_2 strength guidance",
    "v6/images/inpaint": f"{SHARED} init_image mask_image strength steps",
    "v5/controlnet": f"{SHARED} controlnet_model controlnet_type auto_hint guess_mode init_image"
    " control_image mask_image controlnet_conditioning_scale strength",
    "v6/realtime/text2img": f"{ANSWER} prompt negative_prompt width height samples safety_checker seed"
    " instant_response base64 enhance_prompt enhance_style num_inference_steps guidance_scale"
    " self_attention vae",
    "v6/realtime/img2img": f"{ANSWER} prompt init_image strength width height samples",
    "v6/realtime/inpaint": f"{ANSWER} prompt init_image mask_image strength width height samples",
    "v7/images/text-to-image": "key model_id prompt negative_prompt width height samples"
    " num_inference_steps guidance_scale seed scheduler aspect_ratio size webhook track_id base64 temp",
    "v7/images/image-to-image": "key model_id prompt init_image init_image_2 strength aspect_ratio scheduler",
    "v7/images/inpaint": "key model_id prompt init_image mask_image strength",
    "v6/image_editing/removebg_mask": f"{ANSWER} image alpha_matting post_process_mask only_mask"
    " inverse_mask seed base64 alpha_matting_foreground_threshold alpha_matting_background_threshold"
    " alpha_matting_erode_size",
    "v6/image_editing/super_resolution": f"{ANSWER} init_image url image model_id scale face_enhance",
    "v6/image_editing/outpaint": f"{ANSWER} image prompt negative_prompt width height overlap_width"
    " num_inference_steps guidance_scale seed temp base64",
    "v6/image_editing/inpaint": f"{ANSWER} prompt init_image mask_image negative_prompt width height"
    " samples num_inference_steps guidance_scale strength safety_checker instant_response base64 seed",
    "v6/image_editing/object_removal": f"{ANSWER} init_image mask_image object_name",
    "v6/image_editing/mask_creator": f"{ANSWER} specific_object init_image base64",
    "v6/image_editing/caption": f"{ANSWER} init_image length base64",
    "v6/image_editing/face_gen": FACE,
    "v6/image_editing/head_shot": FACE,
    "v6/image_editing/flux_headshot": FACE,
    "v6/image_editing/fashion": f"{ANSWER} init_image cloth_image cloth_type prompt negative_prompt"
    " num_inference_steps guidance_scale temp seed",
    "v6/image_editing/qwen_edit": f"{ANSWER} prompt init_image model_id safety_checker base64 width"
    " height seed temp init_image_1 init_image_2 init_image_3 init_image_4",
    "v6/image_editing/img_mixer": f"{ANSWER} prompt init_image negative_prompt width height steps"
    " guidance_scale seed samples init_image_weights",
    "v6/faceswap/single_face_swap": f"{SWAP} reference_image",
    "v6/faceswap/multiple_face_swap": SWAP,
    "v1/enterprise/faceswap/multiple_face_swap": f"{SWAP} watermark_image",
    "v3/nsfw_image_check": "key init_image threshold",
    "v3/super_resolution": "key url init_image scale webhook face_enhance model_id",
    "v1/enterprise/super_resolution/make": "key init_image scale face_enhance",
    "v1/enterprise/flux/text2img": "key prompt width height samples safety_checker instant_response"
    " base64 strength deploy_type",
    "v1/enterprise/z_image_turbo/text2img": "key prompt samples lora_model lora_strength",
}
"""Path -> names, from sections 5 and 7 to 12 of the contract."""
OF_MODELS: dict[str, tuple[Table, str]] = {
    "model_list": (models_fields.LIST_FIELDS, "key limit page"),
    "model-search": (
        models_fields.SEARCH_FIELDS,
        "key search feature model_type model_subcategory base_model provider sort tags page per_page",
    ),
    "v3/load_model": (
        models_fields.LOAD_COMMUNITY,
        (
            "key url model_id model_format model_category model_subcategory model_visibility model_name"
            " force_load"
            " revision model_image hf_upload"
        ),
    ),
    "enterprise/load_model": (
        models_fields.LOAD_FIRST,
        "key url model_id model_type from_safetensors revision upcast_attention webhook",
    ),
    "enterprise/load_model_v2": (
        models_fields.LOAD_SECOND,
        "key url model_id model_category model_format revision webhook",
    ),
    "enterprise/load_vae": (models_fields.LOAD_VAE, "key vae_id vae_url vae_type webhook"),
    "enterprise/sync_models": (models_fields.SYNC, "key sync_key"),
    "base64_to_url": (general.UPLOAD_BASE64, "key base64_string init_image"),
    "base64_crop": (general.UPLOAD_CROPPED, "key image crop"),
    "upload_image": (general.UPLOAD_IMAGE, "key base64_image image_type"),
    "delete_image": (general.DELETE_IMAGE, "key request_id type"),
    "assets_generated": (general.ASSETS_GENERATED, "key type per_page page"),
    "check_nsfw_cp": (general.PROMPT_CHECK, "key prompt"),
}


@pytest.mark.parametrize("path", DOCUMENTED)
def test_fields_of_what_makes_something(path: str) -> None:
    endpoint = ENDPOINTS[path]
    known = names_of(endpoint.table) | set(endpoint.refused) | set(IGNORED)

    assert set(DOCUMENTED[path].split()) - known == set()


@pytest.mark.parametrize("path", OF_MODELS)
def test_fields_of_the_rest(path: str) -> None:
    table, names = OF_MODELS[path]
    known = names_of(table) | set(models_fields.IGNORED)

    assert set(names.split()) - known == set()


def test_what_is_ignored_has_a_reason() -> None:
    for ignored in (IGNORED, models_fields.IGNORED, general.IGNORED):
        assert all(len(reason) > 8 for reason in ignored.values())


def names_of(table: Table) -> set[str]:
    return {name for field in table for name in field.names}
