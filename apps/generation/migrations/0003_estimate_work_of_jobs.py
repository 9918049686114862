from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0002_record_weights_of_workers'),
    ]

    operations = [
        migrations.AddField(
            model_name='generationjob',
            name='queue_tag',
            field=models.FloatField(default=0.0),
        ),
        migrations.AddField(
            model_name='generationjob',
            name='work_tflop',
            field=models.FloatField(default=0.0),
        ),
        migrations.AddField(
            model_name='gpuworker',
            name='tflop_per_s',
            field=models.FloatField(default=0.0),
        ),
    ]
