

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_create_accounts'),
        ('catalog', '0002_rename_checkpoint_to_catalog_entry'),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(choices=[('hub', 'Hub repository'), ('url', 'Direct URL'), ('upload', 'Upload'), ('folder', 'Folder on the server')], max_length=10)),
                ('address', models.CharField(help_text='Repository id, URL, or path.', max_length=2000)),
                ('revision', models.CharField(blank=True, help_text='Branch, tag or commit of a repo.', max_length=200)),
                ('options', models.JSONField(default=dict, help_text='What was asked for: apps.catalog.imports.options.')),
                ('requested_name', models.CharField(help_text='Name the entry will have.', max_length=200)),
                ('requested_by', models.CharField(help_text='Who asked for it, as text.', max_length=200)),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('canceled', 'Canceled')], default='queued', max_length=12)),
                ('phase', models.CharField(blank=True, choices=[('listing', 'Looking up files'), ('downloading', 'Downloading'), ('verifying', 'Verifying'), ('converting', 'Converting'), ('registering', 'Registering')], max_length=12)),
                ('bytes_done', models.PositiveBigIntegerField(default=0)),
                ('bytes_total', models.PositiveBigIntegerField(default=0, help_text='0 while unknown.')),
                ('speed_bps', models.FloatField(default=0.0, help_text='Bytes a second over the last seconds.')),
                ('files_done', models.PositiveIntegerField(default=0)),
                ('files_total', models.PositiveIntegerField(default=0)),
                ('is_cancel_requested', models.BooleanField(default=False)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('fence', models.PositiveIntegerField(default=0)),
                ('claimed_by', models.CharField(blank=True, max_length=64)),
                ('lease_expires_at', models.DateTimeField(null=True)),
                ('error_code', models.CharField(blank=True, max_length=64)),
                ('error_message', models.TextField(blank=True)),
                ('identified', models.JSONField(default=dict, help_text='What identification found, once it has.')),
                ('created_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('updated_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AlterModelOptions(
            name='catalogentry',
            options={'ordering': ['name'], 'verbose_name_plural': 'catalog entries'},
        ),
        migrations.RemoveConstraint(
            model_name='catalogentry',
            name='catalog_checkpoint_name_is_clean',
        ),
        migrations.RemoveConstraint(
            model_name='catalogentry',
            name='catalog_checkpoint_private_has_owner',
        ),
        migrations.RemoveConstraint(
            model_name='catalogentry',
            name='catalog_checkpoint_sides_in_order',
        ),
        migrations.RenameIndex(
            model_name='catalogentry',
            new_name='catalog_entry_aliases',
            old_name='catalog_checkpoint_aliases',
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='allowed_accounts',
            field=models.ManyToManyField(blank=True, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='components',
            field=models.JSONField(blank=True, default=list, help_text='Networks inside: name, class_name, digest, size_bytes, dtype.'),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='description',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='details',
            field=models.JSONField(blank=True, default=dict, help_text='Facts of the kind, e.g. rank of a LoRA, factor of an upscaler.'),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='imported_by',
            field=models.CharField(blank=True, help_text='Who brought it in, as text.', max_length=200),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='keep_alive_s',
            field=models.PositiveIntegerField(blank=True, help_text='Seconds without use until it leaves the device; empty: the default.', null=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='kind',
            field=models.CharField(choices=[('checkpoint', 'Checkpoint'), ('lora', 'LoRA'), ('controlnet', 'ControlNet'), ('vae', 'VAE'), ('embedding', 'Embedding'), ('text_encoder', 'Text encoder'), ('ip_adapter', 'IP-adapter'), ('upscaler', 'Upscaler'), ('background_removal', 'Background removal'), ('face', 'Face'), ('preprocessor', 'Preprocessor'), ('safety', 'Safety')], default='checkpoint', max_length=20),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='last_used_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='previews',
            field=models.JSONField(blank=True, default=list, help_text='Preview images: file, media_type, width, height.'),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='residency_policy',
            field=models.CharField(choices=[('on_demand', 'On demand'), ('warm', 'Warm'), ('pinned', 'Pinned')], default='on_demand', max_length=20),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='search',
            field=django.contrib.postgres.search.SearchVectorField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='tags',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='trigger_words',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='updated_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='use_count',
            field=models.PositiveBigIntegerField(default=0, help_text='Succeeded requests, rolled up.'),
        ),
        migrations.AddField(
            model_name='catalogentry',
            name='variant',
            field=models.CharField(blank=True, help_text='E.g. inpaint, turbo, schnell, canny.', max_length=40),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='family',
            field=models.CharField(blank=True, help_text='Architecture the weights fit, e.g. sd15; empty for upscalers.', max_length=40),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='max_native_side_px',
            field=models.PositiveIntegerField(default=1024, help_text='An image with a longer side is denoised smaller and enlarged.'),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='max_side_px',
            field=models.PositiveIntegerField(default=2048),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='min_side_px',
            field=models.PositiveIntegerField(default=64),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='native_px',
            field=models.PositiveIntegerField(default=0, help_text='Side of the images it was trained on.'),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='path',
            field=models.CharField(help_text='Folder in the canonical layout, on the GPU machine.', max_length=1000),
        ),
        migrations.AlterField(
            model_name='catalogentry',
            name='visibility',
            field=models.CharField(choices=[('public', 'Public'), ('accounts', 'Accounts'), ('private', 'Private')], default='public', max_length=20),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=django.contrib.postgres.indexes.GinIndex(fields=['search'], name='catalog_entry_search'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=django.contrib.postgres.indexes.GinIndex(fields=['tags'], name='catalog_entry_tags'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(models.OrderBy(models.F('use_count'), descending=True), models.OrderBy(models.F('id'), descending=True), name='catalog_entry_most_used'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='catalog_entry_newest'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(models.F('kind'), models.F('family'), models.F('name'), name='catalog_entry_kind_family'),
        ),
        migrations.AddIndex(
            model_name='catalogentry',
            index=models.Index(models.F('digest'), name='catalog_entry_digest'),
        ),
        migrations.AddConstraint(
            model_name='catalogentry',
            constraint=models.CheckConstraint(condition=models.Q(('name__regex', '^[A-Za-z0-9][A-Za-z0-9._-]*$')), name='catalog_entry_name_is_clean'),
        ),
        migrations.AddConstraint(
            model_name='catalogentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('visibility', 'private'), _negated=True), ('owner__isnull', False), _connector='OR'), name='catalog_entry_private_has_owner'),
        ),
        migrations.AddConstraint(
            model_name='catalogentry',
            constraint=models.CheckConstraint(condition=models.Q(('min_side_px__gte', 8), ('min_side_px__lte', models.F('max_native_side_px')), ('max_native_side_px__lte', models.F('max_side_px'))), name='catalog_entry_sides_in_order'),
        ),
        migrations.AddField(
            model_name='modelimport',
            name='account',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='modelimport',
            name='entry',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='catalog.catalogentry'),
        ),
        migrations.AddIndex(
            model_name='modelimport',
            index=models.Index(models.F('state'), models.F('id'), name='import_by_state'),
        ),
        migrations.AddConstraint(
            model_name='modelimport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('state__in', ('queued', 'running'))), models.Q(('finished_at__isnull', False), ('state__in', ('succeeded', 'failed', 'canceled'))), _connector='OR'), name='import_terminal_has_finished_at'),
        ),
        migrations.AddConstraint(
            model_name='modelimport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'running'), _negated=True), models.Q(('lease_expires_at__isnull', False), models.Q(('claimed_by', ''), _negated=True)), _connector='OR'), name='import_running_has_lease'),
        ),
    ]
