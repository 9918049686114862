

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0001_create_generation_jobs'),
    ]

    operations = [
        migrations.AddField(
            model_name='gpuworker',
            name='weights',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='gpuworker',
            name='weights_budget_bytes',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='gpuworker',
            name='weights_bytes',
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
