from django.db import migrations


class Migration(migrations.Migration):
    """One table for every kind of weights: the checkpoints' own becomes it."""

    dependencies = [
        ("catalog", "0001_create_checkpoints"),
        ("generation", "0001_create_generation_jobs"),
    ]

    operations = [
        migrations.RenameModel(old_name="Checkpoint", new_name="CatalogEntry"),
        migrations.AlterModelTable(name="catalogentry", table="catalog_entry"),
    ]
