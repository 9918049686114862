"""The ledger as anybody would write it who has no database, no crashes and no neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from apps.billing.choices import Source
from apps.billing.ledger.choices import Place
from tests.apps.billing.ledger.books import balance as balances_of


class Refused(Exception):
    """Too little is there."""


class Contradicted(Exception):
    """The key, or the end of the hold, says something else already."""


@dataclass(slots=True)
class PlainPromo:
    micro: int
    expires_at: datetime


@dataclass(slots=True)
class PlainHold:
    source: Source
    micro: int
    promo: PlainPromo | None
    end: tuple[str, int] | None = None


@dataclass(slots=True)
class PlainLedger:
    """One account and the system around it."""

    wallet: int = 0
    receivable: int = 0
    disputed: int = 0
    invoiced: int = 0
    promos: list[PlainPromo] = field(default_factory=list)
    holds: dict[int, PlainHold] = field(default_factory=dict)
    known: dict[str, tuple[object, ...]] = field(default_factory=dict)
    system: dict[Place, int] = field(default_factory=dict)

    def is_known(self, key: str, *content: object) -> bool:
        if self.known.get(key, content) != content:
            raise Contradicted
        return key in self.known

    def add(self, key: str, *content: object, **system: int) -> None:
        self.known[key] = content
        for name, micro in system.items():
            place = Place(name)
            self.system[place] = self.system.get(place, 0) + micro

    def change_wallet(self, key: str, name: str, micro: int, *, against: str) -> None:
        if self.is_known(key, name, micro):
            return
        if self.wallet + micro < 0:
            raise Refused
        self.wallet += micro
        self.add(key, name, micro, **{against: -micro})

    def grant(self, key: str, micro: int, expires_at: datetime) -> None:
        if self.is_known(key, "grant", micro, expires_at):
            return
        self.promos.append(PlainPromo(micro, expires_at))
        self.add(key, "grant", micro, expires_at, grants=-micro)

    def expire(self, now: datetime) -> int:
        due = [promo for promo in self.promos if promo.expires_at <= now and promo.micro]
        for promo in due:
            self.system[Place.GRANTS] += promo.micro
            promo.micro = 0
        return len(due)

    def hold(self, job_id: int, source: Source, micro: int, now: datetime) -> None:
        if job_id in self.holds:
            if (self.holds[job_id].source, self.holds[job_id].micro) != (source, micro):
                raise Contradicted
            return
        promo = None
        if source == Source.WALLET:
            if self.wallet < micro:
                raise Refused
            self.wallet -= micro
        elif source == Source.PROMO:
            usable = [promo for promo in self.promos if promo.expires_at > now and promo.micro >= micro]
            if not usable:
                raise Refused
            # Of two that expire together the older one; `min` keeps the first.
            promo = min(usable, key=lambda each: each.expires_at)
            promo.micro -= micro
        self.holds[job_id] = PlainHold(source, micro, promo)

    def end(self, job_id: int, how: str, captured: int) -> None:
        hold = self.holds.get(job_id)
        if hold is None or captured > hold.micro or (hold.end or (how, captured)) != (how, captured):
            raise Contradicted
        if hold.end is not None:
            return
        hold.end = (how, captured)
        rest = hold.micro - captured
        self.system[Place.REVENUE] = self.system.get(Place.REVENUE, 0) + captured
        if hold.source == Source.PAYG:
            self.receivable += captured
        elif hold.promo is not None:
            hold.promo.micro += rest
        else:
            self.wallet += rest

    def bill(self, key: str, micro: int, tax: int) -> None:
        if self.is_known(key, "bill", micro, tax):
            return
        if self.receivable < micro:
            raise Refused
        self.receivable -= micro
        self.invoiced += micro + tax
        self.add(key, "bill", micro, tax, tax=tax)

    def pay(self, key: str, micro: int) -> None:
        if self.is_known(key, "pay", micro):
            return
        if self.invoiced < micro:
            raise Refused
        self.invoiced -= micro
        self.add(key, "pay", micro, cash=-micro)

    def dispute(self, key: str, micro: int) -> None:
        if self.is_known(key, "dispute", micro):
            return
        taken = min(micro, self.wallet)
        self.wallet -= taken
        self.disputed += micro - taken
        self.add(key, "dispute", micro, cash=micro)

    def win_dispute(self, key: str, micro: int) -> None:
        if self.is_known(key, "won", micro):
            return
        owed = min(micro, self.disputed)
        self.disputed -= owed
        self.wallet += micro - owed
        self.add(key, "won", micro, cash=-micro)

    def dispute_fee(self, key: str, micro: int) -> None:
        if self.is_known(key, "fee", micro):
            return
        self.add(key, "fee", micro, fees=-micro, cash=micro)

    def balances(self, now: datetime) -> object:
        open_holds = [hold for hold in self.holds.values() if hold.end is None]
        return balances_of(
            wallet=self.wallet,
            promo=sum(promo.micro for promo in self.promos if promo.expires_at > now),
            held=sum(hold.micro for hold in open_holds if hold.source != Source.PAYG),
            receivable=self.receivable,
            invoiced=self.invoiced,
            disputed=self.disputed,
        )
