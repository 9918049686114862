"""The product's settings, but for retries and pauses so short that a drill can wait for them."""

from __future__ import annotations

from apps.config.settings import *  # noqa: F403

# Of four attempts in ten that fail, thirty in a row are none.
WEBHOOK_RETRY_S = (0.5,) * 30
WEBHOOK_PAUSE_S = (0.5, 2.0)
