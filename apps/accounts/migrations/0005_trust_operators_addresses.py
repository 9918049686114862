"""Operators were made at a terminal, by somebody who knew them: their addresses need no mail to be believed."""

from django.db import migrations


def trust(apps, schema_editor):
    User = apps.get_model("accounts", "User")
    EmailAddress = apps.get_model("account", "EmailAddress")
    known = EmailAddress.objects.values_list("user_id", flat=True)
    for user in User.objects.filter(is_staff=True).exclude(pk__in=known):
        EmailAddress.objects.create(user=user, email=user.email.lower(), verified=True, primary=True)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_share_counts_between_processes'),
        ('account', '0009_emailaddress_unique_primary_email'),
    ]

    operations = [
        migrations.RunPython(trust, migrations.RunPython.noop),
    ]
