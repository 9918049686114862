"""Reads of stored images by their links."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.urls import Resolver404, resolve

from apps.artifacts import links
from apps.artifacts.errors import ArtifactNotFound
from apps.artifacts.media import BASE64_EXTENSION
from apps.artifacts.models import Artifact
from apps.core import clock


def access_linked(*, expires: int, mark: str, group: UUID, index: int, extension: str) -> Artifact:
    """The image behind the parts of a link. Raises ArtifactNotFound for a link that leads to none (yet)."""
    name = links.file_name(group=group, index=index, extension=extension)
    now = clock.now()
    if not links.is_valid(expires=expires, mark=mark, name=name, now=now):
        raise ArtifactNotFound
    artifact = Artifact.objects.filter(group=group, index=index, expires_at__gt=now).first()
    if artifact is None or extension not in (artifact.extension, BASE64_EXTENSION):
        raise ArtifactNotFound
    return artifact


def is_own_link(url: str) -> bool:
    """Whether the address is one of ours, valid or not."""
    return url.startswith(f"{settings.BASE_URL}/media/")


def access_by_url(url: str) -> Artifact:
    """The image behind one of our own links. Raises ArtifactNotFound."""
    try:
        match = resolve(urlsplit(url.removeprefix(settings.BASE_URL)).path)
        return access_linked(**match.kwargs)
    # Other pages of ours have other parameters.
    except (Resolver404, TypeError, ValueError):
        raise ArtifactNotFound from None
