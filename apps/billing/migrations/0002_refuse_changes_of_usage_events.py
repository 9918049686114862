from django.db import migrations

CREATE_TRIGGER = """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing_usageevent
FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change()
"""
DROP_TRIGGER = "DROP TRIGGER refuse_change ON billing_usageevent"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0001_create_usage_events"),
        ("audit", "0002_refuse_changes_of_audit_log"),
    ]

    operations = [migrations.RunSQL(CREATE_TRIGGER, DROP_TRIGGER)]
