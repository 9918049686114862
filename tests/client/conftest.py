from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.cli.main import main
from tests.client.running import Command, Ran
from tests.client.scripted import ScriptedServer

VARIABLES = ("DARKROOM_URL", "DARKROOM_API_KEY", "DARKROOM_PROFILE", "HTTP_PROXY", "http_proxy", "NO_COLOR")


@pytest.fixture(autouse=True)
def nobody_in_particular(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable and no saved profile of whoever runs the tests; where profiles would be saved."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "darkroom" / "profiles.json"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Answers as the test tells it."""
    made = ScriptedServer()
    with made.serving():
        yield made


@pytest.fixture
def run(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command in an empty folder, with the server and a key in the environment."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DARKROOM_URL", server.url)
    monkeypatch.setenv("DARKROOM_API_KEY", "dkr_test")
    monkeypatch.setattr("darkroom.core.Core.backoff_s", lambda *args: 0.0)

    def command(*words: str) -> Ran:
        code = main(words)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return command
