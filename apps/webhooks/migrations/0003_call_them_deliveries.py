from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_tell_of_imports")]

    operations = [
        migrations.AlterModelOptions(name="delivery", options={"verbose_name_plural": "deliveries"}),
    ]
