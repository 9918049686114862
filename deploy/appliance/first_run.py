"""From an empty folder to the first image, told step by step, while the supervisor keeps the processes alive.

Runs in a thread beside the supervisor's loop. Knows the order of things; how each is done lies elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.appliance.children import application_children, postgres_child
from deploy.appliance.environment import REPOSITORY, Environment, child_environment
from deploy.appliance.heartbeat_watch import watch_heartbeat
from deploy.appliance.http_calls import NoAnswerError, get_bytes, get_json, post_json
from deploy.appliance.postgres import ClusterError, PrivateCluster
from deploy.appliance.postgres_binaries import BinariesError
from deploy.appliance.secret_files import ensure_secret
from deploy.appliance.summary import Facts, FirstImage, print_summary
from deploy.appliance.supervisor import Supervisor
from deploy.appliance.terminal import Step, Terminal

PROMPT: Final = "a 3d red apple on a blue background"
ENDPOINT: Final = "/api/v7/images/text-to-image"
INTERRUPTED: Final = 130
"""Exit status if somebody stopped it first."""
READY_TIMEOUT_S: Final = 300.0
IMAGE_TIMEOUT_S: Final = 600.0
RESTARTS_TOLERATED: Final = 3
"""A process that died this often before it was ever ready will not get better."""
_GOOD_STATES: Final = ("ok", "ready")
_POLL_S: Final = 0.2


class FirstRunError(Exception):
    """The first image could not be made; the message says at which point and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """What `manage.py bootstrap --json` reports."""

    operator_email: str
    operator_password: str | None
    """Only when the operator was created just now."""
    api_key: str | None
    """Only when the key was created just now."""
    plan: str
    calls_per_day: int | None
    """None is no limit."""
    model_id: str | None
    """Checkpoint of the first image; None if none is registered and the starter model is not there."""


