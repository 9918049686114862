from django.db import migrations

# At commit, so that an entry and its lines may come in any order; whatever wrote them.
CREATE_FUNCTION = """
CREATE FUNCTION darkroom_entry_must_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entry bigint;
    lines bigint;
    total numeric;
BEGIN
    IF TG_TABLE_NAME = 'billing_ledgerentry' THEN entry := NEW.id; ELSE entry := NEW.entry_id; END IF;
    SELECT count(*), COALESCE(sum(amount_micro), 0) INTO lines, total
      FROM billing_ledgerline WHERE entry_id = entry;
    IF lines < 2 OR total <> 0 THEN
        RAISE EXCEPTION 'ledger entry % has % lines that sum to %', entry, lines, total
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$
"""
DROP_FUNCTION = "DROP FUNCTION darkroom_entry_must_balance()"
CREATE_BALANCE_TRIGGER = """
CREATE CONSTRAINT TRIGGER entry_must_balance AFTER INSERT ON {table}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION darkroom_entry_must_balance()
"""
DROP_BALANCE_TRIGGER = "DROP TRIGGER entry_must_balance ON {table}"
CREATE_REFUSAL = """
CREATE TRIGGER refuse_change BEFORE {what} ON {table}
FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change()
"""
DROP_REFUSAL = "DROP TRIGGER refuse_change ON {table}"
REFUSED = {
    "billing_ledgerentry": "UPDATE OR DELETE",
    "billing_ledgerline": "UPDATE OR DELETE",
    # Balances and states change; what money was in stays.
    "billing_ledgeraccount": "DELETE",
    "billing_hold": "DELETE",
}
# Room for the next version of a row on its own page: a balance changes with every job.
LEAVE_ROOM = "ALTER TABLE {table} SET (fillfactor = {percent})"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_create_the_ledger"),
        ("audit", "0002_refuse_changes_of_audit_log"),
    ]

    operations = [
        migrations.RunSQL(CREATE_FUNCTION, DROP_FUNCTION),
        *[
            migrations.RunSQL(CREATE_BALANCE_TRIGGER.format(table=table), DROP_BALANCE_TRIGGER.format(table=table))
            for table in ("billing_ledgerentry", "billing_ledgerline")
        ],
        *[
            migrations.RunSQL(CREATE_REFUSAL.format(table=table, what=what), DROP_REFUSAL.format(table=table))
            for table, what in REFUSED.items()
        ],
        *[
            migrations.RunSQL(
                LEAVE_ROOM.format(table=table, percent=50), LEAVE_ROOM.format(table=table, percent=100)
            )
            for table in ("billing_ledgeraccount", "billing_hold")
        ],
    ]
