from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_create_deliveries")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="import_id",
            field=models.BigIntegerField(null=True),
        ),
    ]
