"""A real appliance in processes: PostgreSQL, gunicorn and GPU clusters under the product's supervisor.

Everything lies in one folder and on loopback, and ends with `stop()`, or with the process that started it.
What dies is started again, as in production; the methods here make things die. For one thread.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg

from deploy.appliance.children import application_children
from deploy.appliance.environment import REPOSITORY, Environment, child_environment
from deploy.appliance.postgres import PrivateCluster
from deploy.appliance.secret_files import ensure_secret
from deploy.appliance.supervisor import ChildSpec
from tests.harness.http_client import UNREACHABLE, Client
from tests.harness.prepared import start_with_tables
from tests.harness.waits import wait_until

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0
GPU_COMMAND = (str(REPOSITORY / "manage.py"), "gpu_cluster")
_CHILD_EXEC = REPOSITORY / "deploy" / "appliance" / "child_exec.py"

Row = tuple[Any, ...]


@contextmanager
def drill_folder(*, parent: str | None = None) -> Iterator[Path]:
    """A temporary folder that PostgreSQL's account can pass through; pytest's own is closed to it."""
    with tempfile.TemporaryDirectory(
        prefix="darkroom-drill-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


class Appliance:
    """`with Appliance(folder) as appliance:` is ready for requests, and gone afterwards."""

    def __init__(
        self,
        folder: Path,
        *,
        step_ms: float = 0.0,
        devices: Sequence[str] = ("cpu",),
        accounts: int = 1,
        gpu_command: Sequence[str] = GPU_COMMAND,
        settings: Mapping[str, str] | None = None,
        fsync: bool = True,
        postgres: Mapping[str, str] | None = None,
        has_web: bool = True,
        has_housekeeping: bool = False,
        has_imports: bool = False,
        runtime: str = "fake",
    ) -> None:
        """`settings` are environment variables; `devices` get a GPU cluster each.

        `gpu_command` is what python runs in place of `manage.py gpu_cluster`.
        """
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        self.devices = tuple(devices)
        self.keys: list[str] = []
        """Plain texts, one an account, once entered."""
        self._accounts = accounts
        self._gpu_command = tuple(gpu_command)
        self._runtime = runtime
        self._children = [
            *(["web"] if has_web else []),
            *(["house"] if has_housekeeping else []),
            *(["imports"] if has_imports else []),
        ]
        self._settings = {"DARKROOM_FAKE_STEP_MS": f"{step_ms:g}"} | dict(settings or {})
        self._postgres = dict(postgres or {})
        self.cluster = PrivateCluster(self.home, fsync=fsync, settings=self._postgres)
        self.variables: dict[str, str] = {}
        """The environment of its processes, once entered."""
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._connection: psycopg.Connection[Row] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- life ---

    def start(self) -> None:
        """Make the database, fill it and start everything; returns when requests are served."""
        self.home.mkdir(mode=0o711, exist_ok=True)
        start_with_tables(self.cluster, self._migrate)
        self.variables = self._environment()
        self.keys = json.loads(self.run_python("-m", "tests.harness.seed", str(self._accounts)))["keys"]
        self.cluster.stop()
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps(self._plan()), encoding="utf-8")
        bind = [sys.executable, str(_CHILD_EXEC), str(os.getpid()), str(int(signal.SIGTERM)), "-"]
        self._supervisor = subprocess.Popen(
            [*bind, sys.executable, "-m", "tests.harness.supervise", str(plan)],
            cwd=REPOSITORY,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "supervise.log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(self.is_ready, what=f"an appliance ({self.folder})", timeout_s=START_TIMEOUT_S)

    def _migrate(self) -> None:
        """The tables and what stands in them from the first day."""
        self.variables = self._environment()
        self.run_python(str(REPOSITORY / "manage.py"), "migrate", "--verbosity=0")
        self.run_python(str(REPOSITORY / "manage.py"), "install_schedules", "--verbosity=0")

    def stop(self) -> None:
        """End every process that belongs to this appliance, whatever state it is in."""
        if self._connection is not None:
            self._connection.close()
        if self._supervisor is not None:
            self._thaw_all()
            self._supervisor.terminate()
            try:
                self._supervisor.wait(timeout=STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._kill_tree()
            self._supervisor = None
        self.cluster.destroy()

    def is_ready(self) -> bool:
        """Whether requests are accepted and every device has a pump."""
        assert self._supervisor is not None
        if self._supervisor.poll() is not None:
            raise RuntimeError(f"the supervisor ended: {(self.folder / 'supervise.log').read_text()[-2000:]}")
        if "web" not in self._children:
            return bool(self.query("SELECT 1"))
        try:
            with Client(self.port, timeout_s=5) as client:
                # Without a worker nobody is ready to generate.
                if client.get("/readyz" if self.devices else "/healthz").status != 200:
                    return False
        except UNREACHABLE:
            return False
        [[ready]] = self.query("SELECT count(*) FROM generation_gpuworker WHERE state = 'ready'")
        return bool(ready == len(self.devices))

    def answers(self) -> bool:
        """Whether the web process answers at all."""
        try:
            with Client(self.port, timeout_s=5) as client:
                return client.get("/healthz").status == 200
        except UNREACHABLE:
            return False

    # --- looking ---

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Rows of one statement on a connection of our own; waits for a database that is starting."""
        return wait_until(
            lambda: self._try_query(statement, parameters), what="the database", timeout_s=START_TIMEOUT_S
        )[0]

    def _try_query(self, statement: str, parameters: Sequence[object]) -> tuple[list[Row]] | None:
        """In a tuple, so that no rows are an answer, too; None when there is no database."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.cluster.url, autocommit=True, connect_timeout=5)
            cursor = self._connection.execute(statement.encode(), parameters)
            return (cursor.fetchall() if cursor.description else [],)
        except psycopg.OperationalError:
            self._connection = None
            return None

    def run_python(self, *arguments: str, check: bool = True) -> str:
        """Standard output of python in the appliance's environment. Raises RuntimeError when it fails."""
        answer = subprocess.run(
            [sys.executable, *arguments], cwd=REPOSITORY, env=self.variables, capture_output=True, text=True
        )
        if check and answer.returncode:
            raise RuntimeError(
                f"{arguments} exited with {answer.returncode}:\n{answer.stdout}{answer.stderr}"
            )
        return answer.stdout + ("" if check else answer.stderr)

    def invariants(self) -> list[str]:
        """What `manage.py invariants` complains about; empty when everything holds."""
        report = self.run_python(str(REPOSITORY / "manage.py"), "invariants", "--all", check=False)
        if "violations" not in report and "violated" not in report and "holds" in report:
            return []
        return [line.strip() for line in report.splitlines() if line.startswith("      ")] or [report]

    def logs(self, name: str) -> str:
        """Everything one child has written so far."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def process(self, name: str) -> psutil.Process:
        """The supervisor's child whose command line has `name` in it; waits while it is being restarted."""
        return wait_until(lambda: self._find_process(name), what=f"a process {name}")

    def _find_process(self, name: str) -> psutil.Process | None:
        assert self._supervisor is not None
        for child in psutil.Process(self._supervisor.pid).children():
            with suppress(psutil.Error):
                words = child.cmdline()
                if "child_exec.py" not in " ".join(words) and any(name in word for word in words):
                    return child
        return None

    def web_workers(self) -> list[psutil.Process]:
        """gunicorn's own children, at least one; waits for them."""
        return wait_until(lambda: self.process("gunicorn").children(), what="a web worker")

    def pump(self, device: str | None = None) -> psutil.Process:
        """The process that runs a device's pump; waits for it."""
        return wait_until(lambda: self._find_pump(device or self.devices[0]), what="a pump")

    def _find_pump(self, device: str) -> psutil.Process | None:
        rows = self.query(
            "SELECT pid FROM generation_gpuworker WHERE name LIKE %s AND state = 'ready'", [f"%/{device}"]
        )
        assert self._supervisor is not None
        with suppress(psutil.Error):
            for child in psutil.Process(self._supervisor.pid).children(recursive=True):
                if rows and child.pid == rows[0][0] and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    # --- killing ---

    def kill_pump(self, device: str | None = None) -> None:
        """SIGKILL to the process that holds the engine."""
        self.pump(device).kill()

    def kill_gpu_cluster(self) -> None:
        """SIGKILL to a GPU cluster's main process."""
        self.process("gpu_cluster").kill()

    def kill_web_worker(self) -> None:
        """SIGKILL to one gunicorn worker."""
        self.web_workers()[0].kill()

    def kill_web(self) -> None:
        """SIGKILL to gunicorn's master."""
        self.process("gunicorn").kill()

    def kill_postmaster(self) -> None:
        """SIGKILL to PostgreSQL's main process; its backends notice and end by themselves."""
        self._postmaster().kill()

    def kill_postgres(self) -> None:
        """SIGKILL to PostgreSQL's main process and to every one of its children."""
        postmaster = self._postmaster()
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_backend(self) -> None:
        """SIGKILL to one client's backend: PostgreSQL then restarts all of itself."""
        [[pid]] = self.query(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        )
        psutil.Process(pid).kill()

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(wait_until(lambda: self.cluster.pid, what="PostgreSQL"))

    @contextmanager
    def frozen_pump(self, device: str | None = None) -> Iterator[None]:
        """The pump's process stands still inside the block: to the others it looks dead, and is not."""
        pump = self.pump(device)
        pump.suspend()
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                pump.resume()

    # --- parts ---

    def _environment(self) -> dict[str, str]:
        environment = Environment(
            home=self.home,
            port=self.port,
            bind="127.0.0.1",
            device=self.devices[0] if self.devices else "cpu",
            runtime=self._runtime,
            base_url=f"http://127.0.0.1:{self.port}",
            database_url=None,
        )
        given = {
            name: value
            for name, value in child_environment(environment, database_url=self.cluster.url).items()
            if name not in ("DARKROOM_SECRET_KEY", "DARKROOM_KEY_PEPPER")
        }
        for name, file in (("DARKROOM_SECRET_KEY", "secret_key"), ("DARKROOM_KEY_PEPPER", "key_pepper")):
            given[name] = ensure_secret(environment.secrets_dir / file)
        settings = {
            "DARKROOM_DRAIN_GRACE_S": "1",
            "DJANGO_SETTINGS_MODULE": "apps.config.settings",
            "PYTHONPATH": str(REPOSITORY),
        }
        return given | settings | self._settings

    def _plan(self) -> dict[str, Any]:
        """What `supervise` runs: the product's own list of children, with our GPU workers."""
        environment = Environment(
            home=self.home,
            port=self.port,
            bind="127.0.0.1",
            device=self.devices[0] if self.devices else "cpu",
            runtime=self._runtime,
            base_url="",
            database_url=None,
        )
        specs = {spec.name: spec for spec in application_children(environment, self.variables)}
        children = [_child(specs[name]) for name in self._children]
        for device in self.devices:
            argv = [sys.executable, *self._gpu_command, "--device", device]
            children.append(
                {"name": f"gpu-{device.replace(':', '-')}", "argv": argv, "env": dict(specs["gpu"].env)}
            )
        return {
            "home": str(self.home),
            "fsync": self.cluster.fsync,
            "postgres": self._postgres,
            "children": children,
        }

    def _thaw_all(self) -> None:
        """A frozen process would ignore being told to stop."""
        assert self._supervisor is not None
        with suppress(psutil.Error):
            for child in psutil.Process(self._supervisor.pid).children(recursive=True):
                with suppress(psutil.Error):
                    child.resume()

    def _kill_tree(self) -> None:
        assert self._supervisor is not None
        with suppress(psutil.Error):
            family = psutil.Process(self._supervisor.pid).children(recursive=True)
            self._supervisor.kill()
            for child in family:
                with suppress(psutil.Error):
                    child.kill()
            psutil.wait_procs(family, timeout=10)
        self._supervisor.wait(timeout=10)


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _child(spec: ChildSpec) -> dict[str, Any]:
    return {"name": spec.name, "argv": list(spec.argv), "env": dict(spec.env)}


def percentiles(values: Sequence[float], points: Sequence[int] = (50, 95, 100)) -> list[float]:
    """Nearest-rank percentiles; zeros when there is nothing."""
    ordered = sorted(values)
    if not ordered:
        return [0.0] * len(points)
    return [ordered[max(0, -(-point * len(ordered) // 100) - 1)] for point in points]
