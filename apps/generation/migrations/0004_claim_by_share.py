import django.db.models.expressions
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The order of claims: jobs that are queued during the upgrade keep theirs, all having the tag 0."""

    atomic = False

    dependencies = [
        ('generation', '0003_estimate_work_of_jobs'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='generationjob',
            index=models.Index(django.db.models.expressions.OrderBy(django.db.models.expressions.F('priority'), descending=True), models.F('queue_tag'), models.F('id'), condition=models.Q(('state', 'queued')), name='job_claim_by_share'),
        ),
        AddIndexConcurrently(
            model_name='generationjob',
            index=models.Index(models.F('account'), models.F('queue_tag'), condition=models.Q(('state', 'queued')), name='job_queued_by_account'),
        ),
        RemoveIndexConcurrently(
            model_name='generationjob',
            name='job_claim_order',
        ),
    ]
