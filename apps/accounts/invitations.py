"""Letters that let one address in, once: made, sent again, taken back, accepted."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from apps.accounts.choices import Role
from apps.accounts.errors import AlreadyInvited, InvitationUnusable, RoleNotYours
from apps.accounts.models import Account, Membership, User
from apps.accounts.roles import can
from apps.accounts.seats import lock_account, require_seat
from apps.accounts.sign_up_models import Invitation, Removal
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict, InvalidField, NotFound
from apps.mails.selectors import count_mails
from apps.mails.services import queue_mail

LIFETIME: Final = timedelta(days=7)
TOKEN_BYTES: Final = 32
LETTER: Final = "invitation"
DAY: Final = timedelta(days=1)
LETTERS_A_DAY: Final = 20
BETWEEN_LETTERS: Final = timedelta(minutes=10)


def invite(*, by: Membership, email: str, role: Role, now: datetime) -> Invitation:
    """Invite an address into the account of `by`. Only owners invite owners.

    Raises InvalidField, RoleNotYours, AlreadyInvited, SeatsTaken, and Conflict for too many letters.
    """
    if not can(by, "team") or (role == Role.OWNER and by.role != Role.OWNER):
        raise RoleNotYours
    email = _clean(email)
    try:
        with transaction.atomic(durable=True):
            account = lock_account(by.account)
            if Membership.objects.filter(account=account, user__email__iexact=email).exists():
                raise AlreadyInvited(email=email, problem="is a member already")
            _revoke_expired(account, email, now)
            require_seat(account, with_invitations=True)
            return _insert(account=account, email=email, role=role, by=by.user, now=now)
    except IntegrityError:
        raise AlreadyInvited(email=email, problem="is invited already; send that invitation again") from None


def invite_customer(*, email: str, by: User, now: datetime) -> Invitation:
    """Let somebody open an account whatever the rules for signing up are: for operators.

    Raises InvalidField and AlreadyInvited.
    """
    email = _clean(email)
    try:
        with transaction.atomic(durable=True):
            _revoke_expired(None, email, now)
            return _insert(account=None, email=email, role=Role.OWNER, by=by, now=now)
    except IntegrityError:
        raise AlreadyInvited(email=email, problem="is invited already") from None


def send_again(*, invitation: Invitation, actor: Ref, now: datetime) -> None:
    """Send a new letter for an open invitation, also an expired one; the old letter's link ends.

    Raises InvitationUnusable, and Conflict for too many letters.
    """
    with transaction.atomic(durable=True):
        if invitation.account is not None:
            lock_account(invitation.account)  # as `invite` does: letters are counted one after the other
        current = _lock(invitation.pk)
        _require(current.accepted_at is None, "was accepted")
        _require(current.revoked_at is None, "was taken back")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        current.token_digest, current.expires_at = _digest(token), now + LIFETIME
        current.save(update_fields=["token_digest", "expires_at"])
        _record("accounts.invitation.sent_again", current, actor, now)
        _send(current, token, now)


def revoke(*, invitation: Invitation, actor: Ref, now: datetime) -> None:
    """Take an invitation back; its letter stops to work. Raises InvitationUnusable when it has ended."""
    with transaction.atomic(durable=True):
        open_one = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
        _require(open_one.update(revoked_at=now) == 1, "has ended already")
        _record("accounts.invitation.revoked", invitation, actor, now)


def access_invitation(*, token: str, now: datetime) -> Invitation:
    """The open invitation of a letter. Raises InvitationUnusable."""
    found = Invitation.objects.select_related("account", "invited_by").filter(token_digest=_digest(token))
    invitation = found.first()
    if invitation is None:
        raise InvitationUnusable(problem="is not known")
    _require_open(invitation, now)
    return invitation


def accept(*, token: str, user: User, now: datetime) -> Membership:
    """Join the account that the letter is for, as the user whose address it was sent to.

    Raises InvitationUnusable and SeatsTaken.
    """
    with transaction.atomic(durable=True):
        return join(invitation=access_invitation(token=token, now=now), user=user, now=now)


def join(*, invitation: Invitation, user: User, now: datetime) -> Membership:
    """Turn an open invitation into a membership; a part. Raises InvitationUnusable and SeatsTaken."""
    require_transaction()
    if invitation.account is None:
        raise InvitationUnusable(problem="is for opening an account, not for joining one")
    account = lock_account(invitation.account)
    _require(account.closed_at is None, "is for an account that was closed")
    use(invitation=invitation, user=user, now=now)
    present = Membership.objects.filter(account=account, user=user).first()
    if present is not None:
        return present
    require_seat(account, with_invitations=False)
    Removal.objects.filter(account=account, user=user).delete()
    membership = Membership.objects.create(account=account, user=user, role=invitation.role, created_at=now)
    audit.record(
        "accounts.member.joined",
        actor=user.ref,
        subject=membership.ref,
        account_id=account.pk,
        data={"role": invitation.role, "invitation": invitation.pk},
        now=now,
    )
    return membership


def use(*, invitation: Invitation, user: User, now: datetime) -> None:
    """Mark an open invitation as accepted by the one it was sent to; a part. Raises InvitationUnusable."""
    require_transaction()
    current = _lock(invitation.pk)
    _require_open(current, now)
    _require(current.email.lower() == user.email.lower(), "was sent to another address than yours")
    current.accepted_at = now
    current.save(update_fields=["accepted_at"])
    _record("accounts.invitation.accepted", current, user.ref, now)


def _clean(email: str) -> str:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidField(field="email", problem=f"must be an e-mail address, not {email[:100]!r}") from None
    return email


def _revoke_expired(account: Account | None, email: str, now: datetime) -> None:
    expired = Invitation.objects.filter(
        account=account, email__iexact=email, accepted_at=None, revoked_at=None, expires_at__lte=now
    )
    expired.update(revoked_at=now)


def _insert(*, account: Account | None, email: str, role: Role, by: User, now: datetime) -> Invitation:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation = Invitation.objects.create(
        account=account,
        email=email,
        role=role,
        token_digest=_digest(token),
        invited_by=by,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    _record("accounts.invitation.created", invitation, by.ref, now)
    _send(invitation, token, now)
    return invitation


def _require_letters(invitation: Invitation, now: datetime) -> None:
    """Raises Conflict where a team's letters become a nuisance. Operators write to whom they like."""
    if invitation.account_id is None:
        return
    since = now - DAY
    if count_mails(template=LETTER, since=since, account_id=invitation.account_id) >= LETTERS_A_DAY:
        raise Conflict(
            problem=f"An account sends {LETTERS_A_DAY} invitations a day at most: try again tomorrow."
        )
    if count_mails(template=LETTER, since=now - BETWEEN_LETTERS, to=invitation.email):
        raise Conflict(
            problem=f"The address {invitation.email} was sent an invitation just now: wait ten minutes."
        )


