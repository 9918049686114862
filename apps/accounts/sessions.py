"""Where a user is signed in, and ending that: one session, or all but the present one."""

from __future__ import annotations

from collections.abc import Collection

from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.db import transaction

from apps.accounts.current import refuse_foreign
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core import clock


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth ships no types
    """Named by settings.USERSESSIONS_ADAPTER."""

    def end_sessions(self, sessions: Collection[UserSession]) -> None:
        """What allauth's page asks for: all sessions of a user but the present one."""
        for session in sessions:
            _end(session)


def end_session(*, user: User, session_id: int) -> None:
    """Sign one of the user's browsers out with its next request. Raises Http404, audited, for another's."""
    session = UserSession.objects.filter(user=user, pk=session_id).first()
    if session is None:
        refuse_foreign(user, Ref(kind="session", id=session_id, label=f"session {session_id}"))
    _end(session)


def _end(session: UserSession) -> None:
    user: User = session.user
    with transaction.atomic(durable=True):
        session.end()
        audit.record(
            "accounts.user.session_ended",
            actor=user.ref,
            subject=user.ref,
            data={"address": session.ip, "browser": session.user_agent[:200]},
            now=clock.now(),
        )
