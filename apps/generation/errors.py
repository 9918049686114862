"""Refusals of the generation services."""

from apps.core.errors import DomainError


class QueueFull(DomainError):
    """The account has as many open jobs as its plan allows, or the key as many as it may."""

    code = "queue_full"
    http_status = 429
    message = "The queue limit of {limit} open requests is reached; try again in {seconds} seconds."


class TooManyImages(DomainError):
    """More images in one request than the plan allows; the dialects' own range is wider."""

    code = "too_many_images"
    http_status = 403
    message = "The plan {plan} allows at most {limit} images in one request, not {asked}."


class CheckpointNotAllowed(DomainError):
    """The account may use the checkpoint, this key may not."""

    code = "checkpoint_not_allowed"
    http_status = 403
    message = "This API key may not use the model {name}."


class IdempotencyMismatch(DomainError):
    """The key was used before with another request."""

    code = "idempotency_mismatch"
    http_status = 409
    message = "The Idempotency-Key {key} was already used with a different request."


class InvalidIdempotencyKey(DomainError):
    """The header is not a usable key."""

    code = "invalid_idempotency_key"
    message = "The Idempotency-Key must be 1 to 255 printable ASCII characters."


class NotCancelable(DomainError):
    """The job has already ended."""

    code = "not_cancelable"
    http_status = 409
    message = "Job {id} has already {state}; only queued and running jobs can be canceled."


class ModelNotInstalled(DomainError):
    """The appliance can do it, with weights that this one does not have."""

    code = "model_not_installed"
    message = "No {kind} is installed on this server: {hint}."


class PromptBlocked(DomainError):
    """The prompt asks for what is made for nobody, or what the account does not allow."""

    code = "prompt_blocked"
    message = "The prompt was refused by this server's content rules ({reason})."
