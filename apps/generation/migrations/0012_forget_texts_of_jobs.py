from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("generation", "0011_name_the_request_of_jobs")]

    operations = [
        migrations.AddField(
            model_name="generationjob",
            name="forget_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="generationjob",
            name="is_forgotten",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="generationjob",
            index=models.Index(
                models.F("forget_at"), name="job_to_forget", condition=Q(("is_forgotten", False))
            ),
        ),
    ]
