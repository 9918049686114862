"""The test's controls over HTTP, for demos: `POST /_fake/advance`, `fail_next`, `deliver`, `dispute`, …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.params import Params

KINDS = ("429", "500", "timeout_after_commit", "reset", "slow")


def advance(fake: Fake, params: Params) -> dict[str, Any]:
    """`days`, `hours`, `seconds`: the new time."""
    days, hours = params.decimal("days") or 0, params.decimal("hours") or 0
    now = fake.advance(days=float(days), hours=float(hours), seconds=params.whole("seconds") or 0)
    return {"now": now}


def fail_next(fake: Fake, params: Params) -> dict[str, Any]:
    """`kind` (one of KINDS), `method`, `path`, `times`."""
    kind = params.choice("kind", set(KINDS), params.need("kind"))
    fake.fail_next(
        kind,  # type: ignore[arg-type]  # checked against KINDS above
        method=params.text("method") or "",
        path=params.text("path") or "",
        times=params.whole("times", 1) or 1,
    )
    return {"planned": len(fake.faults.planned)}


def deliver(fake: Fake, params: Params) -> dict[str, Any]:
    """`shuffle_seed`, `duplicates`, `bad_signatures`: counts of what the endpoints said."""
    return dict(
        fake.deliver(
            shuffle_seed=params.whole("shuffle_seed"),
            duplicates=float(params.decimal("duplicates") or 0),
            bad_signatures=float(params.decimal("bad_signatures") or 0),
        )
    )


def dispute(fake: Fake, params: Params) -> dict[str, Any]:
    """`id` of a payment intent, charge or invoice."""
    return fake.dispute(params.need("id"))


def close_dispute(fake: Fake, params: Params) -> dict[str, Any]:
    """`id`, `won`."""
    return fake.close_dispute(params.need("id"), won=params.flag("won"))


def state(fake: Fake, params: Params) -> dict[str, Any]:
    """The time, and how many objects of each kind there are."""
    with fake.lock:
        return {"now": fake.clock.now(), "requests": len(fake.log), "objects": fake.store.counts()}


CONTROLS: dict[str, Callable[[Fake, Params], dict[str, Any]]] = {
    "advance": advance,
    "fail_next": fail_next,
    "deliver": deliver,
    "dispute": dispute,
    "close_dispute": close_dispute,
    "state": state,
}


def control(fake: Fake, name: str, params: Params) -> dict[str, Any]:
    if name not in CONTROLS:
        raise Refusal(404, f"No control {name!r}; there are {', '.join(CONTROLS)}.")
    return CONTROLS[name](fake, params)
