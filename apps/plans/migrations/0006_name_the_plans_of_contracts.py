from django.db import migrations


def name_plans(apps, schema_editor):
    """A price agreed before is that of the plan the account has now."""
    default = apps.get_model('plans', 'Plan').objects.filter(is_default=True).first()
    holders = apps.get_model('plans', 'AccountPlan').objects
    for contract in apps.get_model('plans', 'Contract').objects.filter(plan=None).exclude(price_micro=None):
        held = holders.filter(account_id=contract.account_id).first()
        contract.plan_id = held.plan_id if held else default and default.pk
        contract.save(update_fields=['plan'])


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0005_bind_contract_prices_to_plans'),
    ]

    operations = [
        migrations.RunPython(name_plans, migrations.RunPython.noop),
    ]
