from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0008_fund_jobs"),
    ]

    operations = [
        migrations.AddField(
            model_name="generationjob",
            name="keep_days",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="generationjob",
            name="max_parallel",
            field=models.PositiveIntegerField(null=True),
        ),
    ]
