import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_let_accounts_have_a_safety_rule'),
        ('plans', '0002_include_every_kind_of_generation'),
    ]

    operations = [
        migrations.CreateModel(
            name='Contract',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='What both sides call it, e.g. its number.', max_length=100)),
                ('limits', models.JSONField(blank=True, default=dict, help_text='Those that differ from the plan, by the same names, e.g. {"calls_per_month": 500000}.')),
                ('weight', models.FloatField(blank=True, help_text="Empty: the plan's.", null=True)),
                ('price_micro', models.BigIntegerField(blank=True, help_text="Micro-USD a month instead of the plan's price; empty: the plan's.", null=True)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField(blank=True, help_text='Empty: until further notice.', null=True)),
                ('note', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(editable=False)),
            ],
            options={
                'ordering': ['-starts_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='Coupon',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(help_text='Capitals, digits, - and _; case does not matter.', max_length=40)),
                ('kind', models.CharField(choices=[('percent', 'percent off the plan'), ('amount', 'micro-USD off the plan'), ('credit', 'micro-USD of credit')], max_length=10)),
                ('value', models.BigIntegerField(help_text='Percent (1 to 100), or micro-USD.')),
                ('months', models.PositiveSmallIntegerField(default=1, help_text='For how many months it makes a plan cheaper; without meaning for credit.')),
                ('max_redemptions', models.PositiveIntegerField(blank=True, help_text='Empty: any number.', null=True)),
                ('redemptions', models.PositiveIntegerField(default=0, editable=False)),
                ('starts_at', models.DateTimeField(blank=True, null=True)),
                ('ends_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(editable=False)),
            ],
            options={
                'ordering': ['code'],
            },
        ),
        migrations.CreateModel(
            name='Licence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.CharField(max_length=60, unique=True)),
                ('customer', models.CharField(max_length=200)),
                ('seats', models.PositiveIntegerField(null=True)),
                ('devices', models.PositiveIntegerField(null=True)),
                ('valid_from', models.DateTimeField()),
                ('valid_until', models.DateTimeField()),
                ('document', models.TextField()),
                ('installed_at', models.DateTimeField()),
                ('replaced_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='LicenceClock',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('seen_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='PlanCharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=100, unique=True)),
                ('amount_micro', models.BigIntegerField()),
                ('memo', models.CharField(max_length=200)),
                ('period_start', models.DateTimeField()),
                ('period_end', models.DateTimeField()),
                ('created_at', models.DateTimeField()),
                ('invoiced_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='PlanTerms',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField()),
                ('limits', models.JSONField()),
                ('weight', models.FloatField()),
                ('price_micro', models.BigIntegerField()),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'plan terms',
                'ordering': ['plan', '-version'],
            },
        ),
        migrations.CreateModel(
            name='Redemption',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('months_left', models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(choices=[('stripe', 'Stripe'), ('manual', 'Invoice'), ('licence', 'Licence file')], max_length=10)),
                ('external_id', models.CharField(max_length=255)),
                ('state', models.CharField(choices=[('trialing', 'Trialing'), ('active', 'Active'), ('past_due', 'Past Due'), ('paused', 'Paused'), ('canceled', 'Canceled')], max_length=10)),
                ('anchor_at', models.DateTimeField()),
                ('period_start', models.DateTimeField()),
                ('period_end', models.DateTimeField()),
                ('trial_end', models.DateTimeField(blank=True, null=True)),
                ('cancel_at', models.DateTimeField(blank=True, null=True)),
                ('past_due_since', models.DateTimeField(blank=True, null=True)),
                ('price_micro', models.BigIntegerField(default=0)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='TrialClaim',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('claimant', models.CharField(max_length=254, unique=True)),
                ('at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='plan',
            name='archived_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='plan',
            name='currency',
            field=models.CharField(db_default='usd', default='usd', editable=False, max_length=3),
        ),
        migrations.AddField(
            model_name='plan',
            name='description',
            field=models.TextField(blank=True, db_default='', default='', help_text='What customers read, the rule of fair use included.'),
        ),
        migrations.AddField(
            model_name='plan',
            name='grace_days',
            field=models.PositiveSmallIntegerField(db_default=7, default=7, help_text='How long the plan goes on while a payment fails.'),
        ),
        migrations.AddField(
            model_name='plan',
            name='is_public',
            field=models.BooleanField(db_default=False, default=False, help_text='Whether customers see it and may choose it themselves.'),
        ),
        migrations.AddField(
            model_name='plan',
            name='price_micro',
            field=models.BigIntegerField(db_default=0, default=0, help_text='Micro-USD a month; 0 costs nothing.'),
        ),
        migrations.AddField(
            model_name='plan',
            name='trial_days',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='0 offers no trial.'),
        ),
        migrations.AddField(
            model_name='plan',
            name='version',
            field=models.PositiveIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AlterField(
            model_name='plan',
            name='limits',
            field=models.JSONField(help_text='calls_per_day, queue_depth: a number or "unlimited"; max_samples: a number; kinds: a list. Others may be named as well; apps/plans/README.md lists them.'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(('price_micro__gte', 0)), name='plans_plan_price_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(('archived_at', None), ('is_default', False), _connector='OR'), name='plans_plan_default_not_archived'),
        ),
        migrations.AddField(
            model_name='contract',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='plans',
            field=models.ManyToManyField(blank=True, help_text='For which plans; none chosen: for all.', related_name='+', to='plans.plan'),
        ),
        migrations.AddField(
            model_name='licence',
            name='plan',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
        migrations.AddField(
            model_name='licence',
            name='previous_default',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
        migrations.AddConstraint(
            model_name='licenceclock',
            constraint=models.CheckConstraint(condition=models.Q(('id', 1)), name='plans_licence_one_clock'),
        ),
        migrations.AddField(
            model_name='plancharge',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='planterms',
            name='plan',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
        migrations.AddField(
            model_name='accountplan',
            name='terms',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.planterms'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='coupon',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='plans.coupon'),
        ),
        migrations.AddField(
            model_name='subscription',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='subscription',
            name='next_plan',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
        migrations.AddField(
            model_name='subscription',
            name='plan',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.plan'),
        ),
        migrations.AddField(
            model_name='plancharge',
            name='subscription',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='charges', to='plans.subscription'),
        ),
        migrations.AddField(
            model_name='accountplan',
            name='subscription',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.subscription'),
        ),
        migrations.AddField(
            model_name='trialclaim',
            name='account',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account'),
        ),
        migrations.AddIndex(
            model_name='contract',
            index=models.Index(fields=['account', '-starts_at'], name='plans_contract_by_account'),
        ),
        migrations.AddConstraint(
            model_name='contract',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at', None), ('ends_at__gt', models.F('starts_at')), _connector='OR'), name='plans_contract_time_order'),
        ),
        migrations.AddConstraint(
            model_name='contract',
            constraint=models.CheckConstraint(condition=models.Q(('weight', None), ('weight__gt', 0), _connector='OR'), name='plans_contract_weight_positive'),
        ),
        migrations.AddConstraint(
            model_name='contract',
            constraint=models.CheckConstraint(condition=models.Q(('price_micro', None), ('price_micro__gte', 0), _connector='OR'), name='plans_contract_price'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.UniqueConstraint(django.db.models.functions.text.Upper('code'), name='plans_coupon_code_unique'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('code__regex', '^[A-Z0-9][A-Z0-9_-]{2,39}$')), name='plans_coupon_code_shape'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('value__gt', 0)), name='plans_coupon_value_positive'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'percent'), _negated=True), ('value__lte', 100), _connector='OR'), name='plans_coupon_percent_at_most_all'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('months__gte', 1)), name='plans_coupon_months'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('max_redemptions', None), ('redemptions__lte', models.F('max_redemptions')), _connector='OR'), name='plans_coupon_not_overdrawn'),
        ),
        migrations.AddConstraint(
            model_name='licence',
            constraint=models.CheckConstraint(condition=models.Q(('valid_until__gt', models.F('valid_from'))), name='plans_licence_time_order'),
        ),
        migrations.AddConstraint(
            model_name='licence',
            constraint=models.UniqueConstraint(condition=models.Q(('replaced_at', None)), fields=('replaced_at',), name='plans_licence_one_present', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='planterms',
            constraint=models.UniqueConstraint(fields=('plan', 'version'), name='plans_terms_unique'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.UniqueConstraint(fields=('coupon', 'account'), name='plans_redemption_once'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(fields=['account', '-id'], name='plans_subscription_by_account'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('state', 'canceled'), _negated=True), fields=['period_end'], name='plans_subscription_due'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(fields=('source', 'external_id'), name='plans_subscription_unique'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('source', 'manual'), models.Q(('state', 'canceled'), _negated=True)), fields=('account',), name='plans_subscription_one_manual'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('period_end__gt', models.F('period_start'))), name='plans_subscription_period_order'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('price_micro__gte', 0)), name='plans_subscription_price'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('past_due_since__isnull', False), ('state', 'past_due')), models.Q(models.Q(('state', 'past_due'), _negated=True), ('past_due_since__isnull', True)), _connector='OR'), name='plans_subscription_past_due_has_time'),
        ),
        migrations.AddIndex(
            model_name='plancharge',
            index=models.Index(condition=models.Q(('invoiced_at', None)), fields=['account', 'id'], name='plans_charge_to_invoice'),
        ),
        migrations.AddConstraint(
            model_name='plancharge',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micro__gt', 0)), name='plans_charge_positive'),
        ),
    ]
