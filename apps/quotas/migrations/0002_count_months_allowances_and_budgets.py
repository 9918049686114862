import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_let_accounts_have_a_safety_rule'),
        ('apikeys', '0008_cap_calls_of_a_month'),
        ('quotas', '0001_create_daily_usage'),
    ]

    operations = [
        migrations.CreateModel(
            name='Allowance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=20)),
                ('period', models.DateField()),
                ('reserved', models.BigIntegerField(default=0)),
                ('settled', models.BigIntegerField(default=0)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'source', 'period'), name='quotas_allowance_unique'), models.CheckConstraint(condition=models.Q(('reserved__gte', 0)), name='quotas_allowance_reserved'), models.CheckConstraint(condition=models.Q(('settled__gte', 0)), name='quotas_allowance_settled')],
            },
        ),
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('limit_micro', models.BigIntegerField(help_text="Micro-USD a calendar month, in the account's time zone.")),
                ('is_hard', models.BooleanField(default=True, help_text='Refuse calls beyond it; otherwise they are told of.')),
                ('webhook_url', models.CharField(blank=True, max_length=2048)),
                ('month', models.DateField()),
                ('spent_micro', models.BigIntegerField(default=0)),
                ('announced_percent', models.PositiveSmallIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='apikeys.apikey')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('account', 'api_key'), name='quotas_budget_unique', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('limit_micro__gt', 0)), name='quotas_budget_limit_positive'), models.CheckConstraint(condition=models.Q(('spent_micro__gte', 0)), name='quotas_budget_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='MonthlyKeyUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.DateField()),
                ('calls', models.BigIntegerField(default=0)),
                ('api_key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='apikeys.apikey')),
            ],
            options={
                'verbose_name_plural': 'monthly key usage',
                'constraints': [models.UniqueConstraint(fields=('api_key', 'month'), name='quotas_key_month_unique'), models.CheckConstraint(condition=models.Q(('calls__gte', 0)), name='quotas_key_month_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='MonthlyUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.DateField(help_text="Its first day, in the account's time zone.")),
                ('calls', models.BigIntegerField(default=0)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
            ],
            options={
                'verbose_name_plural': 'monthly usage',
                'constraints': [models.UniqueConstraint(fields=('account', 'month'), name='quotas_month_unique'), models.CheckConstraint(condition=models.Q(('calls__gte', 0)), name='quotas_month_not_negative')],
            },
        ),
    ]
