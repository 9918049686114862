"""Paths of the AUTOMATIC1111 dialect: /sdapi/v1/, /internal/ and /controlnet/."""

from __future__ import annotations

from typing import Final

from django.urls import path, re_path

from apps.api.a1111 import controlnet_views, extras_views, lists, lists_views, progress_views, views

V1: Final = "sdapi/v1/"

LISTS: Final = {
    "sd-models": lists.checkpoints,
    "sd-vae": lists.vaes,
    "samplers": lists.samplers,
    "schedulers": lists.schedulers,
    "upscalers": lists.upscalers,
    "latent-upscale-modes": lists.latent_modes,
    "loras": lists.loras,
    "embeddings": lists.embeddings,
    "hypernetworks": lists.nothing,
    "prompt-styles": lists.nothing,
    "face-restorers": lists.face_restorers,
    "realesrgan-models": lists.realesrgan_models,
    "scripts": lists.scripts,
    "script-info": lists.script_info,
    "extensions": lists.extensions,
    "cmd-flags": lists.cmd_flags,
    "memory": lists.memory,
}
REFRESHED: Final = ("refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings")
MOVED: Final = ("unload-checkpoint", "reload-checkpoint")

urlpatterns = [
    path(f"{V1}txt2img", views.GenerationView.as_view()),
    path(f"{V1}img2img", views.Img2ImgView.as_view()),
    path(f"{V1}extra-single-image", extras_views.ExtrasView.as_view()),
    path(f"{V1}extra-batch-images", extras_views.ExtrasBatchView.as_view()),
    path(f"{V1}png-info", extras_views.PngInfoView.as_view()),
    path(f"{V1}interrogate", extras_views.InterrogateView.as_view()),
    path(f"{V1}progress", progress_views.ProgressView.as_view()),
    path(f"{V1}interrupt", progress_views.InterruptView.as_view()),
    path(f"{V1}skip", progress_views.SkipView.as_view()),
    path(f"{V1}options", lists_views.OptionsView.as_view()),
    *(path(f"{V1}{name}", lists_views.ListView.as_view(made_by=made_by)) for name, made_by in LISTS.items()),
    *(path(f"{V1}{name}", lists_views.NothingToDoView.as_view()) for name in REFRESHED),
    *(path(f"{V1}{name}", lists_views.NothingToDoView.as_view(result={})) for name in MOVED),
    path("internal/progress", progress_views.TaskProgressView.as_view()),
    path("internal/pending-tasks", progress_views.PendingTasksView.as_view()),
    path("internal/ping", progress_views.PingView.as_view()),
    path("controlnet/version", controlnet_views.VersionView.as_view()),
    path("controlnet/settings", controlnet_views.SettingsView.as_view()),
    path("controlnet/model_list", controlnet_views.ModelListView.as_view()),
    path("controlnet/module_list", controlnet_views.ModuleListView.as_view()),
    path("controlnet/control_types", controlnet_views.ControlTypesView.as_view()),
    path("controlnet/detect", controlnet_views.DetectView.as_view()),
    re_path(r"^(sdapi|internal|controlnet)/", views.UnknownPathView.as_view()),
]
