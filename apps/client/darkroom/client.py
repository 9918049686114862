"""The two clients: `Darkroom` blocks, `AsyncDarkroom` awaits. Their methods are made of the same plans.

from darkroom import Darkroom

with Darkroom() as client:                     # address and key from DARKROOM_URL and DARKROOM_API_KEY,
    job = client.text_to_image("a red fox")    # or as `darkroom login` has saved them
    client.jobs.save(job, "pictures")
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from darkroom import account, catalogue, jobs, kinds
from darkroom.binding import AsyncIterating, AsyncNamespace, Awaiting, Blocking, Iterating, SyncNamespace
from darkroom.core import Core
from darkroom.drivers import AsyncDriver, SyncDriver
from darkroom.errors import DarkroomError
from darkroom.profiles import find_profile

SCHEMES: Final = ("http://", "https://")


class Jobs(SyncNamespace):
    """Jobs of the account."""

    create = Blocking(jobs.create)
    landed = Blocking(jobs.landed)
    get = Blocking(jobs.get)
    list = Iterating(jobs.list_jobs)
    wait = Blocking(jobs.wait)
    events = Iterating(jobs.events)
    cancel = Blocking(jobs.cancel)
    delete = Blocking(jobs.delete)
    download = Blocking(jobs.download)
    save = Blocking(jobs.save)


class Models(SyncNamespace):
    """The catalogue."""

    list = Iterating(catalogue.list_models)
    get = Blocking(catalogue.get_model)
    delete = Blocking(catalogue.delete_model)


class Imports(SyncNamespace):
    """Models on their way in."""

    start = Blocking(catalogue.start_import)
    get = Blocking(catalogue.get_import)
    list = Iterating(catalogue.list_imports)
    wait = Blocking(catalogue.wait_import)
    events = Iterating(catalogue.import_events)
    cancel = Blocking(catalogue.cancel_import)
    retry = Blocking(catalogue.retry_import)


class Keys(SyncNamespace):
    """API keys of the account."""

    list = Iterating(account.list_keys)
    get = Blocking(account.get_key)
    current = Blocking(account.current_key)
    create = Blocking(account.create_key)
    revoke = Blocking(account.revoke_key)


class Darkroom(SyncNamespace):
    """A client that blocks; threads may share it."""

    generate = Blocking(jobs.generate)
    estimate = Blocking(jobs.estimate)
    upload = Blocking(jobs.upload)
    usage = Blocking(account.usage)
    text_to_image = Blocking(kinds.text_to_image)
    image_to_image = Blocking(kinds.image_to_image)
    inpaint = Blocking(kinds.inpaint)
    outpaint = Blocking(kinds.outpaint)
    control = Blocking(kinds.control)
    edit = Blocking(kinds.edit)
    upscale = Blocking(kinds.upscale)
    remove_background = Blocking(kinds.remove_background)
    remove_object = Blocking(kinds.remove_object)
    face_swap = Blocking(kinds.face_swap)
    detect = Blocking(kinds.detect)
    caption = Blocking(kinds.caption)
    mask = Blocking(kinds.mask)
    check_nsfw = Blocking(kinds.check_nsfw)

    def __init__(self, base_url: str = "", api_key: str = "", *, profile: str = "", **options: Any) -> None:
        """`options` are fields of `darkroom.core.Core`: timeout_s, max_retries ... Raises DarkroomError."""
        super().__init__(SyncDriver(make_core(base_url, api_key, profile=profile, **options)))
        self.jobs = Jobs(self._driver)
        self.models = Models(self._driver)
        self.imports = Imports(self._driver)
        self.keys = Keys(self._driver)

    def close(self) -> None:
        """Let go of all connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncJobs(AsyncNamespace):
    """Jobs of the account."""

    create = Awaiting(jobs.create)
    landed = Awaiting(jobs.landed)
    get = Awaiting(jobs.get)
    list = AsyncIterating(jobs.list_jobs)
    wait = Awaiting(jobs.wait)
    events = AsyncIterating(jobs.events)
    cancel = Awaiting(jobs.cancel)
    delete = Awaiting(jobs.delete)
    download = Awaiting(jobs.download)
    save = Awaiting(jobs.save)


