"""Carry out the effects of plans with httpx2: one driver blocks, one awaits. Nothing is decided here.

Proxies and certificates come from the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, TypeVar

import httpx2

from darkroom.core import (
    USER_AGENT,
    Broken,
    Call,
    Core,
    Effect,
    Emit,
    Flow,
    Open,
    Plan,
    Read,
    Reply,
    Request,
    Sleep,
    Unsent,
)

T = TypeVar("T")


class Driver:
    """What a plan's next step is, whoever carries it out. For one run of one plan."""

    def __init__(self, plan: Generator[Effect | Emit[Any], Any, Any] | Plan[Any]) -> None:
        self._plan = plan
        self._advance: Callable[[], Effect | Emit[Any]] = plan.__next__

    def step(self) -> Effect | Emit[Any]:
        """The next effect or item. Raises StopIteration with the plan's result."""
        advance, self._advance = self._advance, self._plan.__next__
        return advance()

    def give(self, result: object) -> None:
        """What came of the last effect."""
        self._advance = lambda: self._plan.send(result)

    def fail(self, fault: Broken) -> None:
        """The last effect failed."""
        self._advance = lambda: self._plan.throw(fault)


class SyncDriver:
    """Blocks. May be used by several threads at once."""

    def __init__(self, core: Core, http: httpx2.Client | None = None) -> None:
        self.core = core
        self._http = http or httpx2.Client(**_options(core))

    def run(self, plan: Plan[T]) -> T:
        """The plan's result."""
        driver, streams = Driver(plan), _Streams()
        try:
            while True:
                self._step(driver, driver.step(), streams)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            streams.close()

    def iterate(self, flow: Flow[T]) -> Iterator[T]:
        """The flow's items as they come."""
        driver, streams = Driver(flow), _Streams()
        try:
            while True:
                try:
                    effect = driver.step()
                except StopIteration:
                    return
                if isinstance(effect, Emit):
                    yield effect.item
                else:
                    self._step(driver, effect, streams)
        finally:
            streams.close()

    def _step(self, driver: Driver, effect: Effect | Emit[Any], streams: _Streams) -> None:
        try:
            driver.give(self._perform(effect, streams))
        except httpx2.HTTPError as error:
            driver.fail(_fault(error))

    def _perform(self, effect: Effect | Emit[Any], streams: _Streams) -> object:
        match effect:
            case Call(request):
                return _reply(self._http.send(_built(self._http, self.core, request)))
            case Open(request):
                streams.close()
                response = self._http.send(_built(self._http, self.core, request), stream=True)
                streams.response, streams.chunks = response, response.iter_bytes()
                return _reply(response) if not response.is_error else _reply(_whole(response))
            case Read():
                return next(streams.chunks, b"")
            case Sleep(seconds):
                time.sleep(seconds)
        return None

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()


class _Streams:
    """The one stream that a run may have open."""

    def __init__(self) -> None:
        self.response: httpx2.Response | None = None
        self.chunks: Iterator[bytes] = iter(())

    def close(self) -> None:
        if self.response is not None:
            self.response.close()


class AsyncDriver:
    """Awaits."""

    def __init__(self, core: Core, http: httpx2.AsyncClient | None = None) -> None:
        self.core = core
        self._http = http or httpx2.AsyncClient(**_options(core))

    async def run(self, plan: Plan[T]) -> T:
        """The plan's result."""
        driver, streams = Driver(plan), _AsyncStreams()
        try:
            while True:
                try:
                    effect = driver.step()
                except StopIteration as end:
                    result: T = end.value
                    return result
                await self._step(driver, effect, streams)
        finally:
            await streams.close()

    async def iterate(self, flow: Flow[T]) -> AsyncIterator[T]:
        """The flow's items as they come."""
        driver, streams = Driver(flow), _AsyncStreams()
        try:
            while True:
                try:
                    effect = driver.step()
                except StopIteration:
                    return
                if isinstance(effect, Emit):
                    yield effect.item
                else:
                    await self._step(driver, effect, streams)
        finally:
            await streams.close()

    async def _step(self, driver: Driver, effect: Effect | Emit[Any], streams: _AsyncStreams) -> None:
        try:
            driver.give(await self._perform(effect, streams))
        except httpx2.HTTPError as error:
            driver.fail(_fault(error))

    async def _perform(self, effect: Effect | Emit[Any], streams: _AsyncStreams) -> object:
        match effect:
            case Call(request):
                return _reply(await self._http.send(_built(self._http, self.core, request)))
            case Open(request):
                await streams.close()
                response = await self._http.send(_built(self._http, self.core, request), stream=True)
                streams.response, streams.chunks = response, response.aiter_bytes()
                if response.is_error:
                    await response.aread()
                return _reply(response)
            case Read():
                return await anext(streams.chunks, b"")
            case Sleep(seconds):
                await asyncio.sleep(seconds)
        return None

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()


class _AsyncStreams:
    """The one stream that a run may have open."""

    def __init__(self) -> None:
        self.response: httpx2.Response | None = None
        self.chunks: AsyncIterator[bytes] = _nothing()

    async def close(self) -> None:
        if self.response is not None:
            await self.response.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes it a generator


def _options(core: Core) -> dict[str, Any]:  # Any: keywords of two constructors
    # Redirects are not followed: they would carry the key, and a POST, to who knows where.
    return {
        "timeout": httpx2.Timeout(core.timeout_s, connect=core.connect_timeout_s),
        "headers": {"user-agent": USER_AGENT, "accept": "application/json"},
        "follow_redirects": False,
    }


def _built(http: httpx2.Client | httpx2.AsyncClient, core: Core, request: Request) -> httpx2.Request:
    headers = dict(request.headers)
    if request.is_signed:
        headers["authorization"] = f"Bearer {core.api_key}"
    timeout = httpx2.Timeout(request.timeout_s or core.timeout_s, connect=core.connect_timeout_s)
    return http.build_request(
        request.method,
        core.base_url + request.path,
        params=list(request.query) or None,
        headers=headers,
        content=request.body,
        timeout=timeout,
    )


def _whole(response: httpx2.Response) -> httpx2.Response:
    response.read()
    return response


def _reply(response: httpx2.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = response.content if response.is_stream_consumed else b""
    return Reply(status=response.status_code, headers=headers, body=body)


def _fault(error: httpx2.HTTPError) -> Broken:
    """In words of ours; what was never sent apart from what may have been."""
    told = str(error) or type(error).__name__
    if isinstance(
        error, httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ConnectError | httpx2.ProxyError
    ):
        fault: Broken = Unsent(told)
    else:
        fault = Broken(told if not isinstance(error, httpx2.TimeoutException) else "no answer in time")
    fault.is_timeout = isinstance(error, httpx2.TimeoutException)
    return fault
