"""Rules between settings, as Django system checks: `manage.py check --deploy` is the preflight."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from apps.core.fetch_policy import parse_allowed

HEARTBEATS_PER_LEASE = 2
# Third-party clients give up on a request after 30 s and take that for a failure.
CLIENT_PATIENCE_S = 30.0
LOCAL_ORIGINS = ("http://127.0.0.1", "http://localhost", "http://[::1]")


@register("darkroom")
def check_lease(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Several heartbeats must fit in one lease, or a live worker loses its jobs."""
    if settings.HEARTBEAT_S * HEARTBEATS_PER_LEASE < settings.LEASE_S:
        return []
    return [
        Error(
            f"DARKROOM_HEARTBEAT_S ({settings.HEARTBEAT_S:g}) must be less than half of "
            f"DARKROOM_LEASE_S ({settings.LEASE_S:g}).",
            hint="Raise DARKROOM_LEASE_S or lower DARKROOM_HEARTBEAT_S; 10 and 2 are the defaults.",
            id="config.E001",
        )
    ]


@register("darkroom")
def check_runtime(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Pictures of the fake runtime are not made by any model."""
    if settings.RUNTIME != "fake":
        return []
    return [
        Warning(
            "DARKROOM_RUNTIME is fake: images are test patterns, not made by a model.",
            hint="Unset DARKROOM_RUNTIME, except for load tests.",
            id="config.W001",
        )
    ]


@register("darkroom")
def check_sync_wait(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """An answer that comes after the client has given up is lost."""
    if settings.SYNC_WAIT_S < CLIENT_PATIENCE_S:
        return []
    return [
        Warning(
            f"DARKROOM_SYNC_WAIT_S ({settings.SYNC_WAIT_S:g}) is longer than many clients wait.",
            hint="Stay below 30; a slower image is answered with `processing` and can be fetched.",
            id="config.W002",
        )
    ]


@register("darkroom")
def check_fetching(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """A network that is misspelt would show only when an import is refused."""
    found: list[CheckMessage] = []
    for text in settings.FETCH_ALLOW:
        try:
            parse_allowed(text)
        except ValueError as error:
            found.append(
                Error(
                    f"DARKROOM_FETCH_ALLOW: {error}.",
                    hint="Separate entries by commas; a port stands behind a colon.",
                    id="config.E003",
                )
            )
    if not settings.HF_ENDPOINT.startswith(("https://", "http://")):
        found.append(
            Error(
                f"DARKROOM_HF_ENDPOINT must be an http or https URL, not {settings.HF_ENDPOINT!r}.",
                hint="Unset it for the public hub.",
                id="config.E004",
            )
        )
    return found


@register("darkroom", deploy=True)
def check_debug(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Debug pages show settings and source to whoever causes an error."""
    if not settings.DEBUG:
        return []
    return [
        Error(
            "DARKROOM_DEBUG is on.",
            hint="Unset DARKROOM_DEBUG on any machine that others can reach.",
            id="config.E002",
        )
    ]


@register("darkroom", deploy=True)
def check_base_url(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Links in answers start with the base URL: a local one is of no use to anybody else."""
    if not settings.BASE_URL.startswith(LOCAL_ORIGINS):
        return []
    return [
        Warning(
            f"DARKROOM_BASE_URL is {settings.BASE_URL}: image links work on this machine only.",
            hint="Set it to what clients type before /api/, for example https://images.example.com.",
            id="config.W003",
        )
    ]
