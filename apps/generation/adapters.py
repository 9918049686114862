"""LoRAs, embeddings and autoencoders of a request: chosen at submit, handed to the runtime at claim."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from apps.accounts.models import Account
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_entry, require_compatible
from apps.core.errors import InvalidField
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.resolved import ResolvedRequest, UsedHires
from apps.generation.used import UsedAdapters, UsedEntry, UsedLora
from apps.generation.wishes import HiresWish
from gpu_runtime.messages import EmbeddingRef, LoraRef, VaeRef
from gpu_runtime.weights.family_facts import STEP_BATCHED

# The one file of an adapter's folder in the store.
WEIGHTS_FILE = "weights.safetensors"


def choose_adapters(
    *, account: Account, request: GenerationRequest, checkpoint: CatalogEntry
) -> UsedAdapters:
    """The entries behind the names of a request.

    Raises EntryNotFound for what the account may not use or what is not there, FamilyMismatch for what was
    made for another family than the checkpoint's, and InvalidField for a family that takes no adapters.
    """

    _require_combinable(request, checkpoint)

    def fitting(name: str, kind: Kind) -> CatalogEntry:
        entry = access_entry(account=account, name=name, kind=kind)
        require_compatible(entry=entry, checkpoint=checkpoint)
        return entry

    loras = [fitting(wish.name, Kind.LORA) for wish in request.loras]
    embeddings = [fitting(name, Kind.EMBEDDING) for name in request.embeddings]
    _require_once("loras", [lora.digest for lora in loras], "must name each LoRA once, by name or by alias")
    prompts = _prompts_of(request, request.hires)
    tokens = [_token(embedding, prompts) for embedding in embeddings]
    _require_once("embeddings", tokens, "must go by different words in the prompts")
    return UsedAdapters(
        loras=tuple(
            UsedLora(entry_id=lora.pk, name=lora.name, scale=wish.scale)
            for lora, wish in zip(loras, request.loras, strict=True)
        ),
        embeddings=tuple(_used(embedding) for embedding in embeddings),
        vae=_used(fitting(request.vae, Kind.VAE)) if request.vae else None,
    )


def _require_once(field: str, values: list[str], problem: str) -> None:
    """The runtime takes each set of weights, and each word, once."""
    if len(set(values)) < len(values):
        raise InvalidField(field=field, problem=problem)


def _require_combinable(request: GenerationRequest, checkpoint: CatalogEntry) -> None:
    if checkpoint.family in STEP_BATCHED:
        return
    for field in ("loras", "embeddings", "vae"):
        if getattr(request, field):
            raise InvalidField(
                field=field,
                problem=f"cannot be combined with the model {checkpoint.name} ({checkpoint.family})",
            )


def _used(entry: CatalogEntry) -> UsedEntry:
    return UsedEntry(entry_id=entry.pk, name=entry.name)


def entries_of(jobs: Iterable[GenerationJob]) -> Mapping[int, CatalogEntry]:
    """Every entry that these jobs use, by primary key; one query, none without any."""
    wanted: set[int] = set()
    for job in jobs:
        own = {job.checkpoint_id} if job.checkpoint_id is not None else set()
        wanted |= own | job.resolved.entry_ids
    return CatalogEntry.objects.in_bulk(wanted) if wanted else {}


def lora_refs(adapters: UsedAdapters, entries: Mapping[int, CatalogEntry]) -> tuple[LoraRef, ...]:
    """The LoRAs as the runtime takes them."""
    refs = []
    for used in adapters.loras:
        entry = entries[used.entry_id]
        path = str(Path(entry.path) / WEIGHTS_FILE)
        refs.append(LoraRef(name=entry.name, path=path, digest=entry.digest, scale=used.scale))
    return tuple(refs)


def embedding_refs(
    resolved: ResolvedRequest, entries: Mapping[int, CatalogEntry]
) -> tuple[EmbeddingRef, ...]:
    """The textual inversions, each under the word by which the prompts call it."""
    prompts = _prompts_of(resolved, resolved.hires)
    refs = []
    for used in resolved.adapters.embeddings:
        entry = entries[used.entry_id]
        path = str(Path(entry.path) / WEIGHTS_FILE)
        refs.append(
            EmbeddingRef(name=entry.name, token=_token(entry, prompts), path=path, digest=entry.digest)
        )
    return tuple(refs)


def _prompts_of(*passes: GenerationRequest | ResolvedRequest | HiresWish | UsedHires | None) -> str:
    """All that the encoders read for a request."""
    texts = [text for each in passes if each for text in (each.prompt, each.negative_prompt)]
    return "\n".join(text or "" for text in texts)


def _token(entry: CatalogEntry, prompts: str) -> str:
    """The first of its trigger words and names that a prompt contains; its name when none does."""
    for word in (*entry.trigger_words, entry.name, *entry.aliases):
        # A hyphen belongs to a word, as the runtime reads prompts.
        if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", prompts):
            return word
    return entry.name


def vae_ref(adapters: UsedAdapters, entries: Mapping[int, CatalogEntry]) -> VaeRef | None:
    """The autoencoder in place of the checkpoint's own, if the request has one."""
    if adapters.vae is None:
        return None
    entry = entries[adapters.vae.entry_id]
    return VaeRef(name=entry.name, path=entry.path, digest=entry.digest)
