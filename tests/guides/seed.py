"""`python -m tests.guides.seed NAME...`: what the guides speak of, in the database of a running appliance.

The starter model, one that edits, a LoRA, a ControlNet, an IP-adapter and what reads pictures as rows, the
weights that ship, and an account with a key for each name. Prints the keys' texts by name, as JSON.
"""

from __future__ import annotations

import json
import os
import sys


def main(names: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    from apps.apikeys.choices import CUSTOMER_SCOPES
    from apps.console.utility_models import register_utilities
    from apps.core import clock
    from tests.factories import give_plan, make_account, make_adapter, make_checkpoint, make_key

    register_utilities(now=clock.now())
    make_checkpoint("starter", native_px=512, max_native_side_px=1024)
    make_adapter("ink")
    make_adapter("lines", kind="controlnet", variant="canny")
    # A digest of its own: the runtime holds weights by it.
    editing = {"family": "flux", "variant": "kontext", "digest": "1" * 64}
    make_checkpoint("kontext", native_px=512, max_native_side_px=1024, **editing)
    make_adapter("captions-here", kind="preprocessor", family="", variant="caption")
    make_adapter("words-to-masks", kind="preprocessor", family="", variant="text_mask")
    eyes = {"encoder_class": "CLIPVisionModelWithProjection", "width": 1280, "projected": 1024}
    make_adapter("eyes", kind="preprocessor", family="", variant="image_encoder", details=eyes)
    likeness = {"encoder_class": eyes["encoder_class"], "picture_width": 1024, "reads": "summary"}
    make_adapter("likeness", kind="ip_adapter", variant="plus-face", details=likeness)
    keys = {}
    for name in names:
        account = make_account(name)
        give_plan(account, calls_per_day=1000, queue_depth=100)
        keys[name] = make_key(account, scopes=list(CUSTOMER_SCOPES)).plaintext
    sys.stdout.write(json.dumps(keys))


if __name__ == "__main__":
    main(sys.argv[1:])
