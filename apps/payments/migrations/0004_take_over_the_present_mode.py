from django.conf import settings
from django.db import migrations

LIVE_PREFIXES = ("sk_live_", "rk_live_")


def take_over(apps, schema_editor):
    """Until now a change of mode forgot who accounts were at Stripe: what is there is of the present one."""
    row = apps.get_model("payments", "StripeSettings").objects.first()
    is_live = row.is_live if row is not None else settings.STRIPE_SECRET_KEY.startswith(LIVE_PREFIXES)
    if not is_live:
        return
    for name in ("StripeCustomer", "Checkout", "Payment", "StripeInvoice"):
        apps.get_model("payments", name).objects.update(is_live=True)


class Migration(migrations.Migration):
    dependencies = [("payments", "0003_note_the_mode_of_money_and_customers")]

    operations = [migrations.RunPython(take_over, migrations.RunPython.noop)]
