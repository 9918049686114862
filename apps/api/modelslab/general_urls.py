"""Paths of what is no generation, below /api/, and of what the contract has and this server has not."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path, re_path

from apps.api.modelslab import general_views as views
from apps.api.modelslab import server_views as server
from apps.api.modelslab.endpoints import HOSTS

GENERAL: Final = {
    "check_nsfw_cp": views.PromptCheckView,
    "v3/check_nsfw_cp": views.PromptCheckView,
    "v6/base64_to_url": views.Base64ToUrlView,
    "v6/image_editing/base64_to_url": views.Base64ToUrlView,
    "v1/enterprise/image_editing/base64_to_url": views.Base64ToUrlView,
    "v1/image_editing/base64_to_url": views.Base64ToUrlView,
    "v3/base64_crop": views.Base64CropView,
    "v3/upload_image": views.UploadImageView,
    "v3/delete_image": views.DeleteImageView,
    "assets_generated": views.AssetsGeneratedView,
    "v6/assets_generated": views.AssetsGeneratedView,
    "v6/processing/request_count": views.RequestCountView,
    "wallet_balance": views.WalletView,
    "subscribed_products": views.SubscriptionsView,
}

SERVER: Final = {
    "restart_server": server.RestartView,
    "update_server": server.UpdateView,
    "update": server.UpdateView,
    "clear_queue": server.ClearQueueView,
    "update_s3": server.StorageView,
    "reset_s3": server.StorageView,
    "system_details": server.SystemDetailsView,
    "clear_cache": server.ClearCacheView,
    "upload_image": views.UploadImageView,
}
"""Below each of HOSTS."""

_TRAINING: Final = (
    r"v3/(?:lora_fine_tune|fine_tune|fine_tune_v2|finetune_list|fine_tune_status|cancel_training"
    r"|cancle_training|finetune/delete)(?:/[^/]+)?"
)
_WORD: Final = r"(?:/.*[^/])?"
NOT_OFFERED: Final = (
    (_TRAINING, "Training", " in this version"),
    (rf"(?:v[3-8]|v1/enterprise)/(?:[a-z_-]*video[a-z_-]*|movies){_WORD}", "Video", ""),
    (r"(?:v6/(?:faceswap|deepfake)|v1/enterprise/(?:faceswap|deepfake))/[a-z]+_video_swap", "Video", ""),
    (rf"(?:v[3-8]|v1/enterprise)/(?:3d|threed|text_to_3d|image_to_3d){_WORD}", "3D", ""),
    (
        rf"(?:v[3-8]|v1/enterprise)/(?:voice|voice_cloning|voice_cover|audio|tts|qwen_tts|music_gen){_WORD}",
        "Audio",
        "",
    ),
    (rf"(?:v6|v1/enterprise)/interior{_WORD}", "Interior design", "; image to image and inpainting are"),
    (rf"v1/enterprise/nano_banana{_WORD}", "Nano Banana", ""),
    (
        r"(?:v6|v1|v1/enterprise)/image_editing/(?:blip_diffusion|multiview|relighting)",
        "This way of editing",
        "; qwen_edit and img_mixer are where a model for them is installed",
    ),
    (
        r"v3/dreambooth/(?:buy_model|buy_subscription|cancel_subscription)",
        "Buying",
        ": your operator decides what the account may do",
    ),
)
"""Pattern, what it is, and what to do instead."""

urlpatterns: list[URLPattern] = [
    *(path(route, view.as_view()) for route, view in GENERAL.items()),
    *(path(f"{host}/{name}", view.as_view()) for host in HOSTS for name, view in SERVER.items()),
    *(
        re_path(f"^{pattern}$", views.NotOfferedView.as_view(what=what, advice=advice))
        for pattern, what, advice in NOT_OFFERED
    ),
]
