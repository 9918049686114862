"""What every test gets: real PostgreSQL, a folder of its own, a clock to hold, and no network.

`DATABASE_URL` must point at a PostgreSQL server on which a database `test_…` may be created.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Of garbage collection; Python's 700 are for processes that hold little."""
# Collecting tests imports torch and diffusers: a quarter of that time was spent looking for garbage.
gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])

# Settings are read once, on import: everything they require stands before `django.setup()`.
HOME = Path(tempfile.mkdtemp(prefix="darkroom-tests-"))
os.environ["DARKROOM_HOME"] = str(HOME)
# WhiteNoise warns of a missing folder.
(HOME / "static").mkdir()
os.environ["DARKROOM_SECRET_KEY"] = "tests-secret-key"
os.environ["DARKROOM_KEY_PEPPER"] = "tests-key-pepper"
os.environ["DARKROOM_BASE_URL"] = "http://testserver"
os.environ["DJANGO_SETTINGS_MODULE"] = "apps.config.settings"
HAS_DATABASE = bool(os.environ.get("DATABASE_URL"))
if not HAS_DATABASE:
    # Nobody answers there; tests of the runtime need no database and run without one.
    os.environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"

import django  # noqa: E402
from django.conf import settings as django_settings  # noqa: E402
from django.test import TransactionTestCase  # noqa: E402

# A real hash costs a quarter of a second by design, once for each test with the cast.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Each new test client would look through the console's static files, 150 of them, which no test asks for.
django_settings.WHITENOISE_USE_FINDERS = False
django.setup()

from apps.api.quota_headers import forget_entitlements  # noqa: E402
from tests.cast import Cast, assemble_cast  # noqa: E402
from tests.clocks import FrozenClock  # noqa: E402
from tests.emptied_tables import empty_what_was_written  # noqa: E402
from tests.fake_stripe.fixtures import fake_stripe  # noqa: E402, F401
from tests.harness import prepared  # noqa: E402
from tests.remembered_rows import Remembered, remember  # noqa: E402
from tests.slowest_first import scope_of, slowest_first  # noqa: E402

LOOPBACK = ("127.", "localhost", "::1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As `--dist=loadfile`, but that files which share a set-up go to one process together."""
    if config.getvalue("dist") != "loadfile":
        return None
    # Here and not above: without pytest-xdist nobody asks.
    from xdist.scheduler import LoadFileScheduling

    class LoadSharedFiles(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return LoadSharedFiles(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of a parallel run, which `deploy/test` tells to keep this order."""
    if hasattr(config, "workerinput"):
        items[:] = [items[position] for position in slowest_first([item.nodeid for item in items])]


def pytest_collection_finish() -> None:
    """What is imported by now stays, three quarters of a million objects of torch and diffusers for a start.

    Looking through them for garbage, a third of a second each time, was a sixth of the suite.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Runs before the test database is made."""
    if not HAS_DATABASE:
        pytest.fail("DATABASE_URL is not set: this test needs a PostgreSQL, see deploy/test", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def prepared_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Appliances of this run, in whichever process, share what is slow to make of their databases."""
    own = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    prepared.folder = own.parent if is_worker else own
    yield
    prepared.folder = None


@pytest.fixture(scope="session", autouse=True)
def quick_emptying() -> Iterator[None]:
    """Tests that commit are followed by tables without rows, as with Django's own way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_what_was_written)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connections to anything but this machine fail the test that makes them."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        is_local = self.family == socket.AF_UNIX or str(address[0]).startswith(LOOPBACK)
        assert is_local, f"a test tried to reach {address}"
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True)
def artifact_dir(tmp_path: Path, settings: Any) -> Path:
    """An empty artifact folder, beside one for pictures that requests bring."""
    settings.INPUT_DIR = tmp_path / "inputs"
    settings.ARTIFACT_DIR = tmp_path / "artifacts"
    settings.ARTIFACT_DIR.mkdir()
    return tmp_path / "artifacts"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still at noon UTC of 2 March 2026 until the test moves it."""
    frozen = FrozenClock()
    # Replaced where apps.core.clock reads it, so that sessions and caches of Django keep the real time.
    monkeypatch.setattr("apps.core.clock.timezone", frozen)
    return frozen


@pytest.fixture(scope="session")
def casts() -> dict[datetime, Remembered[Cast]]:
    """Those of this process, by the moment that they begin at: all but a few tests begin at the same one."""
    return {}


@pytest.fixture
def cast(db: None, clock: FrozenClock, casts: dict[datetime, Remembered[Cast]]) -> Cast:
    """Ada and Ben, Cleo the stranger, and Otto the operator, in the frozen present."""
    now = clock.now()
    if now in casts:
        # The accounts have the ids that those of the test before had, of which processes remember a little.
        forget_entitlements()
        return casts[now].put_back()
    made, remembered = remember(lambda: assemble_cast(now=now))
    if remembered is not None:
        casts[now] = remembered
    return made
