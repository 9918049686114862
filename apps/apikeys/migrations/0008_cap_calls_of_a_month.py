from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("apikeys", "0007_mark_the_portals_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="monthly_cap",
            field=models.PositiveIntegerField(
                blank=True, help_text="Most calls a calendar month with this key.", null=True
            ),
        ),
    ]
