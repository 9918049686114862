"""Every series of `/metrics`, by where its values come from. A test holds this list to its rules."""

from __future__ import annotations

from typing import Final

from apps.core.counters import Series
from apps.core.flushing import PROCESS_SERIES
from apps.generation.counting import ENGINE_SERIES
from apps.generation.device_figures import DEVICE_SERIES
from apps.metrics.collecting.keeping import KEEPING_SERIES
from apps.metrics.collecting.messages import MESSAGE_SERIES
from apps.metrics.collecting.operations import OPERATION_SERIES
from apps.metrics.collecting.work import WORK_SERIES
from apps.metrics.job_rollup import JOB_SERIES
from apps.metrics.measuring import MEASURED_SERIES
from apps.metrics.middleware import HTTP_SERIES
from apps.webhooks.counting import WEBHOOK_SERIES

COLLECTED: Final[tuple[Series, ...]] = (*WORK_SERIES, *MESSAGE_SERIES, *KEEPING_SERIES, *OPERATION_SERIES)
"""Read from rows when somebody asks."""

STORED: Final[tuple[Series, ...]] = (
    *HTTP_SERIES,
    *JOB_SERIES,
    *ENGINE_SERIES,
    *DEVICE_SERIES,
    *WEBHOOK_SERIES,
    *PROCESS_SERIES,
    *MEASURED_SERIES,
)
"""Counted by processes or measured by housekeeping, in the table of samples."""

ALL_SERIES: Final = (*COLLECTED, *STORED)
