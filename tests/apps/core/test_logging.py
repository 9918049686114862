"""Log lines as JSON: one line an event, with the request and the job that it was for."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from apps.config.log import logging_settings
from apps.core.logging import JsonFormatter, RequestIdFilter, job_id, request_id, working_for


def line_of(message: str, *arguments: object, **fields: Any) -> dict[str, Any]:
    """What the JSON format makes of one record."""
    record = logging.LogRecord(
        "apps.test", logging.INFO, "x.py", 1, message, arguments, fields.pop("exc_info", None)
    )
    for name, value in fields.items():
        setattr(record, name, value)
    RequestIdFilter().filter(record)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_says_when_what_and_how_bad() -> None:
    line = line_of("job %d\nis made: %s", 7, "é")
    assert line.pop("at").endswith("+00:00") and line.pop("process") > 0
    assert line == {"level": "info", "logger": "apps.test", "message": "job 7\nis made: é"}


def test_lines_name_the_request_and_the_job_they_are_for() -> None:
    with working_for(request="req_1", job=7):
        line = line_of("made", attempt=2)
    assert (line["request_id"], line["job_id"], line["attempt"]) == ("req_1", 7, 2)
    assert (request_id.get(), job_id.get()) == ("", None)
    assert "job_id" not in line_of("nothing to do")


def test_what_was_set_is_unset_when_the_work_breaks() -> None:
    with pytest.raises(ZeroDivisionError), working_for(request="req_1", job=7):
        raise ZeroDivisionError
    assert (request_id.get(), job_id.get()) == ("", None)


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = line_of("failed", exc_info=sys.exc_info())
    assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: broken")


def test_what_json_cannot_hold_is_shown() -> None:
    assert line_of("x", path={1})["path"] == "{1}"


@pytest.mark.parametrize("line_format", ["text", "json"])
def test_the_operator_chooses_the_format(line_format: str) -> None:
    chosen = logging_settings(level="INFO", line_format=line_format)
    assert chosen["handlers"]["stderr"]["formatter"] == line_format
    assert line_format in chosen["formatters"]
