"""Secrets of sign-in providers stood in plain text in allauth's table: they are sealed from now on."""

from django.db import migrations

from apps.core.sealing import seal, unseal

PURPOSE = "secret of a sign-in provider"


def seal_secrets(apps, schema_editor):
    for app in apps.get_model("socialaccount", "SocialApp").objects.exclude(secret=""):
        app.settings = {**app.settings, "sealed_secret": seal(app.secret, purpose=PURPOSE)}
        app.secret = ""
        app.save(update_fields=["settings", "secret"])


def open_secrets(apps, schema_editor):
    for app in apps.get_model("socialaccount", "SocialApp").objects.filter(settings__has_key="sealed_secret"):
        kept = dict(app.settings)
        app.secret = unseal(kept.pop("sealed_secret"), purpose=PURPOSE)
        app.settings = kept
        app.save(update_fields=["settings", "secret"])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_remember_removals_and_switched_off_accounts"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
    ]

    operations = [migrations.RunPython(seal_secrets, open_secrets)]
