"""The portal on a port of this machine, with a database that goes when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection
from django.test.testcases import LiveServerThread

from apps.core import clock
from tests.portal_screens.seed import Seeded, seed

# A request that was cut off may still hold a connection to the database that is to go.
END_OTHERS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@contextmanager
def served() -> Iterator[tuple[str, Seeded]]:
    """The address, and who may sign in there."""
    settings.ALLOWED_HOSTS = ["*"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        seeded = seed(now=clock.now())
        thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
        thread.daemon = True
        thread.start()
        thread.is_ready.wait()
        if thread.error:
            raise thread.error
        try:
            yield f"http://127.0.0.1:{thread.port}", seeded
        finally:
            thread.terminate()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(END_OTHERS)
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)
