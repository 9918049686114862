"""The product's settings, but for slices so short that kills fall between two of them, too."""

from __future__ import annotations

from apps.config.settings import *  # noqa: F403

PUMP_SLICE_S = 2.0
