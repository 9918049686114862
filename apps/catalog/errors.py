"""Refusals of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.catalog.choices import Kind
from apps.core.errors import DomainError


class EntryNotFound(DomainError):
    """No such entry, deleted, of another kind, or somebody else's. Status and wording are ModelsLab's."""

    code = "model_not_found"
    http_status = 400
    message = "Model not found: {name}"


class CheckpointNotFound(EntryNotFound):
    """No such checkpoint for this account."""

    code = "checkpoint_not_found"


class LoraNotFound(EntryNotFound):
    """No such LoRA for this account."""

    code = "lora_not_found"
    message = "LoRA not found: {name}"


class EmbeddingNotFound(EntryNotFound):
    """No such textual inversion for this account."""

    code = "embedding_not_found"
    message = "Embedding not found: {name}"


class VaeNotFound(EntryNotFound):
    """No such autoencoder for this account."""

    code = "vae_not_found"
    message = "VAE not found: {name}"


NOT_FOUND: Final[Mapping[str, type[EntryNotFound]]] = {
    Kind.CHECKPOINT: CheckpointNotFound,
    Kind.LORA: LoraNotFound,
    Kind.EMBEDDING: EmbeddingNotFound,
    Kind.VAE: VaeNotFound,
}
"""By kind; EntryNotFound for all others."""


class EntryDisabled(DomainError):
    """The account could use the entry, but an operator has switched it off."""

    code = "model_disabled"
    http_status = 403
    message = "The model {name} is disabled on this server."


class FamilyMismatch(DomainError):
    """An adapter and a checkpoint that were made for different base models."""

    code = "family_mismatch"
    http_status = 400
    message = "{what} {name} is made for {family} and does not fit the model {checkpoint} ({other})."


class InvalidCursor(DomainError):
    """A page's cursor that was changed, or belongs to another search."""

    code = "invalid_cursor"
    http_status = 400
    message = "The cursor {problem}."


class PreviewUnusable(DomainError):
    """An uploaded preview that is no image we take."""

    code = "preview_unusable"
    http_status = 400
    message = "The preview {problem}."
