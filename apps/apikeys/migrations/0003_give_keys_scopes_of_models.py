from django.db import migrations
from django.db.models import F, Func, Value
from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField

SCOPES = ArrayField(CharField(max_length=40))
READ = "models:read"


def give(apps, schema_editor):
    """Keys that read jobs may read models too; the installer's own key may do everything, as it always could."""
    keys = apps.get_model("apikeys", "ApiKey").objects
    # Conditional on what is missing, so that it can run again.
    keys.filter(scopes__contains=["jobs:read"]).exclude(scopes__contains=[READ]).update(
        scopes=Func(F("scopes"), Value(READ), function="array_append", output_field=SCOPES)
    )
    for scope in ("models:write", "models:admin"):
        keys.filter(account__slug="operator", name="quickstart").exclude(scopes__contains=[scope]).update(
            scopes=Func(F("scopes"), Value(scope), function="array_append", output_field=SCOPES)
        )


class Migration(migrations.Migration):

    dependencies = [("apikeys", "0002_know_scopes_of_models")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop, elidable=True)]
