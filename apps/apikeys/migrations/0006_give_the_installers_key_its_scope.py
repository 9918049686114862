from django.contrib.postgres.fields import ArrayField
from django.db import migrations
from django.db.models import CharField, F, Func, Value

SCOPES = ArrayField(CharField(max_length=40))
SCOPE = "keys:write"


def give(apps, schema_editor):
    """The installer's own key may do everything, as it always could."""
    keys = apps.get_model("apikeys", "ApiKey").objects
    # Conditional on what is missing, so that it can run again.
    keys.filter(account__slug="operator", name="quickstart").exclude(scopes__contains=[SCOPE]).update(
        scopes=Func(F("scopes"), Value(SCOPE), function="array_append", output_field=SCOPES)
    )


class Migration(migrations.Migration):

    dependencies = [("apikeys", "0005_know_scope_of_keys")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop, elidable=True)]
