"""`manage.py fake_stripe`: a Stripe to try payments with, on this machine. No money moves."""

from __future__ import annotations

import importlib
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core import clock

PACKAGE = "tests.fake_stripe"
DELIVER_EVERY_S = 0.5


class Command(BaseCommand):
    help = "Run the tests' fake Stripe for demonstrations, and say how to point this installation at it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=12111, help="where to listen on 127.0.0.1 (12111)")
        parser.add_argument(
            "--webhook-url",
            default="http://127.0.0.1:8000/payments/stripe/webhook",
            help="where events are sent; empty: nowhere",
        )

    def handle(self, *args: Any, port: int, webhook_url: str, **options: Any) -> None:
        account, server = _load("account"), _load("server")
        # Any: modules of the tests, which the product must not name.
        fake: Any = account.assemble(start=int(clock.now().timestamp()), is_running=True)
        try:
            http = server.serve(fake, port=port)
        except OSError as error:
            problem = f"Port {port} cannot be listened on ({error}). Choose another with --port."
            raise CommandError(problem) from error
        self.stdout.write(_explain(fake, webhook_url))
        stopping = threading.Event()
        if webhook_url:
            _register(fake, webhook_url)
            threading.Thread(target=_deliver, args=(fake, stopping), daemon=True).start()
        try:
            http.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("Stopped; everything it knew is gone.")
        finally:
            stopping.set()
            http.server_close()


def _load(name: str) -> Any:
    """A module of the fake (Any: not ours to know). Raises CommandError where tests/ is not installed."""
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("tests"):
            raise
        raise CommandError(
            f"The fake Stripe is not installed here: {PACKAGE.replace('.', '/')} is missing. It is"
            " part of the"
            " source tree, not of an installation: run this from a checkout of Darkroom."
        ) from error


def _register(fake: Any, url: str) -> None:
    webhooks, params = _load("webhooks"), _load("params")
    webhooks.create_endpoint(fake, params.Params({"url": url, "enabled_events": {"0": "*"}}))


def _deliver(fake: Any, stopping: threading.Event) -> None:
    """Time passes and events go out; those that are not taken are tried again later."""
    while not stopping.wait(DELIVER_EVERY_S):
        fake.advance()
        fake.deliver()


def _explain(fake: Any, webhook_url: str) -> str:
    return "\n".join(
        [
            f"A fake Stripe listens at {fake.url}. No money moves; Ctrl-C ends it and forgets everything.",
            "",
            "Point this installation at it, in the console under Stripe settings or by its environment:",
            f"  DARKROOM_STRIPE_API_BASE={fake.url}",
            f"  DARKROOM_STRIPE_SECRET_KEY={fake.secret_key}",
            f"  DARKROOM_STRIPE_WEBHOOK_SECRET={fake.webhook_secret}",
            f"Events are sent to {webhook_url or 'nobody (--webhook-url was empty)'}.",
            "Then: python manage.py stripe sync-plans",
            "",
            "Cards: 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined,",
            "       4000 0025 0000 3155 asks the bank, 4000 0000 0000 0341 is kept and fails later,",
            "       4000 0000 0000 0259 is disputed.",
            f"A month later: curl -X POST {fake.url}/_fake/advance -d days=31",
        ]
    )
