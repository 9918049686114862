"""`python -m tests.acceptance.in_the_dark FILE`: import a single file and draw with it, without a network.

test_air_gapped.py runs it through `unshare --net`, in a network namespace without routes.

The kernel counts in each namespace what was tried: packets that found no route, TCP connections that were
begun, datagrams that were sent. Prints one JSON line: the counters before and after the work and after one
deliberate attempt, which shows that they count, and the picture.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

COUNTED = ("Ip.OutNoRoutes", "Ip.OutRequests", "Tcp.ActiveOpens", "Udp.OutDatagrams", "Ip6.Ip6OutNoRoutes")
SOMEWHERE = ("192.0.2.1", 443)
"""Reserved for documentation: nobody is there."""


def counters() -> dict[str, int]:
    """What this namespace has tried to send so far."""
    found: dict[str, int] = {}
    lines = Path("/proc/self/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind = names.partition(":")[0]
        pairs = zip(names.split()[1:], values.split()[1:], strict=True)
        found |= {f"{kind}.{name}": int(value) for name, value in pairs}
    for line in Path("/proc/self/net/snmp6").read_text().splitlines():
        name, value = line.split()
        found[f"Ip6.{name}"] = int(value)
    return {name: found.get(name, 0) for name in COUNTED}


def import_file(file: Path) -> None:
    """Both ways: by the operator's command, and the child alone, since its own namespace counts apart."""
    from django.core.management import call_command

    call_command("models", "import", str(file), "--name", "dark", "--here", verbosity=0)
    with tempfile.TemporaryDirectory() as folder:
        from gpu_runtime.weights.store import Store

        store = Path(folder) / "store"
        Store(store).prepare()
        work = Path(folder) / "work"
        work.mkdir()
        child = [sys.executable, "-m", "gpu_runtime.weights.import_child", "--source", str(file)]
        subprocess.run(
            [*child, "--store", str(store), "--work", str(work)], check=True, stdout=subprocess.DEVNULL
        )


def draw() -> bytes:
    """A picture through submit, claim, engine and store."""
    from apps.api.modelslab.offers import TEXT_TO_IMAGE
    from apps.api.modelslab.translation.translate import translate
    from apps.apikeys.models import ApiKey
    from apps.artifacts import store
    from apps.artifacts.models import Artifact
    from apps.core import clock
    from apps.generation.models import GenerationJob
    from apps.generation.pump import Pump
    from apps.generation.services import submit_generation

    key = ApiKey.objects.select_related("account").get()
    fields = {"model_id": "dark", "prompt": "a red apple", "width": 64, "height": 64}
    fields |= {"num_inference_steps": 2, "seed": 7}
    asked = translate(TEXT_TO_IMAGE, fields, key=key, now=clock.now())
    job = submit_generation(
        account=key.account,
        api_key=key,
        request=asked.request,
        client_options=asked.options,
        track_id=None,
        now=clock.now(),
    )
    pump = Pump(device="cpu")
    while not GenerationJob.objects.get(pk=job.pk).is_terminal:
        pump.run_slice(seconds=0.2)
    job.refresh_from_db()
    assert job.state == "succeeded", (job.error_code, job.error_message)
    artifact = Artifact.objects.get(job_id=job.pk)
    path = store.image_path(
        group=artifact.group, index=0, digest=artifact.sha256, extension=artifact.extension
    )
    return path.read_bytes()


def main(file: Path) -> None:
    import django

    django.setup()
    before = counters()
    import_file(file)
    picture = draw()
    after = counters()
    with suppress(OSError):
        socket.create_connection(SOMEWHERE, timeout=1)
    report = {"before": before, "after": after, "control": counters()}
    sys.stdout.write("\n" + json.dumps(report | {"picture": base64.b64encode(picture).decode()}) + "\n")
    sys.stdout.flush()
    # The pump's threads belong to a worker that lives on.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
