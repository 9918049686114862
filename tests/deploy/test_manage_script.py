"""deploy/manage: management commands from wherever the operator stands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHOW = """
import os
from django.conf import settings
print(os.getcwd(), settings.HOME_DIR, settings.MODEL_DIR, settings.SECRET_KEY, sep="\\n")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """State of an appliance, as far as a command without a database needs it."""
    secrets = tmp_path / "home" / "secrets"
    secrets.mkdir(parents=True)
    for name in ("secret_key", "key_pepper"):
        (secrets / name).write_text(name * 10)
    return tmp_path / "home"


def manage(folder: Path, home: str, *arguments: str, **variables: str) -> list[str]:
    if not (REPOSITORY / ".venv" / "bin" / "python").exists():
        pytest.skip("there is no .venv as deploy/quickstart makes it")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    answer = subprocess.run(
        [str(REPOSITORY / "deploy" / "manage"), *arguments],
        cwd=folder,
        env={
            **inherited,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "DARKROOM_HOME": home,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_commands_run_where_the_operator_stands(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    folder.mkdir()
    here, home_dir, _, secret = manage(folder, str(home), "shell", "--no-imports", "-c", SHOW)
    assert (here, home_dir, secret) == (str(folder), str(home), "secret_key" * 10)


def test_relative_settings_mean_the_folder_that_the_appliance_runs_in(home: Path, tmp_path: Path) -> None:
    relative = os.path.relpath(home, REPOSITORY)
    model_dir = os.path.relpath(tmp_path / "models", REPOSITORY)
    shown = manage(tmp_path, relative, "shell", "--no-imports", "-c", SHOW, DARKROOM_MODEL_DIR=model_dir)
    assert [os.path.normpath(path) for path in shown[:3]] == [
        str(tmp_path),
        str(home),
        str(tmp_path / "models"),
    ]
