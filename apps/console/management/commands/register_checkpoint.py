"""`manage.py register_checkpoint`: put a folder of weights into the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.catalog.choices import Kind, Visibility
from apps.catalog.facts import EntryFacts
from apps.catalog.services import register_checkpoint
from apps.console.terminal import TERMINAL, account_by_slug, refusals_as_command_errors
from apps.core import clock


class Command(BaseCommand):
    help = "Adds a checkpoint in diffusers layout to the catalogue, or takes over its changed files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what clients send as model_id")
        parser.add_argument("path", type=Path, help="the folder that holds model_index.json")
        parser.add_argument("--title", help="default: the name")
        parser.add_argument("--family", default="sd15")
        parser.add_argument("--alias", action="append", default=[], help="another name; repeatable")
        parser.add_argument("--native-px", type=int, default=512)
        parser.add_argument("--min-side-px", type=int, default=64)
        parser.add_argument("--max-side-px", type=int, default=2048)
        parser.add_argument("--max-native-side-px", type=int, default=1024)
        parser.add_argument("--steps", type=int, default=25)
        parser.add_argument("--guidance-scale", type=float, default=7.5)
        parser.add_argument("--sampler", default="dpmpp_2m")
        parser.add_argument("--negative-prompt", default="")
        parser.add_argument("--licence", default="unknown")
        parser.add_argument("--commercial-use", action="store_true")
        parser.add_argument("--source-url", default="")
        parser.add_argument("--private-to", help="slug of the only account that may use it")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = account_by_slug(options["private_to"]) if options["private_to"] else None
        facts = EntryFacts(
            kind=Kind.CHECKPOINT,
            name=options["name"],
            title=options["title"] or options["name"],
            family=options["family"],
            aliases=options["alias"],
            path=options["path"].absolute(),
            native_px=options["native_px"],
            min_side_px=options["min_side_px"],
            max_side_px=options["max_side_px"],
            max_native_side_px=options["max_native_side_px"],
            defaults={
                "steps": options["steps"],
                "guidance_scale": options["guidance_scale"],
                "sampler": options["sampler"],
                "negative_prompt": options["negative_prompt"],
            },
            licence=options["licence"],
            is_commercial_use_allowed=options["commercial_use"],
            source_url=options["source_url"],
            visibility=Visibility.PRIVATE if owner else Visibility.PUBLIC,
            owner=owner,
        )
        with refusals_as_command_errors():
            checkpoint = register_checkpoint(facts=facts, actor=TERMINAL, now=clock.now())
        self.stdout.write(f"{checkpoint.name} {checkpoint.digest[:12]} {checkpoint.size_bytes / 1e6:.1f} MB")
