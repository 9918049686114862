"""The one table from a runtime fault to what the job's owner is told and whether to try again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_runtime import errors

if TYPE_CHECKING:
    from apps.generation.models import GenerationJob


class RequestUnreadable(errors.RuntimeFault):
    """The stored request was written by a later version, or damaged."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a job ends when the runtime could not complete it."""

    code: str
    """Stable, for clients."""
    message: str
    """For the job's owner: what happened and what to change. Never the fault's own text, but for pictures."""


FAILURES: dict[type[errors.RuntimeFault], Failure] = {
    errors.UnsupportedCombination: Failure(
        "unsupported_combination", "This model cannot combine the requested options."
    ),
    errors.CheckpointMissing: Failure(
        "checkpoint_missing", "The model's files are not on this server; ask its operator to import it again."
    ),
    errors.WeightsCorrupt: Failure(
        "weights_corrupt", "The model's files are damaged; ask the server's operator to import it again."
    ),
    errors.NotRecognised: Failure(
        "weights_unknown", "The model's files are of a kind this server does not know."
    ),
    errors.UnsafeFile: Failure("weights_unsafe", "The model's files contain code, which is never run here."),
    errors.OutOfMemory: Failure(
        "out_of_memory", "The image does not fit into the device's memory; try a smaller width and height."
    ),
    errors.NumericFault: Failure(
        "numeric_fault", "The model produced invalid numbers; try another seed or a lower guidance scale."
    ),
    RequestUnreadable: Failure(
        "request_unreadable",
        "The worker could not read this request, which a newer version of the server may have written while"
        " it was being upgraded; send it again.",
    ),
    errors.DeviceLost: Failure("device_lost", "The device failed while generating; try again."),
}
HUNG = Failure(
    "worker_hung",
    "The worker stood still repeatedly while generating this request, so it is not tried again.",
)
INTERNAL = Failure("internal_error", "The image could not be generated because of an internal error.")
QUARANTINED = Failure(
    "worker_crashed", "The worker crashed repeatedly while generating this request, so it is not tried again."
)
EXPIRED = Failure("expired", "No worker was free before the request's deadline.")


def failure_of(fault: errors.RuntimeFault) -> Failure:
    """The entry of the fault's nearest class in the table, else INTERNAL.

    Faults of pictures bring their own: their text is about what the caller sent, and meant for it.
    """
    if isinstance(fault, errors.PictureUnusable):
        return Failure(fault.code, str(fault))
    for ancestor in type(fault).__mro__:
        if ancestor in FAILURES:
            return FAILURES[ancestor]
    return INTERNAL


def unreadable_of(jobs: Iterable[GenerationJob]) -> dict[int, RequestUnreadable]:
    """Why some of the jobs cannot be run, by job: each fails by itself, and costs no neighbour its engine."""
    faults = {}
    for job in jobs:
        try:
            _ = job.resolved
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            faults[job.pk] = RequestUnreadable(f"{type(error).__name__}: {error}")
    return faults