class AsyncModels(AsyncNamespace):
    """The catalogue."""

    list = AsyncIterating(catalogue.list_models)
    get = Awaiting(catalogue.get_model)
    delete = Awaiting(catalogue.delete_model)


class AsyncImports(AsyncNamespace):
    """Models on their way in."""

    start = Awaiting(catalogue.start_import)
    get = Awaiting(catalogue.get_import)
    list = AsyncIterating(catalogue.list_imports)
    wait = Awaiting(catalogue.wait_import)
    events = AsyncIterating(catalogue.import_events)
    cancel = Awaiting(catalogue.cancel_import)
    retry = Awaiting(catalogue.retry_import)


class AsyncKeys(AsyncNamespace):
    """API keys of the account."""

    list = AsyncIterating(account.list_keys)
    get = Awaiting(account.get_key)
    current = Awaiting(account.current_key)
    create = Awaiting(account.create_key)
    revoke = Awaiting(account.revoke_key)


class AsyncDarkroom(AsyncNamespace):
    """A client that awaits, for one event loop. Local files are read without awaiting."""

    generate = Awaiting(jobs.generate)
    estimate = Awaiting(jobs.estimate)
    upload = Awaiting(jobs.upload)
    usage = Awaiting(account.usage)
    text_to_image = Awaiting(kinds.text_to_image)
    image_to_image = Awaiting(kinds.image_to_image)
    inpaint = Awaiting(kinds.inpaint)
    outpaint = Awaiting(kinds.outpaint)
    control = Awaiting(kinds.control)
    edit = Awaiting(kinds.edit)
    upscale = Awaiting(kinds.upscale)
    remove_background = Awaiting(kinds.remove_background)
    remove_object = Awaiting(kinds.remove_object)
    face_swap = Awaiting(kinds.face_swap)
    detect = Awaiting(kinds.detect)
    caption = Awaiting(kinds.caption)
    mask = Awaiting(kinds.mask)
    check_nsfw = Awaiting(kinds.check_nsfw)

    def __init__(self, base_url: str = "", api_key: str = "", *, profile: str = "", **options: Any) -> None:
        """`options` are fields of `darkroom.core.Core`: timeout_s, max_retries ... Raises DarkroomError."""
        super().__init__(AsyncDriver(make_core(base_url, api_key, profile=profile, **options)))
        self.jobs = AsyncJobs(self._driver)
        self.models = AsyncModels(self._driver)
        self.imports = AsyncImports(self._driver)
        self.keys = AsyncKeys(self._driver)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def make_core(base_url: str, api_key: str, *, profile: str = "", **options: Any) -> Core:
    """What is not given comes from the environment, then from what `darkroom login` saved.

    Raises DarkroomError when there is no address or no key, or when one of them cannot be right.
    """
    if not (base_url and api_key):
        found = find_profile(profile, url=base_url)
        base_url, api_key = base_url or found.url, api_key or found.api_key
    return Core(base_url=checked_url(base_url), api_key=checked_key(api_key), **options)


def checked_url(text: str) -> str:
    """Without a slash at the end. Raises DarkroomError."""
    url = text.strip().rstrip("/")
    if not url:
        raise DarkroomError("No server is named: run `darkroom login`, or set DARKROOM_URL.")
    if not url.startswith(SCHEMES) or not url.isprintable() or " " in url or not _has_host(url):
        raise DarkroomError(f"The address of the server must look like http://box:8000, not {text!r}.")
    return url


def _has_host(url: str) -> bool:
    """Whether name and port are such that somebody could answer there."""
    try:
        place = urlsplit(url)
        name = (place.hostname or "").encode("idna")
        return bool(name) and place.port != 0
    except ValueError:
        return False


def checked_key(text: str) -> str:
    """Raises DarkroomError."""
    key = text.strip()
    if not key:
        raise DarkroomError("No API key is set: run `darkroom login`, or set DARKROOM_API_KEY.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise DarkroomError("The API key must look like dkr_...: it has characters that no key has.")
    return key
