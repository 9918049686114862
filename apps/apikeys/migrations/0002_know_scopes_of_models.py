import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_create_accounts'),
        ('apikeys', '0001_create_api_keys'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='apikey',
            name='apikeys_key_scopes_known',
        ),
        migrations.AlterField(
            model_name='apikey',
            name='scopes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('images:generate', 'Images Generate'), ('jobs:read', 'Jobs Read'), ('jobs:cancel', 'Jobs Cancel'), ('models:read', 'Models Read'), ('models:write', 'Models Write'), ('models:admin', 'Models Admin')], max_length=40), size=None),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['images:generate', 'jobs:read', 'jobs:cancel', 'models:read', 'models:write', 'models:admin'])), name='apikeys_key_scopes_known'),
        ),
    ]
