from django.db import migrations, models

SOURCES = [
    ("plan", "plan allowance"),
    ("daily_free", "daily free calls"),
    ("promo", "promotional credit"),
    ("wallet", "prepaid wallet"),
    ("pay_as_you_go", "pay as you go"),
]


class Migration(migrations.Migration):
    """Jobs of the version before, which names none of these, are paid by their plan: as they always were."""

    dependencies = [("generation", "0007_default_later_columns_in_the_database")]

    operations = [
        migrations.AddField(
            model_name="generationjob",
            name="funding",
            field=models.CharField(choices=SOURCES, db_default="plan", default="plan", max_length=20),
        ),
        migrations.AddField(
            model_name="generationjob",
            name="price_micro",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="generationjob",
            name="price_book_version",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="generationjob",
            name="funding_period",
            field=models.DateField(null=True),
        ),
    ]
