"""Lines of the children in their files: text with the time, JSON as it is."""

from __future__ import annotations

import json
import logging.config
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from deploy.appliance.logs import LogSink
from deploy.appliance.terminal import Terminal

GUNICORN = Path(__file__).resolve().parents[2] / "deploy" / "gunicorn.conf.py"


def test_text_gets_its_time_and_json_stays_json(tmp_path: Path) -> None:
    sink = LogSink(tmp_path, Terminal(), on_screen=False)
    sink.write("web", b"12:00:00 INFO ready")
    sink.write("web", b'{"at": "2026-03-02T12:00:00", "message": "ready"}')
    text, line = sink.path("web").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 12:00:00 INFO ready", text)
    assert json.loads(line)["message"] == "ready"
    assert sink.tail("web") == ["12:00:00 INFO ready", line]


def test_gunicorns_own_lines_are_json_where_all_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gunicorn.glogging import CONFIG_DEFAULTS

    monkeypatch.setenv("DARKROOM_LOG_FORMAT", "json")
    chosen: dict[str, Any] = runpy.run_path(str(GUNICORN))["logconfig_dict"]
    # What gunicorn does with it, but for the root logger, which is pytest's.
    config = CONFIG_DEFAULTS | chosen
    config.pop("root")
    logging.config.dictConfig(config)
    logging.getLogger("gunicorn.error").warning("worker %d\nis gone", 7)
    assert json.loads(capsys.readouterr().err)["message"] == "worker 7\nis gone"
    monkeypatch.setenv("DARKROOM_LOG_FORMAT", "text")
    assert "logconfig_dict" not in runpy.run_path(str(GUNICORN))
