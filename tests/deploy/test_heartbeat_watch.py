"""When a living but silent GPU worker is given up on."""

from __future__ import annotations

from typing import Any

from deploy.appliance.heartbeat_watch import PATIENCE_S, START_PATIENCE_S, HeartbeatWatch


def body(state: str, database: str = "ok") -> dict[str, Any]:
    return {"checks": {"database": database, "migrations": "ok", "gpu_worker": {"state": state}}}


def test_silence_after_work_is_given_up_on_once() -> None:
    watch = HeartbeatWatch()
    assert not watch.observe(body("ready"), 0)
    assert not watch.observe(body("absent"), 10)
    assert not watch.observe(body("absent"), 10 + PATIENCE_S - 1)
    assert watch.observe(body("absent"), 10 + PATIENCE_S)
    assert not watch.observe(body("absent"), 11 + PATIENCE_S)


def test_a_sign_of_life_starts_the_wait_anew() -> None:
    watch = HeartbeatWatch()
    watch.observe(body("ready"), 0)
    watch.observe(body("absent"), 1)
    watch.observe(body("loading"), PATIENCE_S)
    assert not watch.observe(body("absent"), PATIENCE_S + 2)


def test_a_worker_that_is_starting_has_longer() -> None:
    watch = HeartbeatWatch()
    assert not watch.observe(body("absent"), 0)
    assert not watch.observe(body("absent"), START_PATIENCE_S - 1)
    assert watch.observe(body("absent"), START_PATIENCE_S)


def test_nothing_is_said_about_workers_while_the_database_is_away() -> None:
    watch = HeartbeatWatch()
    watch.observe(body("ready"), 0)
    watch.observe(body("absent"), 1)
    assert not watch.observe(body("absent", database="unavailable"), PATIENCE_S)
    assert not watch.observe(body("absent"), PATIENCE_S + 1)
    assert not watch.observe({}, 3 * PATIENCE_S)
