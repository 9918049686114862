import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0004_choose_retention'),
    ]

    operations = [
        migrations.AddField(
            model_name='contract',
            name='plan',
            field=models.ForeignKey(blank=True, help_text='Whose price it names; empty: the one the account has when this is saved.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
    ]
