"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class Kind(models.TextChoices):
    """What an entry is; the same words as `gpu_runtime.weights.taxonomy.ModelKind`, which a test compares."""

    CHECKPOINT = "checkpoint", "Checkpoint"
    LORA = "lora", "LoRA"
    CONTROLNET = "controlnet", "ControlNet"
    VAE = "vae", "VAE"
    EMBEDDING = "embedding", "Embedding"
    TEXT_ENCODER = "text_encoder", "Text encoder"
    IP_ADAPTER = "ip_adapter", "IP-adapter"
    UPSCALER = "upscaler", "Upscaler"
    BACKGROUND_REMOVAL = "background_removal", "Background removal"
    FACE = "face", "Face"
    PREPROCESSOR = "preprocessor", "Preprocessor"
    SAFETY = "safety", "Safety"


class Visibility(models.TextChoices):
    """Who may use an entry."""

    PUBLIC = "public"
    """Every account of this appliance."""
    ACCOUNTS = "accounts"
    """The owner, if there is one, and the accounts that are named."""
    PRIVATE = "private"
    """Its owner alone."""


class ResidencyPolicy(models.TextChoices):
    """How workers keep the weights of a checkpoint."""

    ON_DEMAND = "on_demand", "On demand"
    """Loaded at the first request, evicted when room is needed."""
    WARM = "warm", "Warm"
    """Loaded when a worker starts; may be evicted, and comes back when the worker is idle."""
    PINNED = "pinned", "Pinned"
    """Loaded when a worker starts and never evicted."""


class ImportSource(models.TextChoices):
    """Where an import comes from."""

    HUB = "hub", "Hub repository"
    URL = "url", "Direct URL"
    UPLOAD = "upload", "Upload"
    FOLDER = "folder", "Folder on the server"


class ImportState(models.TextChoices):
    """queued -> running -> succeeded | failed | canceled; a retry makes it queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


OPEN_IMPORT_STATES = (ImportState.QUEUED, ImportState.RUNNING)
TERMINAL_IMPORT_STATES = (ImportState.SUCCEEDED, ImportState.FAILED, ImportState.CANCELED)


class ImportPhase(models.TextChoices):
    """What a running import does, in this order."""

    LISTING = "listing", "Looking up files"
    DOWNLOADING = "downloading", "Downloading"
    VERIFYING = "verifying", "Verifying"
    CONVERTING = "converting", "Converting"
    REGISTERING = "registering", "Registering"
