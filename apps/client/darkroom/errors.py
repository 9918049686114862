"""Everything that can go wrong, one class for each thing that a program might do about it.

DarkroomError
├─ NotReachable            no answer: address, network, certificate, server down
│  └─ TimedOut
├─ UnexpectedAnswer        an answer that is not Darkroom's: a proxy, another server
├─ Refused                 the server said no; has `status`, `code`, `problems`, `request_id`
│  ├─ AuthenticationError  401
│  ├─ PermissionDenied     403
│  ├─ NotFound             404, 410
│  ├─ InvalidRequest       400, 413, 422; has `field`
│  │  ├─ ModelNotFound     a name that the catalogue does not have
│  │  ├─ ModelNotInstalled weights that the operator has to import
│  │  └─ ContentRefused    the rules of the server or of the account
│  ├─ Conflict             409
│  ├─ PaymentRequired      402: nothing pays for it, or a budget is used up
│  ├─ QuotaExceeded        429: the day's calls are used up
│  ├─ QueueFull            429: too many open jobs
│  └─ ServerFault          5xx
├─ JobFailed               the job ended without images; has `job`
│  └─ JobCanceled
├─ ImportFailed            has `model_import`
└─ WaitTimeout             it goes on, but you did not want to wait longer
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from darkroom.records import Import, Job

SHOWN_CHARS: Final = 300


class DarkroomError(Exception):
    """Base of everything this package raises on purpose."""


class NotReachable(DarkroomError):
    """No answer came."""


class TimedOut(NotReachable):
    """No answer came in time."""


class UnexpectedAnswer(DarkroomError):
    """Whatever answers at this address does not speak Darkroom's API."""

    def __init__(self, told: str, *, status: int = 0) -> None:
        super().__init__(told)
        self.status = status


class WaitTimeout(DarkroomError):
    """It had not ended when the time was over; it goes on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One place in a request and what is wrong there."""

    detail: str
    field: str
    """`controls[0].scale`, a header or a parameter; "" for the request as a whole."""


class Refused(DarkroomError):
    """The server's refusal."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str = "",
        request_id: str = "",
        problems: Sequence[Problem] = (),
        retry_after_s: float | None = None,
    ) -> None:
        self.detail = detail
        """For people."""
        self.status = status
        self.code = code
        """For programs: never changes its meaning."""
        self.request_id = request_id
        """To quote when you ask the operator."""
        self.problems = tuple(problems)
        self.retry_after_s = retry_after_s
        super().__init__(f"{detail} [request {request_id}]" if request_id else detail)


class AuthenticationError(Refused):
    """The API key is missing or not valid."""


class PermissionDenied(Refused):
    """The key, or the account's plan, does not allow it."""


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else."""


class InvalidRequest(Refused):
    """Something in the request is wrong."""

    @property
    def field(self) -> str:
        """The first place that is wrong; "" when it is the whole."""
        return self.problems[0].field if self.problems else ""


class ModelNotFound(InvalidRequest):
    """No model, LoRA, embedding or VAE of this name, for this account."""


class ModelNotInstalled(InvalidRequest):
    """The server has no weights for it; the message says what the operator has to import."""


class ContentRefused(InvalidRequest):
    """The prompt or a picture goes against the rules."""


class Conflict(Refused):
    """It contradicts what has already happened."""


class QuotaExceeded(Refused):
    """The day's calls are used up; `retry_after_s` says when the next day begins."""


class PaymentRequired(Refused):
    """Nothing pays for it, or a budget of the month is used up; the message says which."""


class QueueFull(Refused):
    """The account has as many open jobs as its plan allows."""


class ServerFault(Refused):
    """The server's own trouble."""


class JobFailed(DarkroomError):
    """The job ended without images."""

    def __init__(self, job: Job) -> None:
        self.job = job
        told = job.error.message if job.error and job.error.message else job.state
        self.code = job.error.code if job.error else ""
        super().__init__(f"Job {job.id} {_ENDS.get(job.state, 'ended')}: {told}")


class JobCanceled(JobFailed):
    """The job was canceled, here or elsewhere."""


class ImportFailed(DarkroomError):
    """The import ended without a model."""

    def __init__(self, model_import: Import) -> None:
        self.model_import = model_import
        error = model_import.error
        self.code = error.code if error else ""
        super().__init__(
            f"Import {model_import.id} {_ENDS.get(model_import.state, 'ended')}: "
            f"{error.message if error and error.message else model_import.state}"
        )


_ENDS: Final = {"failed": "failed", "canceled": "was canceled", "expired": "expired", "quarantined": "failed"}

BY_CODE: Final[Mapping[str, type[Refused]]] = {
    "checkpoint_not_found": ModelNotFound,
    "daily_quota_exhausted": QuotaExceeded,
    "embedding_not_found": ModelNotFound,
    "lora_not_found": ModelNotFound,
    "model_not_found": ModelNotFound,
    "model_not_installed": ModelNotInstalled,
    "monthly_quota_exhausted": QuotaExceeded,
    "prompt_blocked": ContentRefused,
    "queue_full": QueueFull,
    "vae_not_found": ModelNotFound,
}
"""Codes that say more than their status."""
BY_STATUS: Final[Mapping[int, type[Refused]]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    410: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    429: QueueFull,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> DarkroomError:
    """The exception for an answer that is none: problem+json, or whatever a proxy says instead."""
    told = _object(body)
    retry_after_s = _seconds(headers.get("retry-after", ""))
    if not isinstance(told.get("detail"), str) or not isinstance(told.get("code"), str):
        return _from_elsewhere(status, headers, body, retry_after_s)
    kind = BY_CODE.get(told["code"]) or BY_STATUS.get(status)
    return (kind or (ServerFault if status >= 500 else Refused))(
        told["detail"],
        status=status,
        code=told["code"],
        request_id=str(told.get("request_id") or headers.get("x-request-id", "")),
        problems=[_problem(each) for each in told.get("errors") or () if isinstance(each, dict)],
        retry_after_s=retry_after_s,
    )


def _from_elsewhere(
    status: int, headers: Mapping[str, str], body: bytes, retry_after_s: float | None
) -> DarkroomError:
    if 300 <= status < 400:
        place = headers.get("location", "elsewhere")
        return UnexpectedAnswer(
            f"The server answers {status} and points to {place}: use its final address.", status=status
        )
    if status >= 500:
        text = f"The server or a proxy before it answered {status} without saying why."
        return ServerFault(text, status=status, retry_after_s=retry_after_s)
    text = " ".join(body[:SHOWN_CHARS].decode("utf-8", "replace").split())
    return UnexpectedAnswer(f"No Darkroom is at this address: {status} {text[:120]}".rstrip(), status=status)


def _problem(told: Mapping[str, Any]) -> Problem:
    place = told.get("parameter") or told.get("header") or _dotted(str(told.get("pointer", "")))
    return Problem(detail=str(told.get("detail", "")), field=str(place))


def _dotted(pointer: str) -> str:
    """`#/controls/0/scale` -> `controls[0].scale`."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.removeprefix("#").split("/")]
    text = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts if part)
    return text.removeprefix(".")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(text: str) -> float | None:
    """Of Retry-After; its other form, a date, is nothing this server sends."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
