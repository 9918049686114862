"""Refusals about people and accounts."""

from __future__ import annotations

from apps.core.errors import DomainError


class SignUpRefused(DomainError):
    """The operator's rules let nobody in this way."""

    code = "sign_up_refused"
    http_status = 403
    message = "{problem}"


class InvitationUnusable(DomainError):
    """The letter was used, taken back, is too old, or is for somebody else."""

    code = "invitation_unusable"
    http_status = 410
    message = "This invitation {problem}. Ask whoever invited you for another one."


class AlreadyInvited(DomainError):
    """There is an open invitation, or a membership, for this address."""

    code = "already_invited"
    http_status = 409
    message = "The address {email} {problem}."


class LastOwner(DomainError):
    """Every account keeps somebody who may close it or hand it over."""

    code = "last_owner"
    http_status = 409
    message = "An account needs an owner: make somebody else owner first, or close the account."


class SeatsTaken(DomainError):
    """The plan lets no further person in."""

    code = "seats_taken"
    http_status = 409
    message = (
        "All {seats} seats of this account are taken: remove a member or an invitation, or change the plan."
    )


class RoleNotYours(DomainError):
    """Only owners make owners, and only owners change them."""

    code = "role_not_yours"
    http_status = 403
    message = "Only an owner may make somebody owner, or change or remove one."


class AccountClosed(DomainError):
    """The account was closed."""

    code = "account_closed"
    http_status = 409
    message = "The account {name} {problem}."
