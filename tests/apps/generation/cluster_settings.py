"""The appliance's settings with slices so short that a test sees several of them."""

from apps.config.settings import *  # noqa: F403

PUMP_SLICE_S = 1.0