class FirstRun:
    """One pass from nothing to the first image."""

    def __init__(
        self, environment: Environment, supervisor: Supervisor, terminal: Terminal, *, once: bool
    ) -> None:
        self.exit_status = INTERRUPTED
        self.everything_ended = threading.Event()
        """Set by the supervisor's thread after its last child has ended."""
        self._environment = environment
        self._supervisor = supervisor
        self._terminal = terminal
        self._once = once
        self._key_file = environment.secrets_dir / "quickstart_key"

    def run(self) -> None:
        """Does everything; asks the supervisor to stop if that fails, or when `once` has been served."""
        try:
            self._make_first_image()
        except (FirstRunError, ClusterError, BinariesError) as error:
            self._give_up(str(error))
        except Exception:  # noqa: BLE001  # the edge of this thread: without it the appliance would hang in silence
            self._give_up(traceback.format_exc())
        else:
            self.exit_status = 0
            if self._once:
                self._stop_everything()
            else:
                self._supervisor.sink.on_screen = True
                watch_heartbeat(self._environment, self._supervisor)

    def _make_first_image(self) -> None:
        environment, terminal = self._environment, self._terminal
        terminal.heading("Starting Darkroom", f"everything it keeps is in {environment.home}")
        if environment.runtime == "fake":
            terminal.warn("DARKROOM_RUNTIME=fake: no model is loaded, the pictures are test patterns")
        for name in ("secret_key", "key_pepper"):
            ensure_secret(environment.secrets_dir / name)
        database_url = environment.database_url or self._start_postgres()
        variables = child_environment(environment, database_url=database_url)
        found = self._prepare(variables)
        facts = Facts(
            environment=environment,
            bootstrap_email=found.operator_email,
            bootstrap_password=found.operator_password,
            api_key=self._key_file.read_text(encoding="utf-8").strip(),
            key_is_new=found.api_key is not None,
            key_file=self._key_file,
            plan=found.plan,
            calls_per_day=found.calls_per_day,
            endpoint=ENDPOINT,
            payload={"model_id": found.model_id, "prompt": PROMPT},
        )
        image = None
        try:
            self._start_application(variables)
            if found.model_id is None:
                raise FirstRunError(
                    "there is no model to draw with: gpu_runtime/starter is missing from this checkout"
                )
            image = self._draw(facts)
        finally:
            # Even if the image failed: a password that was made just now is never shown again.
            if image is not None or facts.bootstrap_password or facts.key_is_new:
                print_summary(terminal, facts, image, is_running=not self._once and image is not None)

    # --- the steps ---

    def _start_postgres(self) -> str:
        cluster = PrivateCluster(self._environment.home)
        with self._terminal.step("PostgreSQL (private, by socket only)") as step:
            cluster.ensure(step)
            step.detail = ""
            self._supervisor.add(postgres_child(cluster))
            self._wait_until(cluster.is_running, 60.0, "PostgreSQL", ("pg",))
        if cluster.note:
            self._terminal.warn(cluster.note)
        return cluster.url

    def _prepare(self, variables: dict[str, str]) -> Bootstrap:
        """Migrations, plans, the starter model, the operator and a key, in one process."""
        command = [
            sys.executable, "-m", "deploy.appliance.django_commands", "migrate", "--noinput",
            "--", "install_schedules", "--", "bootstrap", "--json", "--key-file", str(self._key_file),
        ]  # fmt: skip
        lines: list[str] = []
        with self._terminal.step("Tables, plans, starter model, operator, key") as step:
            with subprocess.Popen(
                command, cwd=REPOSITORY, env=variables, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line.rstrip())
                    if not line.startswith("{"):
                        step.detail = line.strip()
            if process.returncode != 0:
                raise FirstRunError("preparing the database failed:\n" + _indented(lines[-12:]))
        return parse_bootstrap(lines)

    def _start_application(self, variables: dict[str, str]) -> None:
        """Starts the processes; returns when a generation request would be worked on."""
        waiting = application_children(self._environment, variables)
        with self._terminal.step("GPU worker, web server, housekeeping") as step:
            for _ in ("gpu", "web"):
                self._supervisor.add(waiting.pop(0))

            def is_ready() -> bool:
                try:
                    status, body = get_json(f"{self._environment.local_url}/readyz")
                except NoAnswerError:
                    step.detail = "the web server is starting"
                    return False
                # On two cores a third Django starting at once would delay the two that the image needs.
                while waiting:
                    self._supervisor.add(waiting.pop(0))
                step.detail = describe_checks(body)
                return status == 200

            self._wait_until(is_ready, READY_TIMEOUT_S, "the appliance", ("web", "gpu", "house"), step)

    def _draw(self, facts: Facts) -> FirstImage:
        environment = self._environment
        with self._terminal.step(f"Drawing “{PROMPT}”") as step:
            payload = {"key": facts.api_key, **facts.payload}
            body = self._post(environment.local_url + ENDPOINT, payload)
            deadline_s = time.monotonic() + IMAGE_TIMEOUT_S
            while body.get("status") == "processing":
                if time.monotonic() > deadline_s:
                    raise FirstRunError(f"the first image was not ready after {IMAGE_TIMEOUT_S:.0f} s")
                step.detail = f"about {body.get('eta') or '?'} s to go"
                time.sleep(0.5)
                fetch = self._local(str(body["fetch_result"]))
                body = {"fetch_result": body["fetch_result"]} | self._post(fetch, {"key": facts.api_key})
            output = body.get("output")
            if body.get("status") != "success" or not output:
                raise FirstRunError(f"the first image failed: {body.get('message') or body}")
            path = self._download(self._local(str(output[0])))
            return FirstImage(path=path, size_px=png_size(path.read_bytes()), elapsed_s=step.elapsed_s)

    def _download(self, url: str) -> Path:
        status, content = get_bytes(url)
        if status != 200 or png_size(content) is None:
            raise FirstRunError(f"{url} answered {status} with {len(content)} bytes that are no PNG")
        path = self._environment.home / "first-image.png"
        draft = path.with_suffix(".part")
        draft.write_bytes(content)
        draft.replace(path)
        return path

    # --- plumbing ---

    def _post(self, url: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            status, body = post_json(url, payload, timeout_s=120)
        except NoAnswerError as error:
            raise FirstRunError(f"{url} did not answer: {error}") from None
        if status != 200:
            raise FirstRunError(f"{url} answered {status}: {body.get('message') or body}")
        return body

    def _local(self, url: str) -> str:
        """The same resource without the detour through a proxy that DARKROOM_BASE_URL may name."""
        base = self._environment.base_url
        return self._environment.local_url + url.removeprefix(base) if url.startswith(base) else url

    def _wait_until(
        self, condition: Any, timeout_s: float, what: str, names: tuple[str, ...], step: Step | None = None
    ) -> None:
        """Polls `condition`; FirstRunError when time is up or one of the children keeps dying."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            for name in names:
                child = self._supervisor.children.get(name)
                if child is not None and child.restarts >= RESTARTS_TOLERATED:
                    raise FirstRunError(self._last_words(f"{name} does not stay up", name))
            if time.monotonic() > deadline_s:
                detail = f" ({step.detail})" if step and step.detail else ""
                raise FirstRunError(f"{what} was not ready after {timeout_s:.0f} s{detail}")
            time.sleep(_POLL_S)

    def _last_words(self, text: str, name: str) -> str:
        sink = self._supervisor.sink
        return f"{text}; the end of {sink.path(name)}:\n{_indented(sink.tail(name))}"

    def _give_up(self, reason: str) -> None:
        if self._supervisor.is_stopping:  # Ctrl-C: what broke, broke because of that
            return
        self.exit_status = 1
        self._terminal.line()
        self._terminal.failed(reason)
        self._terminal.line(f"  Logs of every process: {self._supervisor.sink.folder}")
        self._stop_everything()

    def _stop_everything(self) -> None:
        with self._terminal.step("Stopping"):
            self._supervisor.request_stop()
            self.everything_ended.wait()


def parse_bootstrap(lines: list[str]) -> Bootstrap:
    """The report among the output of the management commands. Raises FirstRunError if there is none."""
    report = next((line for line in reversed(lines) if line.startswith("{")), None)
    if report is None:
        raise FirstRunError("manage.py bootstrap reported nothing:\n" + _indented(lines[-12:]))
    fields: dict[str, Any] = json.loads(report)
    return Bootstrap(
        operator_email=fields["operator_email"],
        operator_password=fields["operator_password"],
        api_key=fields["api_key"],
        plan=fields["plan"],
        calls_per_day=fields["calls_per_day"],
        model_id=fields.get("model_id"),
    )


def describe_checks(body: dict[str, Any]) -> str:
    """What /readyz is still waiting for, in a few words."""
    checks = body.get("checks")
    if not isinstance(checks, dict):
        return ""
    states = {
        name: check.get("state") if isinstance(check, dict) else check for name, check in checks.items()
    }
    return "; ".join(
        f"{name.replace('_', ' ')} {state}" for name, state in states.items() if state not in _GOOD_STATES
    )


def png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, from its header; None if it is none."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _indented(lines: list[str]) -> str:
    return "\n".join(f"      {line}" for line in lines)
