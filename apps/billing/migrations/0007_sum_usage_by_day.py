from django.db import migrations

# Once a statement, so that many events in one INSERT cost one; in one order, so that two never wait in a circle.
CREATE_FUNCTION = """
CREATE FUNCTION darkroom_sum_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_usageday AS total
           (account_id, day, api_key_id, checkpoint, kind, funding, calls, images, pixels, price_micro)
    SELECT account_id, day, api_key_id, checkpoint, kind, funding,
           sum(calls), sum(images), sum(pixels), sum(price_micro)
      FROM events GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
        ON CONFLICT (account_id, day, api_key_id, checkpoint, kind, funding) DO UPDATE
       SET calls = total.calls + excluded.calls, images = total.images + excluded.images,
           pixels = total.pixels + excluded.pixels, price_micro = total.price_micro + excluded.price_micro;
    RETURN NULL;
END
$$
"""
DROP_FUNCTION = "DROP FUNCTION darkroom_sum_usage()"
CREATE_TRIGGER = """
CREATE TRIGGER sum_usage AFTER INSERT ON billing_usageevent
REFERENCING NEW TABLE AS events FOR EACH STATEMENT EXECUTE FUNCTION darkroom_sum_usage()
"""
DROP_TRIGGER = "DROP TRIGGER sum_usage ON billing_usageevent"
# After the trigger, which keeps writers out until this migration commits: no event is missed or summed twice.
SUM_SO_FAR = """
INSERT INTO billing_usageday
       (account_id, day, api_key_id, checkpoint, kind, funding, calls, images, pixels, price_micro)
SELECT account_id, day, api_key_id, checkpoint, kind, funding,
       sum(calls), sum(images), sum(pixels), sum(price_micro)
  FROM billing_usageevent GROUP BY 1, 2, 3, 4, 5, 6
"""
FORGET = "DELETE FROM billing_usageday"
REFUSE = """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION darkroom_refuse_change()
"""
ALLOW = "DROP TRIGGER refuse_change ON {table}"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0006_price_usage"),
        ("audit", "0002_refuse_changes_of_audit_log"),
    ]

    operations = [
        migrations.RunSQL(CREATE_FUNCTION, DROP_FUNCTION),
        migrations.RunSQL(CREATE_TRIGGER, DROP_TRIGGER),
        migrations.RunSQL(SUM_SO_FAR, FORGET),
        *[
            migrations.RunSQL(REFUSE.format(table=table), ALLOW.format(table=table))
            for table in ("billing_pricebook", "billing_price")
        ],
    ]
