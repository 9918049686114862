"""A PostgreSQL cluster of our own: made, started, stopped and healed here, reached by unix socket only.

Used by the supervisor (which runs `command()` as one of its children), by the test run and by fault drills
(which `start()` and `stop()` throw-away clusters). Knows nothing about Django or what the database holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg

from deploy.appliance.minimums import GIB
from deploy.appliance.postgres_binaries import ensure_binaries
from deploy.appliance.secret_files import ensure_secret
from deploy.appliance.terminal import Step

_PORT: Final = 5432  # names the socket file; nothing listens on TCP
_SOCKET_PATH_MAX: Final = 107  # bytes of sockaddr_un.sun_path, less the final zero
_KILL_WAIT_S: Final = 10.0
_ADMIN: Final = "darkroom_admin"
_CHILD_EXEC: Final = Path(__file__).with_name("child_exec.py")


class ClusterError(Exception):
    """The cluster cannot be made or started; the message says why and what to do."""


class PrivateCluster:
    """One data directory and at most one server on it.

    Every method may be called again, and from any process that may write the folders; whoever calls `start()`
    or runs `command()` owns the server, which ends with it.
    """

    def __init__(
        self,
        home: Path,
        *,
        data_dir: Path | None = None,
        socket_dir: Path | None = None,
        fsync: bool = True,
        name: str = "darkroom",
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Only computes paths; `ensure()` makes them.

        `name` is both the role and the database. `settings` are added to PostgreSQL's configuration.
        """
        self.home = home.absolute()
        self.name = name
        self.fsync = fsync
        self.max_connections = max_connections
        self.user = unprivileged_user()
        """Account that the server runs as when we are root; None otherwise."""
        self.note: str | None = None
        """What the operator should know about where the data lies."""
        self.data_dir = data_dir.absolute() if data_dir else self._base_dir() / "data"
        self.socket_dir = socket_dir.absolute() if socket_dir else self._socket_dir()
        self.log_file = self.data_dir.parent / "server.log"
        self._settings = dict(settings or {})
        self._password_file = self.home / "secrets" / "postgres_password"
        self._binaries: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """DATABASE_URL of the application's role. Needs `ensure()` to have run once."""
        password = quote(ensure_secret(self._password_file), safe="")
        return (
            f"postgresql://{self.name}:{password}@/{self.name}?host={quote(str(self.socket_dir), safe='/')}"
        )

    @property
    def pid(self) -> int | None:
        """Process id of the running server, or None."""
        process = self._find_server()
        return process.pid if process else None

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        return self._find_server() is not None and self._read_pid_file()[7:8] == ["ready"]

    def ensure(self, step: Step | None = None) -> None:
        """Makes folders, cluster, role and database where they are missing; writes the settings."""
        major = self._data_major()
        self._binaries = self._reachable_binaries(ensure_binaries(major, step))
        self.make_folders()
        if major is None:
            self._initialise(step)
        self._write_settings()

    def make_folders(self) -> None:
        """Those that hold the data and the socket, for the server's account alone. Raises ClusterError."""
        self._make_folder(self.data_dir.parent)
        self._make_folder(self.socket_dir)

    def command(self) -> list[str]:
        """The server as a foreground program that stops when the caller's process ends."""
        if self._binaries is None:
            raise ClusterError("ensure() must come before command()")
        return [
            sys.executable, "-I", "-S", str(_CHILD_EXEC), str(os.getpid()), str(int(signal.SIGINT)),
            self.user or "-", str(self._binaries / "postgres"), "-D", str(self.data_dir),
        ]  # fmt: skip

    def clear_leftovers(self) -> None:
        """Ends what a dead server left behind, so that the next one can start.

        A killed server's backends may outlive it and keep its shared memory; its lock files name a process id
        that may since belong to anybody. Nothing but processes of this very data directory is touched.
        """
        deadline_s = time.monotonic() + _KILL_WAIT_S
        while leftovers := self._list_processes():
            if time.monotonic() > deadline_s:
                raise ClusterError(
                    f"processes of {self.data_dir} do not end: {[left.pid for left in leftovers]}"
                )
            for process in leftovers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.01)
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        for lock in self.socket_dir.glob(f".s.PGSQL.{_PORT}*"):
            lock.unlink(missing_ok=True)

    def start(self, *, timeout_s: float = 30.0) -> None:
        """Returns when the server accepts connections; does nothing if it does already.

        It ends with the thread that started it. Raises ClusterError.
        """
        if self._answers():
            return
        self.ensure()
        self.clear_leftovers()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.data_dir.parent,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready(timeout_s=timeout_s, process=self._process)

    def wait_ready(self, *, timeout_s: float = 30.0, process: subprocess.Popen[bytes] | None = None) -> None:
        """Returns when connections are accepted. Raises ClusterError when `process` ends or time is up."""
        deadline_s = time.monotonic() + timeout_s
        while not self.is_running():
            if process is not None and process.poll() is not None:
                raise ClusterError(f"PostgreSQL ended while starting: {self._log_tail()}")
            if time.monotonic() > deadline_s:
                raise ClusterError(f"PostgreSQL was not ready after {timeout_s:.0f} s: {self._log_tail()}")
            time.sleep(0.02)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """Fast shutdown: clients are disconnected, data is written; harder after `grace_s`. Idempotent."""
        for stop_signal, wait_s in ((signal.SIGINT, grace_s), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            server = self._find_server()
            if server is None:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                server.send_signal(stop_signal)
            self._wait_gone(server, wait_s)
        if self._process is not None:
            self._process.wait(timeout=5)
            self._process = None

    def destroy(self) -> None:
        """Stops the server and deletes the cluster: for throw-away ones."""
        self.stop(grace_s=2)
        self.clear_leftovers()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    # --- places ---

    def _base_dir(self) -> Path:
        wanted = self.home / "postgres"
        if self.user is None or is_reachable(wanted, self.user):
            return wanted
        moved = Path(f"/var/lib/darkroom-{_digest(self.home)}")
        self.note = f"{self.home} is closed to the account {self.user!r}, so the database lies in {moved}"
        return moved

    def _socket_dir(self) -> Path:
        beside = self.data_dir.parent / "run"
        if len(os.fsencode(beside / f".s.PGSQL.{_PORT}.lock")) <= _SOCKET_PATH_MAX:
            return beside
        root = Path("/run") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
        return root / f"darkroom-{os.geteuid()}-{_digest(self.data_dir)}"

    def _make_folder(self, folder: Path) -> None:
        """A folder of mode 0700 that the server's account owns. Raises ClusterError if it is another's."""
        if self.user is not None and not is_reachable(folder, self.user):
            raise ClusterError(
                f"{folder} is closed to the account {self.user!r}; choose a folder that it can reach"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = pwd.getpwnam(self.user).pw_uid if self.user else os.geteuid()
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise ClusterError(
                f"{folder} belongs to another account; remove it or choose another DARKROOM_HOME"
            )
        os.chown(folder, owner, -1)
        folder.chmod(0o700)

    def _reachable_binaries(self, binaries: Path) -> Path:
        """`binaries`, or a copy where the server's account can run them (a venv below a closed home)."""
        if self.user is None or is_reachable(binaries, self.user):
            return binaries
        copy = Path(f"/var/lib/darkroom-{_digest(binaries)}") / "postgresql"
        if not (copy / "bin" / "postgres").exists():
            shutil.copytree(
                binaries.parent, copy.with_name("postgresql.new"), symlinks=True, dirs_exist_ok=True
            )
            copy.with_name("postgresql.new").replace(copy)
        return copy / "bin"

    # --- making the cluster ---

    def _data_major(self) -> int | None:
        try:
            return int((self.data_dir / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    def _initialise(self, step: Step | None) -> None:
        """Builds the cluster beside its place and moves it there whole: a crash leaves nothing half made."""
        if step is not None:
            step.detail = "creating the cluster"
        draft = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self.data_dir.parent, prefix="password-") as password:
            password.write(ensure_secret(self.home / "secrets" / "postgres_admin_password") + "\n")
            password.flush()
            if self.user:
                os.chown(password.name, pwd.getpwnam(self.user).pw_uid, -1)
            # Sorting by code point never changes with the C library: indexes survive a system upgrade.
            self._run(
                "initdb", "-D", str(draft), "--username", _ADMIN, "--pwfile", password.name,
                "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C",
                "--lc-ctype=C.UTF-8", "--no-instructions",
                *([] if self.fsync else ["--no-sync"]),
            )  # fmt: skip
        # A server without clients: the role exists before the first connection can be made.
        password_text = ensure_secret(self._password_file)
        self._run(
            "postgres", "--single", "-c", "exit_on_error=on", "-D", str(draft), "postgres",
            stdin=f"CREATE ROLE \"{self.name}\" LOGIN CREATEDB PASSWORD '{password_text}';\n"
            f'CREATE DATABASE "{self.name}" OWNER "{self.name}";\n',
        )  # fmt: skip
        with (draft / "postgresql.conf").open("a") as configuration:
            configuration.write(
                "\n# Written at every start. Lines below it are yours and win.\ninclude 'darkroom.conf'\n"
            )
        draft.replace(self.data_dir)

    def _write_settings(self) -> None:
        """Writes darkroom.conf. A changed value takes effect at the next start."""
        switch = "on" if self.fsync else "off"
        values = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "port": str(_PORT),
            "max_connections": str(self.max_connections),
            "shared_buffers": f"{shared_buffers_mib(psutil.virtual_memory().total)}MB",
            "fsync": switch,
            "full_page_writes": switch,
            "synchronous_commit": switch,
            "max_wal_size": "1GB",
            # Every query is short; compiling one costs more than it saves.
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
        } | self._settings
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in values.items()]
        path = self.data_dir / "darkroom.conf"
        path.write_text(
            "# Written by Darkroom at every start; your own settings go into postgresql.conf.\n"
            + "\n".join(lines)
            + "\n"
        )
        path.chmod(0o600)
        os.chown(path, self.data_dir.stat().st_uid, self.data_dir.stat().st_gid)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        assert self._binaries is not None
        account = pwd.getpwnam(self.user) if self.user else None
        answer = subprocess.run(
            [str(self._binaries / program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.data_dir.parent,
            env=clean_environment(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if answer.returncode != 0:
            raise ClusterError(f"{program} failed: {answer.stderr.strip() or answer.stdout.strip()}")

    # --- the running server ---

    def _read_pid_file(self) -> list[str]:
        """postmaster.pid: process id, data directory, start, port, socket, address, memory, status."""
        try:
            return [line.strip() for line in (self.data_dir / "postmaster.pid").read_text().splitlines()]
        except OSError:
            return []

    def _find_server(self) -> psutil.Process | None:
        lines = self._read_pid_file()
        if not lines or not lines[0].isdecimal():
            return None
        try:
            process = psutil.Process(int(lines[0]))
            return process if self._is_ours(process) else None
        except psutil.Error:
            return None

    def _answers(self) -> bool:
        """As `is_running()`, but a server that was killed a moment ago does not count.

        A running server that refuses us (all connections taken) does: it must not be taken for dead.
        """
        deadline_s = time.monotonic() + 1.0
        while self.is_running():
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() < deadline_s:
                    time.sleep(0.02)
                    continue
            return True
        return False

    def _list_processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self._is_ours(process):
                    found.append(process)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether it is a live server process of this data directory, which PostgreSQL works in."""
        if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
            return False
        return Path(process.cwd()) == self.data_dir.resolve()

    def _wait_gone(self, server: psutil.Process, wait_s: float) -> None:
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            if self._process is not None:
                self._process.poll()  # reap it, or it would stay a zombie of ours
            with contextlib.suppress(psutil.NoSuchProcess):
                if server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.02)
                    continue
            return

    def _log_tail(self) -> str:
        try:
            return " / ".join(self.log_file.read_text(errors="replace").splitlines()[-3:])
        except OSError:
            return "no log"


def unprivileged_user() -> str | None:
    """The account to run PostgreSQL as when we are root, which it refuses; None if we are not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def is_reachable(path: Path, user: str) -> bool:
    """Whether `user` can pass through every existing folder above `path`."""
    user_id = pwd.getpwnam(user).pw_uid
    for folder in path.absolute().parents:
        with contextlib.suppress(FileNotFoundError):
            found = folder.stat()
            needed = stat.S_IXUSR if found.st_uid == user_id else stat.S_IXOTH
            if not found.st_mode & needed:
                return False
    return True


def shared_buffers_mib(memory_bytes: int) -> int:
    """A sixteenth of the memory, 64 MiB to 1 GiB: the rest belongs to weights and the page cache."""
    return max(64, min(1024, memory_bytes // 16 * 1024 // GIB))


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]


def clean_environment() -> dict[str, str]:
    """For PostgreSQL's own programs: nothing of ours, so no PG* variable changes what they do."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
