"""`manage.py licence install FILE | show | verify FILE | sign ...`: licence files, without any network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.management.base import BaseCommand, CommandError

from apps.audit.refs import SYSTEM
from apps.core import clock
from apps.core.errors import DomainError
from apps.plans import licensing
from apps.plans.licence import LicenceTerms, parse_time, read_licence, sign_licence


class Command(BaseCommand):
    """Ends with status 1 and a sentence for a licence that is refused."""

    help = "Installs, shows and checks the licence file of this installation; signs new ones for their maker."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        for name, what in (("install", "check a file and put it into effect"), ("verify", "check a file")):
            acts.add_parser(name, help=what).add_argument("file", type=Path)
        acts.add_parser("show", help="what is installed, and what it is worth now")
        sign = acts.add_parser("sign", help="for the maker: write a licence file to the standard output")
        sign.add_argument("--key", type=Path, required=True, help="file with the private key (Ed25519, PEM)")
        for name in ("number", "customer", "plan", "valid-from", "valid-until"):
            sign.add_argument(f"--{name}", required=True)
        for name in ("seats", "devices"):
            sign.add_argument(f"--{name}", type=int)
        for name in ("account", "feature"):
            sign.add_argument(f"--{name}", action="append", default=[])

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's own types
        acts = {"install": self._install, "verify": self._verify, "show": self._show, "sign": self._sign}
        try:
            acts[options["act"]](options)
        except DomainError as refusal:
            raise CommandError(str(refusal)) from None
        except OSError as fault:
            raise CommandError(f"{fault.filename}: {fault.strerror}") from None

    def _install(self, options: dict[str, Any]) -> None:
        document = _text_of(options["file"])
        licence = licensing.install_licence(document=document, actor=SYSTEM, now=clock.now())
        self.stdout.write(f"Licence {licence.number} of {licence.customer} is installed.")

    def _verify(self, options: dict[str, Any]) -> None:
        terms = read_licence(_text_of(options["file"]), key=licensing.maker_key())
        state = licensing.state_at(terms, now=clock.now())
        self.stdout.write(json.dumps(terms.to_json() | {"state": state.value}, indent=2))

    def _show(self, options: dict[str, Any]) -> None:
        standing = licensing.get_standing(now=clock.now())
        if standing is None:
            self.stdout.write("No licence is installed.")
            return
        shown = standing.terms.to_json() | {
            "state": standing.state.value,
            "grace_ends_at": standing.grace_ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self.stdout.write(json.dumps(shown, indent=2))

    def _sign(self, options: dict[str, Any]) -> None:
        terms = LicenceTerms(
            number=options["number"],
            customer=options["customer"],
            plan_code=options["plan"],
            seats=options["seats"],
            devices=options["devices"],
            valid_from=parse_time("valid_from", options["valid_from"]),
            valid_until=parse_time("valid_until", options["valid_until"]),
            accounts=tuple(options["account"]),
            features=tuple(options["feature"]),
        )
        key = _private_key(options["key"])
        document = sign_licence(terms, key=key)
        # What the customer's installation would refuse is refused here.
        read_licence(document, key=key.public_key())
        self.stdout.write(document, ending="")


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not a text file: pass the licence as it was sent to you") from None


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as fault:
        raise CommandError(f"{file} holds no private key in PEM without a password: {fault}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(
            f"{file} must hold an Ed25519 key; make one with openssl genpkey -algorithm ed25519"
        )
    return key
