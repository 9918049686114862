"""Rows for tests, made by the product's own services with defaults for what a test does not care about."""

from __future__ import annotations

import hashlib
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from PIL import Image

from apps.accounts.models import Account
from apps.accounts.services import create_account
from apps.apikeys.choices import CUSTOMER_SCOPES
from apps.apikeys.services import IssuedKey, create_api_key
from apps.apikeys.terms import KeyTerms
from apps.artifacts import store
from apps.artifacts.models import Artifact
from apps.artifacts.services import NewArtifact, record_artifacts
from apps.audit.refs import SYSTEM
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.choices import Kind
from apps.plans.models import Plan
from apps.plans.services import set_plan

FREE_LIMITS = {"calls_per_day": 100, "queue_depth": 20, "max_samples": 15, "kinds": list(Kind.values)}


def make_account(slug: str = "studio", *, time_zone: str = "UTC", now: datetime | None = None) -> Account:
    return create_account(
        name=slug.title(), slug=slug, time_zone=time_zone, actor=SYSTEM, now=now or clock.now()
    )


def make_plan(code: str = "free", *, is_default: bool = True, weight: float = 1.0, **limits: Any) -> Plan:
    """A plan with the free plan's limits, but for those that are named."""
    plan, _ = Plan.objects.update_or_create(
        code=code,
        defaults={
            "name": code.title(),
            "limits": FREE_LIMITS | limits,
            "weight": weight,
            "is_default": is_default,
        },
    )
    return plan


def give_plan(account: Account, *, weight: float = 1.0, **limits: Any) -> Plan:
    """Put `account` on a plan of its own with the named limits."""
    plan = make_plan(f"only-{account.slug}", is_default=False, weight=weight, **limits)
    set_plan(account=account, plan=plan, actor=SYSTEM, now=clock.now())
    return plan


def make_key(account: Account, **options: Any) -> IssuedKey:
    """A key with every scope that customers have; the operator's take `scopes=ALL_SCOPES`."""
    who = {"actor": options.pop("actor", SYSTEM), "now": options.pop("now", None) or clock.now()}
    terms: dict[str, Any] = {"name": "test key", "scopes": CUSTOMER_SCOPES} | options
    return create_api_key(account=account, terms=KeyTerms(**terms), **who)


def make_checkpoint(name: str = "tiny", **fields: Any) -> CatalogEntry:
    """A row without a folder behind it: enough for everything but a GPU worker."""
    values = {
        "title": name.title(),
        "family": "sd15",
        "path": f"/nowhere/{name}",
        "digest": "0" * 64,
        "size_bytes": 1,
        "native_px": 64,
        "min_side_px": 64,
        "max_side_px": 2048,
        "max_native_side_px": 512,
        "defaults": {"steps": 25, "guidance_scale": 4.0, "sampler": "dpmpp_2m", "negative_prompt": ""},
        "licence": "Apache-2.0",
        "created_at": clock.now(),
    }
    return CatalogEntry.objects.create(name=name, **(values | fields))


def make_adapter(name: str, *, kind: str = "lora", family: str = "sd15", **fields: Any) -> CatalogEntry:
    """A row for a LoRA, embedding or VAE, without files behind it."""
    values = {
        "title": name.title(),
        "path": f"/nowhere/{name}",
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "size_bytes": 1,
        "licence": "Apache-2.0",
        "created_at": clock.now(),
    }
    return CatalogEntry.objects.create(name=name, kind=kind, family=family, **(values | fields))


def png_bytes(*, width: int = 8, height: int = 8, colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_artifact(*, group: UUID, index: int = 0, data: bytes | None = None, seed: int = 1) -> NewArtifact:
    """A file on disk that no row knows yet."""
    data = png_bytes() if data is None else data
    file = store.write_image(group=group, index=index, extension="png", data=data)
    return NewArtifact(index=index, extension="png", file=file, width=8, height=8, seed=seed + index)


def make_artifact(
    account: Account, *, job_id: int = 1, lifetime: timedelta = timedelta(hours=1), data: bytes | None = None
) -> Artifact:
    """A stored image that expires `lifetime` from now."""
    group = uuid4()
    new = write_artifact(group=group, data=data)
    now = clock.now()
    with transaction.atomic():
        [artifact] = record_artifacts(
            job_id=job_id,
            account_id=account.pk,
            group=group,
            artifacts=[new],
            now=now,
            expires_at=now + lifetime,
        )
    return artifact


def make_folder(path: Path, **files: str) -> Path:
    """A folder with text files; dots in names are written as double underscores."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return path
