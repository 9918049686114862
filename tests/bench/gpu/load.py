"""Requests that arrive by chance: latency below and above what the device can do, and sameness meanwhile.

Arrivals are a Poisson process with a fixed seed. Beside the engine stands one request at a time, simulated on
the same arrivals with the time that the engine takes for one alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

from gpu_runtime.engine import Engine
from gpu_runtime.messages import ImageRequest, Tier
from tests.bench.gpu.bench import Bench, run, run_arriving
from tests.bench.gpu.figures import Figure, percentile

SECTION = "load"

SHARES = (0.7, 1.1)
"""Of the rate that the engine reaches with many requests at once."""

AT_ONCE = 16
"""Requests at once by which that rate is found."""

NEIGHBOURS = 6


def measure(bench: Bench, name: str, seconds: float) -> Iterator[Figure]:
    """One model, `seconds` of arrivals for each share."""
    engine = bench.shared
    run(engine, [bench.request(name, "warm")])
    alone_s = bench.clock.seconds(lambda: run(engine, [bench.request(name, "alone")]))
    count = 2 if bench.is_tiny else AT_ONCE
    many = [bench.request(name, f"many {number}") for number in range(count)]
    rate = count / bench.clock.seconds(lambda: run(engine, many))
    yield _figure(f"{name}: rate with {count} at once", rate, "images/s")
    yield _figure(f"{name}: rate one at a time", 1 / alone_s, "images/s")
    for share in SHARES:
        yield from _at_share(bench, engine, name, share, rate, seconds, alone_s)


def measure_sameness(bench: Bench, name: str) -> Iterator[Figure]:
    """Whether an image of the exact tier has the same bytes alone and among others that come and go."""

    def watched(tag: str) -> bytes:
        request = bench.request(name, tag, prompt="a red apple", seeds=(7,), tier=Tier.EXACT)
        others = [] if tag == "alone" else _neighbours(bench, name)
        return run(bench.shared, [*others, request])[tag]

    alone = watched("alone")
    is_same = alone == watched("among others")
    yield _figure(f"{name}: exact image has the same bytes under load", float(is_same), "1 is yes", "1")


def waiting_in_line(at_s: Sequence[float], each_s: float) -> list[float]:
    """Seconds from arrival to the end when one after another is served for `each_s`."""
    free_at = 0.0
    taken = []
    for at in at_s:
        free_at = max(free_at, at) + each_s
        taken.append(free_at - at)
    return taken


def _neighbours(bench: Bench, name: str) -> list[ImageRequest]:
    steps = bench.steps(name)
    return [
        bench.request(name, f"beside {number}", steps=max(1, steps - number), tier=Tier.EXACT)
        for number in range(2 if bench.is_tiny else NEIGHBOURS)
    ]


def _at_share(
    bench: Bench, engine: Engine, name: str, share: float, rate: float, seconds: float, alone_s: float
) -> Iterator[Figure]:
    count = 3 if bench.is_tiny else max(10, round(share * rate * seconds))
    source = random.Random(4)
    at_s: list[float] = []
    for _ in range(count):
        at_s.append((at_s[-1] if at_s else 0.0) + source.expovariate(share * rate))
    requests = [bench.request(name, f"{share} {number}") for number in range(count)]
    began = time.monotonic()
    taken = run_arriving(engine, requests, at_s)
    title = f"{name} at {share:.0%} load"
    yield _figure(f"{title}: images/s", count / (time.monotonic() - began), "images/s")
    in_line = waiting_in_line(at_s, alone_s)
    for point in (50, 95):
        yield _figure(f"{title}: engine, p{point}", percentile(taken, point), "s")
        yield _figure(f"{title}: one at a time (simulated), p{point}", percentile(in_line, point), "s")


def _figure(name: str, value: float, unit: str, target: str = "") -> Figure:
    return Figure(section=SECTION, name=name, value=value, unit=unit, target=target)
