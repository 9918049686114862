"""What the appliance reads from its environment, and what it hands to its processes.

The only reader of `os.environ` under `deploy/` (`debian.py` passes it on). Standard library only: preflight
uses it before anything is installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Names that no process of the appliance should inherit: they would redirect psql and libpq behind our back.
_NOT_INHERITED = (
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGSERVICE",
    "PGOPTIONS",
)


class SettingError(Exception):
    """A variable has a value that cannot be used; the message names it and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The operator's choices at start."""

    home: Path
    """Absolute path of the folder with all state."""
    port: int
    bind: str
    """Address that the web process listens on."""
    device: str
    runtime: str
    """`torch`, or `fake` for load tests."""
    base_url: str
    """What clients type before `/api`, without a slash at the end."""
    database_url: str | None
    """An external PostgreSQL; None asks for a private cluster."""

    @property
    def local_url(self) -> str:
        """Where this machine reaches the web process, whatever proxy stands before it."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::", "") else self.bind  # noqa: S104  # compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def secrets_dir(self) -> Path:
        """Folder of the generated secrets, readable by the owner alone."""
        return self.home / "secrets"

    @property
    def logs_dir(self) -> Path:
        """Folder of one log file a process."""
        return self.home / "logs"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor that owns this home; holds its process id."""
        return self.home / "supervisor.lock"


def read_environment(environ: Mapping[str, str] | None = None) -> Environment:
    """The choices in `environ` (the process's own by default). Raises SettingError."""
    source = os.environ if environ is None else environ
    port = _port(source.get("DARKROOM_PORT") or "8000")
    runtime = source.get("DARKROOM_RUNTIME") or "torch"
    if runtime not in ("torch", "fake"):
        raise SettingError(f"DARKROOM_RUNTIME must be torch or fake, not {runtime!r}")
    home = source.get("DARKROOM_HOME")
    return Environment(
        home=Path(home).expanduser().absolute() if home else default_home(source, os.geteuid()),
        port=port,
        bind=source.get("DARKROOM_BIND") or "127.0.0.1",
        device=source.get("DARKROOM_DEVICE") or "auto",
        runtime=runtime,
        base_url=(source.get("DARKROOM_BASE_URL") or f"http://127.0.0.1:{port}").rstrip("/"),
        database_url=source.get("DATABASE_URL") or None,
    )


def default_home(environ: Mapping[str, str], user_id: int) -> Path:
    """Where state goes if the operator does not say: /var/lib for root, the user's data folder otherwise."""
    if user_id == 0:
        return Path("/var/lib/darkroom")
    data = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "darkroom"


def child_environment(environment: Environment, *, database_url: str) -> dict[str, str]:
    """The variables of every process of the appliance: the operator's own, and ours made explicit."""
    variables = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    variables |= {
        "DATABASE_URL": database_url,
        "DARKROOM_HOME": str(environment.home),
        "DARKROOM_PORT": str(environment.port),
        "DARKROOM_BIND": environment.bind,
        "DARKROOM_BASE_URL": environment.base_url,
        "DARKROOM_DEVICE": environment.device,
        "DARKROOM_RUNTIME": environment.runtime,
        # torch's threads must sleep, not spin, while they wait: a busy neighbour otherwise slows them 10-40x.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
    for name, file in (("DARKROOM_SECRET_KEY", "secret_key"), ("DARKROOM_KEY_PEPPER", "key_pepper")):
        if name not in variables:
            variables.setdefault(f"{name}_FILE", str(environment.secrets_dir / file))
    return variables


def tool_environment() -> dict[str, str]:
    """The variables of a tool that runs by itself, without database and state."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def find_variable(name: str) -> str | None:
    """One variable of the process's own environment; None if unset or empty."""
    return os.environ.get(name) or None


def _port(raw: str) -> int:
    if raw.isdecimal() and 1 <= int(raw) <= 65535:
        return int(raw)
    raise SettingError(f"DARKROOM_PORT must be a whole number from 1 to 65535, not {raw!r}")
