"""Guards, locks and notices, on real connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from django.db import connection, transaction

from apps.core.db import (
    NotInTransaction,
    lock_key,
    notify,
    release_session_lock,
    require_transaction,
    take_transaction_lock,
    try_session_lock,
)
from apps.core.listen import Listener, ListenerLost
from tests.harness.waits import wait_until

T = TypeVar("T")


def elsewhere(act: Callable[[], T]) -> T:
    """What `act` returns on another connection."""
    results: list[T] = []

    def run() -> None:
        try:
            results.append(act())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=20)
    return results[0]


def test_parts_refuse_to_run_on_their_own(transactional_db: None) -> None:
    with pytest.raises(NotInTransaction):
        require_transaction()
    with pytest.raises(NotInTransaction):
        take_transaction_lock("x")
    with transaction.atomic():
        require_transaction()


def test_lock_keys_are_stable_and_fit_postgresql() -> None:
    assert lock_key("gpu-worker:host/cpu") == lock_key("gpu-worker:host/cpu")
    assert lock_key("a") != lock_key("b")
    assert -(2**63) <= lock_key("a") < 2**63


def test_session_locks_exclude_other_sessions(transactional_db: None) -> None:
    assert try_session_lock("one")
    assert not elsewhere(lambda: try_session_lock("one"))
    assert elsewhere(lambda: try_session_lock("two"))

    release_session_lock("one")

    assert elsewhere(lambda: try_session_lock("one"))


def test_a_listener_hears_what_is_committed(transactional_db: None) -> None:
    with Listener(["test_news"]) as listener:
        with transaction.atomic():
            notify("test_news", "hello")
            assert listener.wait(0.05) == []
        assert listener.wait(5.0) == ["hello"]


def test_a_rolled_back_notice_is_never_heard(transactional_db: None) -> None:
    with Listener(["test_news"]) as listener:
        with transaction.atomic():
            notify("test_news", "never")
            transaction.set_rollback(True)
        notify("test_news", "next")
        assert listener.wait(5.0) == ["next"]


def test_a_listeners_lock_ends_with_it(transactional_db: None) -> None:
    with Listener([]) as listener:
        assert listener.try_lock("device")
        assert not try_session_lock("device")
    # The server notices a closed connection a moment later.
    wait_until(lambda: try_session_lock("device"), what="the lock")
    release_session_lock("device")


def test_a_lost_connection_is_named(transactional_db: None) -> None:
    with Listener(["test_news"]) as listener:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%test_news%'"
            )
        with pytest.raises(ListenerLost):
            listener.wait(5.0)
        with pytest.raises(ListenerLost):
            listener.try_lock("device")
    with pytest.raises(ListenerLost, match="not connected"):
        listener.wait(0.0)
