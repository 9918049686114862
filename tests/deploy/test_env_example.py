"""deploy/env.example lists what the product reads: no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from apps.config.env import names_read

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
READ = re.compile(r"""(?:environ\.get|source\.get|find_variable)\(\s*"([A-Z][A-Z0-9_]+)"\s*""")
# Conventions of desktops and terminals; nobody sets them for us.
FOREIGN = {"XDG_DATA_HOME", "COLORTERM"}


def names_read_by_deploy() -> set[str]:
    files = [*DEPLOY.glob("appliance/*.py"), DEPLOY / "gunicorn.conf.py"]
    return {name for file in files for name in READ.findall(file.read_text())} - FOREIGN


def test_every_setting_is_listed_once_and_nothing_else_is() -> None:
    # Loaded by the test run's django.setup(), which reads every setting.
    read = names_read | names_read_by_deploy()
    listed = NAME.findall((DEPLOY / "env.example").read_text())
    assert sorted(listed) == sorted(read)


def test_every_setting_has_a_comment() -> None:
    paragraphs = re.split(r"\n\s*\n", (DEPLOY / "env.example").read_text())
    bare = [text for text in paragraphs if NAME.search(text) and not text.startswith("# ")]
    assert bare == []


def test_nothing_is_set_by_default() -> None:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
