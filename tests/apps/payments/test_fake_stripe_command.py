"""`manage.py fake_stripe`, which runs the tests' server for demonstrations."""

from __future__ import annotations

import importlib
import socket
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.fake_stripe import server


def run(**options: Any) -> str:
    out = StringIO()
    call_command("fake_stripe", stdout=out, **options)
    return out.getvalue()


def test_it_says_how_to_point_the_appliance_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ask_once(self: Any) -> None:
        handler = self.RequestHandlerClass
        asked.append(len(handler.fake.store.every("webhook_endpoint")))
        raise KeyboardInterrupt

    monkeypatch.setattr(server._Server, "serve_forever", ask_once)
    said = run(port=0, webhook_url="http://127.0.0.1:1/hook")
    assert "DARKROOM_STRIPE_API_BASE=http://127.0.0.1:" in said
    assert "DARKROOM_STRIPE_SECRET_KEY=sk_test_fake" in said
    assert asked == [1]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match=r"Choose another with --port"):
            run(port=taken.getsockname()[1], webhook_url="")


def test_without_the_tests_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="tests")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(CommandError, match="tests/fake_stripe is missing"):
        run(port=0, webhook_url="")
