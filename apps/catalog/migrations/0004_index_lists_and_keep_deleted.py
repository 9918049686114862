import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_create_accounts'),
        ('catalog', '0003_describe_every_kind'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='catalogentry',
            options={'ordering': ['name'], 'verbose_name': 'model'},
        ),
        migrations.CreateModel(
            name='CatalogName',
            fields=[
                ('name', models.CharField(max_length=200, primary_key=True, serialize=False)),
            ],
            options={
                'db_table': 'catalog_name',
            },
        ),
        migrations.CreateModel(
            name='UsageWatermark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('counted_until', models.DateTimeField(help_text='Jobs that ended up to then are counted.')),
                ('first_open_id', models.BigIntegerField(default=0, help_text='Every job before this one is counted.')),
            ],
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_aliases',
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_search',
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_tags',
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_most_used',
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_newest',
        ),
        migrations.RemoveIndex(
            model_name='catalogentry',
            name='catalog_entry_kind_family',
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='deleted_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='The row stays for past jobs; the name is free.', null=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='provider',
            field=models.CharField(blank=True, help_text='Who offers the weights: facts.provider_of(source_url).', max_length=100),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='reload_requested_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='Workers that loaded it before then load it anew.', null=True),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='aliases',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]*$')]), blank=True, default=list, size=None),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='name',
            field=models.CharField(max_length=200, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9._-]*$')]),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='updated_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['search'], name='catalog_entry_search'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['tags'], name='catalog_entry_tags'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['components'], name='catalog_entry_components', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['-use_count', '-id'], include=('kind', 'family', 'is_enabled', 'visibility', 'owner'), name='catalog_entry_most_used'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['-created_at', '-id'], include=('kind', 'family', 'is_enabled', 'visibility', 'owner'), name='catalog_entry_newest'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['kind', 'family', '-use_count', '-id'], include=('is_enabled', 'visibility', 'owner'), name='catalog_entry_kind_family'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['provider'], name='catalog_entry_provider'),
        ),
        migrations.AddConstraint(
            model_name='catalogentry',
            constraint=models.UniqueConstraint(condition=models.Q(('deleted_at', None)), fields=('name',), include=('id', 'kind', 'family', 'is_enabled', 'visibility', 'owner'), name='catalog_entry_name_unique'),
        ),
        migrations.AddField(
            model_name='catalogname',
            name='entry',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='names', to='catalog.catalogentry'),
        ),
        migrations.AddConstraint(
            model_name='usagewatermark',
            constraint=models.CheckConstraint(condition=models.Q(('pk', 1)), name='catalog_usage_watermark_one_row'),
        ),
    ]
