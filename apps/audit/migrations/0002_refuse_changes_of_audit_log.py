from django.db import migrations

# One function serves every append-only table; later migrations put their own triggers on it.
CREATE_FUNCTION = """
CREATE FUNCTION darkroom_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows cannot be changed or deleted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$
"""
DROP_FUNCTION = "DROP FUNCTION darkroom_refuse_change()"
CREATE_TRIGGER = """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change()
"""
DROP_TRIGGER = "DROP TRIGGER refuse_change ON {table}"
TABLES = ("audit_auditevent", "audit_auditlink")


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_create_audit_log")]

    operations = [
        migrations.RunSQL(CREATE_FUNCTION, DROP_FUNCTION),
        *[migrations.RunSQL(CREATE_TRIGGER.format(table=table), DROP_TRIGGER.format(table=table)) for table in TABLES],
    ]
