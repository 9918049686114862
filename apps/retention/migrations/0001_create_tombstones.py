from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Tombstone",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=20)),
                ("count", models.PositiveIntegerField()),
                ("size_bytes", models.PositiveBigIntegerField(default=0)),
                ("ids_mac", models.CharField(max_length=22)),
                ("first_due_at", models.DateTimeField()),
                ("at", models.DateTimeField(db_index=True)),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("count__gte", 1)), name="retention_tombstone_of_some"
                    )
                ],
            },
        ),
    ]
