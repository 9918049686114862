"""SDK and command against a whole appliance, whose worker has the runtime for load tests."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from darkroom import AsyncDarkroom, Darkroom, errors
from darkroom.cli.exits import AUTHENTICATION, FAILED, OK
from darkroom.cli.main import main
from darkroom.records import Done, Progressed
from tests.factories import png_bytes
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

STEP_MS = 40.0
MODEL = "drill"
CLIENT = Path(__file__).parents[2] / "apps" / "client"
LONG = 150
"""Steps of a job that is to be met while it runs."""
SIDE = {"width": 256, "height": 256}


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    with drill_folder() as folder, Appliance(folder, step_ms=STEP_MS, accounts=2) as running:
        yield running


@pytest.fixture
def client(appliance: Appliance) -> Iterator[Darkroom]:
    with Darkroom(f"http://127.0.0.1:{appliance.port}", appliance.keys[0]) as made:
        yield made


@pytest.fixture
def environment(appliance: Appliance, tmp_path: Path) -> dict[str, str]:
    """For the command in a process of its own."""
    return {
        "DARKROOM_URL": f"http://127.0.0.1:{appliance.port}",
        "DARKROOM_API_KEY": appliance.keys[0],
        "XDG_CONFIG_HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONUTF8": "1",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from darkroom.cli.main import main; sys.exit(main())", *words]


def test_an_image_is_made_followed_and_saved(client: Darkroom, tmp_path: Path) -> None:
    told: list[Any] = []

    job = client.text_to_image("ein Füchslein 🦊", model=MODEL, steps=8, seed=7, on_event=told.append, **SIDE)

    assert (job.state, job.images[0].seed, job.images[0].width) == ("succeeded", 7, 256)
    assert job.request["prompt"] == "ein Füchslein 🦊"
    assert isinstance(told[-1], Done)
    assert any(isinstance(event, Progressed) and event.total == 8 for event in told)
    [file] = client.jobs.save(job, tmp_path)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert client.jobs.get(job.id).raw.keys() == job.raw.keys()


def test_both_clients_at_once(appliance: Appliance) -> None:
    async def ask() -> list[Any]:
        async with AsyncDarkroom(f"http://127.0.0.1:{appliance.port}", appliance.keys[0]) as client:
            asked = [client.text_to_image(f"fox {n}", model=MODEL, steps=4, **SIDE) for n in range(6)]
            made = list(await asyncio.gather(*asked))
            listed = [job.id async for job in client.jobs.list(limit=6)]
            assert sorted(listed) == sorted(job.id for job in made)
            return made

    jobs = asyncio.run(ask())

    assert len({job.id for job in jobs}) == 6
    assert all(job.is_succeeded for job in jobs)


def test_a_picture_of_this_machine_is_worked_on(client: Darkroom) -> None:
    estimate = client.estimate("img2img", model=MODEL, prompt="a hat", image=png_bytes(width=256, height=256))
    job = client.image_to_image(png_bytes(width=256, height=256), "a hat", model=MODEL, steps=4, strength=0.5)

    assert job.is_succeeded
    assert (estimate.images, estimate.pixels) == (1, 256 * 256)


def test_repeats_make_no_second_job_and_250_jobs_are_listed(appliance: Appliance) -> None:
    # Of another account, so that nobody else's jobs come in between.
    with Darkroom(f"http://127.0.0.1:{appliance.port}", appliance.keys[1]) as client:

        def ask(_: int) -> int:
            return client.jobs.create(prompt="x", model=MODEL, steps=1, idempotency_key="once", **SIDE).id

        with ThreadPoolExecutor(8) as pool:
            [made] = set(pool.map(ask, range(16)))
        client.jobs.wait(made)
        # As rows: asking for as many takes half a minute.
        appliance.query(
            "INSERT INTO generation_generationjob SELECT (jsonb_populate_record(job.*, jsonb_build_object("
            " 'id', 1000000 + number, 'track_id', 'page ' || number, 'artifact_group', gen_random_uuid()))).*"
            " FROM generation_generationjob job, generate_series(1, 249) number"
            " WHERE job.id = %s RETURNING id",
            [made],
        )

        listed = [job.id for job in client.jobs.list()]
        assert listed == [*range(1000249, 1000000, -1), made]
        assert [job.id for job in client.jobs.list(limit=130)] == listed[:130]
        assert [job.id for job in client.jobs.list(track_id="page 17")] == [1000017]


def test_waiting_goes_on_after_the_web_process_died(appliance: Appliance, client: Darkroom) -> None:
    job = client.jobs.create(prompt="x", model=MODEL, steps=LONG, width=512, height=512)
    killed = False
    last_step = 0

    for event in client.jobs.events(job.id, timeout=120):
        if isinstance(event, Progressed):
            last_step = max(last_step, event.step)
            if event.step and not killed:
                appliance.kill_web_worker()
                killed = True
    assert killed
    assert last_step > 1
    assert client.jobs.get(job.id).is_succeeded


def test_an_end_before_the_end(client: Darkroom) -> None:
    job = client.jobs.create(prompt="x", model=MODEL, steps=LONG, width=512, height=512)

    with pytest.raises(errors.WaitTimeout):
        client.jobs.wait(job.id, timeout=0.2)
    client.jobs.cancel(job.id)
    with pytest.raises(errors.JobCanceled):
        client.jobs.wait(job.id)
    with pytest.raises(errors.Conflict):
        client.jobs.cancel(job.id)


def test_refusals_name_their_place(client: Darkroom) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        client.control("x", [{"type": "canny", "picture": png_bytes(), "scale": 9}], model=MODEL)
    assert caught.value.field == "controls[0].scale"
    assert caught.value.request_id
    with pytest.raises(errors.ModelNotFound):
        client.text_to_image("x", model="midjourney")
    with pytest.raises(errors.NotFound):
        client.jobs.get(10**9)


def test_images_go_when_they_are_deleted(client: Darkroom) -> None:
    job = client.text_to_image("x", model=MODEL, steps=1, **SIDE)

    assert client.jobs.delete(job.id).images == ()
    with pytest.raises(errors.NotFound):
        client.jobs.download(job.images[0])


def test_models_and_usage(client: Darkroom) -> None:
    client.text_to_image("x", model=MODEL, steps=1, **SIDE)

    assert [model.name for model in client.models.list(q=MODEL)] == [MODEL]
    assert client.models.get(MODEL).kind == "checkpoint"
    used = client.usage()
    assert used.calls.limit is None
    assert used.days[0].calls == used.calls.used > 0


def test_keys_make_weaker_keys(appliance: Appliance, client: Darkroom) -> None:
    issued = client.keys.create("ci", scopes=["jobs:read"])

    with Darkroom(f"http://127.0.0.1:{appliance.port}", issued.key) as weak:
        assert weak.keys.current().name == "ci"
        with pytest.raises(errors.PermissionDenied):
            weak.text_to_image("x", model=MODEL)
        client.keys.revoke(issued.id)
        with pytest.raises(errors.AuthenticationError):
            weak.keys.current()
    assert issued.id in [key.id for key in client.keys.list()]
    assert issued.key not in repr(issued)


def test_a_model_of_this_machine_is_sent(client: Darkroom, tmp_path: Path) -> None:
    file = tmp_path / "junk.safetensors"
    file.write_bytes(b"x" * 1000)
    told: list[tuple[int, int]] = []

    begun = client.imports.start(file, name="junk", on_upload=lambda *each: told.append(each))

    assert (begun.state, begun.source, told) == ("queued", "upload", [(1000, 1000)])
    # Nobody imports on this appliance.
    assert client.imports.cancel(begun.id).state == "canceled"
    with pytest.raises(errors.ImportFailed):
        client.imports.wait(begun.id)


def test_ctrl_c_cancels_the_job(environment: dict[str, str], client: Darkroom, tmp_path: Path) -> None:
    words = ["generate", "x", "-m", MODEL, "--steps", str(LONG), "-n", "4", "--size", "512x512"]
    words += ["--track-id", "interrupted"]
    process = subprocess.Popen(
        command(*words),
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Shells start what runs in the background with Ctrl-C ignored, and a suite may be started so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def running() -> bool:
        return any(job.state == "running" for job in client.jobs.list(track_id="interrupted"))

    wait_until(running, what="the job to run")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in told
    [job] = client.jobs.list(track_id="interrupted")
    assert f"Job {job.id} is canceled." in told
    wait_until(lambda: client.jobs.get(job.id).state == "canceled", what="the job to end")


def test_the_samples_of_the_manual_run(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [sync, concurrent] = re.findall(r"```python\n(.+?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    monkeypatch.setenv("DARKROOM_URL", f"http://127.0.0.1:{appliance.port}")
    monkeypatch.setenv("DARKROOM_API_KEY", appliance.keys[0])
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "mask.png"):
        Path(name).write_bytes(png_bytes(width=256, height=256))

    def ready(sample: str) -> str:
        # There is an upscaler in every installation, but not in this one for load tests.
        ours = {
            '"http://box:8000", "dkr_..."': "",
            '"starter"': f'"{MODEL}"',
            "(path, 4)": '(path, 4, upscale={"upscaler": "lanczos"})',
        }
        for theirs, mine in ours.items():
            sample = sample.replace(theirs, mine)
        return sample

    exec(ready(sync), {})
    assert [file.suffix for file in Path("pictures").iterdir()] == [".png"]
    names: dict[str, Any] = {
        "asyncio": asyncio,
        "AsyncDarkroom": AsyncDarkroom,
        "prompts": ["a fox", "an owl"],
    }
    body = "".join(f"    {line}\n" for line in ready(concurrent).splitlines())
    exec(f"async def sample():\n{body}    return jobs\n", names)
    assert [job.state for job in asyncio.run(names["sample"]())] == ["succeeded", "succeeded"]


def test_the_command_from_login_to_logout(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, stdin: str = "") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        return main(words), capfd.readouterr().out

    key, url = appliance.keys[0], f"http://127.0.0.1:{appliance.port}"
    assert run("usage")[0] == FAILED
    assert run("login", url, stdin="dkr_wrong\n")[0] == AUTHENTICATION
    assert run("usage")[0] == FAILED, "a key that does not work was saved"
    assert "Logged in" in run("login", url, stdin=f"{key}\n")[1]
    told = json.loads(run("generate", "a fox", "--steps", "2", "--size", "256", "--json")[1])
    assert (tmp_path / told["files"][0]).read_bytes().startswith(b"\x89PNG")
    assert run("jobs", "list", "-n", "1")[1].split("\t")[:2] == [str(told["id"]), "succeeded"]
    assert run("jobs", "show", str(told["id"]))[1].startswith("job")
    assert run("models", "list")[1].split("\t")[0] == MODEL
    assert key not in run("keys", "list")[1]
    assert run("logout")[0] == OK
    assert run("usage")[0] == FAILED
