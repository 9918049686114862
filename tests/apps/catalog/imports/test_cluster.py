"""Real processes: the imports cluster takes an import, dies in the middle, and its successor goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.audit.refs import SYSTEM
from apps.catalog.imports.lifecycle import reap_expired
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core import clock
from tests.apps.catalog.imports.studio import submit, trail, url
from tests.apps.catalog.imports.weights_files import write_sizable_lora
from tests.apps.generation.test_gpu_cluster import REPOSITORY, database_url
from tests.harness.model_server import Fault, ModelServer
from tests.harness.waits import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@contextmanager
def cluster(server: ModelServer, settings: Any, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`qcluster` of the queue "imports" as the supervisor starts it."""
    environment = {
        **os.environ,
        **server.settings(),
        "DATABASE_URL": database_url(),
        "DARKROOM_HOME": str(settings.HOME_DIR),
        "DARKROOM_MODEL_DIR": str(settings.MODEL_DIR),
        "DARKROOM_LEASE_S": "2",
        "DARKROOM_HEARTBEAT_S": "0.5",
        "DARKROOM_IMPORT_CONNECTIONS": "1",
        "DJANGO_SETTINGS_MODULE": "apps.config.settings",
        "Q_CLUSTER_NAME": "imports",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_killed_runner_is_followed_by_one_that_goes_on(
    server: ModelServer, tmp_path: Path, settings: Any
) -> None:
    size = write_sizable_lora(tmp_path / "big.safetensors").stat().st_size
    address = server.add_file("/big.safetensors", tmp_path / "big.safetensors")
    server.fault("/big.safetensors", Fault(bytes_per_s=700_000))
    row = submit(url(address))

    def reread() -> ModelImport:
        return ModelImport.objects.get(pk=row.pk)

    with cluster(server, settings, tmp_path / "log"):
        wait_until(lambda: reread().bytes_done > size * 0.6, what="most of the download", timeout_s=60)
    assert reread().state == "running"
    server.fault("/big.safetensors", None)
    wait_until(lambda: reap_expired(actor=SYSTEM, now=clock.now()), what="the end of the lease", timeout_s=20)
    sent = server.bytes_sent("/big")
    with cluster(server, settings, tmp_path / "log"):
        wait_until(lambda: reread().is_terminal, what="the end of the import", timeout_s=120)
    ended = reread()
    assert (ended.state, ended.error_message) == ("succeeded", ""), (tmp_path / "log").read_text()
    assert ended.attempt == 2
    # What was written down every two seconds was not fetched again.
    assert server.bytes_sent("/big") - sent < size
    assert CatalogEntry.objects.get().name == "big"
    assert trail(row) == ["submitted", "requeued", "succeeded"]
