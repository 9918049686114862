"""The tree of refusals. Each dialect renders these in its own shape; nobody else invents errors."""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """A refusal whose code and message may be shown to the caller as they are."""

    code: ClassVar[str]
    """A promise to clients: never renamed."""
    http_status: ClassVar[int] = 400
    message: ClassVar[str]

    def __init__(self, *, retry_after_s: int | None = None, **data: str | int | float) -> None:
        super().__init__(self.message.format(**data))
        self.data = data
        self.retry_after_s = retry_after_s


class InvalidField(DomainError):
    """One field of a request is missing, of the wrong type or out of range."""

    code = "invalid_field"
    message = "{field} {problem}"

    def __init__(self, *, field: str, problem: str) -> None:
        super().__init__(field=field, problem=problem)
        self.field = field
        """The field in our own vocabulary; a dialect replaces it by the name its caller used."""
        self.problem = problem
        """What is wrong and what is allowed, e.g. `must be 1 to 15, not 16`."""

    def renamed(self, field: str) -> InvalidField:
        """The same refusal with the caller's own name for the field."""
        return InvalidField(field=field, problem=self.problem)


class MalformedBody(DomainError):
    """The body as a whole cannot be read."""

    code = "malformed_body"
    message = "The request body {problem}."


class BodyTooLarge(DomainError):
    """The body exceeds what the appliance accepts; nothing of it was used."""

    code = "body_too_large"
    http_status = 413
    message = "The request body is larger than the {limit_mb} MB this server accepts."


class NotFound(DomainError):
    """There is no such thing, or it belongs to somebody else: the two are never told apart."""

    code = "not_found"
    http_status = 404
    message = "{what} {id} was not found."


class Conflict(DomainError):
    """The request contradicts something that has already happened."""

    code = "conflict"
    http_status = 409
    message = "{problem}"
