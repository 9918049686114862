from django.db import migrations

NEW_KINDS = [
    "img2img",
    "inpaint",
    "outpaint",
    "controlnet",
    "edit",
    "upscale",
    "remove_background",
    "object_removal",
    "face_swap",
    "detect",
    "caption",
    "mask",
    "nsfw_check",
]


def include_new_kinds(apps, schema_editor):
    """Plans that had all there was, which was one kind, have all there is. Running it again changes nothing."""
    for plan in apps.get_model("plans", "Plan").objects.filter(limits__kinds__contains=["txt2img"]):
        kinds = plan.limits["kinds"]
        plan.limits["kinds"] = kinds + [kind for kind in NEW_KINDS if kind not in kinds]
        plan.save(update_fields=["limits"])


class Migration(migrations.Migration):
    """Kinds of generation that came with pictures in requests."""

    dependencies = [
        ("plans", "0001_create_plans"),
    ]

    operations = [
        migrations.RunPython(include_new_kinds, migrations.RunPython.noop),
    ]