def _send(invitation: Invitation, token: str, now: datetime) -> None:
    _require_letters(invitation, now)
    host = invitation.invited_by
    queue_mail(
        to=[invitation.email],
        template=LETTER,
        context={
            "account": invitation.account.name if invitation.account else "",
            "host": host.email if host else "",
            "role": Role(invitation.role).label,
            "url": f"{settings.BASE_URL}/portal/join/{token}",
            "days": LIFETIME.days,
        },
        key=f"invitation:{invitation.pk}:{invitation.token_digest[:16]}",
        account_id=invitation.account_id,
        language=host.language if host else "en",
        now=now,
    )


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _lock(invitation_id: int) -> Invitation:
    found = Invitation.objects.select_for_update(of=("self",)).select_related("account", "invited_by")
    invitation = found.filter(pk=invitation_id).first()
    if invitation is None:
        raise NotFound(what="invitation", id=invitation_id)
    return invitation


def _require_open(invitation: Invitation, now: datetime) -> None:
    _require(invitation.accepted_at is None, "was accepted already")
    _require(invitation.revoked_at is None, "was taken back")
    _require(now < invitation.expires_at, "has expired")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise InvitationUnusable(problem=problem)


def _record(name: str, invitation: Invitation, actor: Ref, now: datetime) -> None:
    audit.record(
        name,
        actor=actor,
        subject=invitation.ref,
        account_id=invitation.account_id,
        data={"role": invitation.role},
        now=now,
    )
