from django.db import migrations

# Letters and digits are words, whatever joins them: realistic-vision_v5.1, and realisticVision by its case.
WORDS = r"""
CREATE FUNCTION catalog_words(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(
        left(value, 20000) || ' ' || regexp_replace(left(value, 20000), '([[:lower:]])([[:upper:]])', '\1 \2', 'g'),
        '[[:punct:]]+', ' ', 'g'
    )
$$;
"""

SEARCH = """
CREATE FUNCTION catalog_entry_write_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
        AND (NEW.name, NEW.aliases, NEW.title, NEW.trigger_words, NEW.tags, NEW.family, NEW.variant, NEW.description)
            IS NOT DISTINCT FROM
            (OLD.name, OLD.aliases, OLD.title, OLD.trigger_words, OLD.tags, OLD.family, OLD.variant, OLD.description)
        AND OLD.search IS NOT NULL
    THEN
        -- Counting uses touches many rows and no words.
        NEW.search := OLD.search;
    ELSE
        NEW.search :=
            setweight(to_tsvector('pg_catalog.simple', catalog_words(
                NEW.name || ' ' || array_to_string(NEW.aliases, ' '))), 'A')
            || setweight(to_tsvector('pg_catalog.simple', catalog_words(
                NEW.title || ' ' || array_to_string(NEW.trigger_words, ' '))), 'B')
            || setweight(to_tsvector('pg_catalog.simple', catalog_words(
                array_to_string(NEW.tags, ' ') || ' ' || NEW.family || ' ' || NEW.variant)), 'C')
            || setweight(to_tsvector('pg_catalog.simple', catalog_words(NEW.description)), 'D');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER catalog_entry_search BEFORE INSERT OR UPDATE ON catalog_entry
FOR EACH ROW EXECUTE FUNCTION catalog_entry_write_search();
"""

NAMES = """
CREATE FUNCTION catalog_entry_write_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.name, NEW.aliases, NEW.deleted_at) IS NOT DISTINCT FROM (OLD.name, OLD.aliases, OLD.deleted_at) THEN
            RETURN NULL;
        END IF;
        DELETE FROM catalog_name WHERE entry_id = NEW.id;
    END IF;
    IF NEW.deleted_at IS NULL THEN
        -- In order, so that two entries which claim the same names cannot wait for each other.
        INSERT INTO catalog_name (name, entry_id)
        SELECT DISTINCT word, NEW.id FROM unnest(array_append(NEW.aliases, NEW.name)) AS word ORDER BY word;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER catalog_entry_names AFTER INSERT OR UPDATE OF name, aliases, deleted_at ON catalog_entry
FOR EACH ROW EXECUTE FUNCTION catalog_entry_write_names();
"""

# Until now only a service kept aliases apart. A name beats an alias, and the older entry the younger.
BACKFILL = """
UPDATE catalog_entry AS entry SET aliases = ARRAY(
    SELECT alias FROM unnest(entry.aliases) AS alias
    WHERE NOT EXISTS (
        SELECT 1 FROM catalog_entry AS other
        WHERE other.id <> entry.id
            AND (other.name = alias OR (alias = ANY (other.aliases) AND other.id < entry.id))
    )
) WHERE cardinality(entry.aliases) > 0;
INSERT INTO catalog_name (name, entry_id)
SELECT DISTINCT word, id FROM catalog_entry, unnest(array_append(aliases, name)) AS word;
"""

UNDO = """
DROP TRIGGER catalog_entry_search ON catalog_entry;
DROP TRIGGER catalog_entry_names ON catalog_entry;
DROP FUNCTION catalog_entry_write_search();
DROP FUNCTION catalog_entry_write_names();
DROP FUNCTION catalog_words(text);
DELETE FROM catalog_name;
"""


class Migration(migrations.Migration):
    """Search vectors and the table of names follow every change, whoever makes it."""

    dependencies = [("catalog", "0004_index_lists_and_keep_deleted")]

    operations = [
        # The update fires the search trigger, and not yet the one of the names.
        migrations.RunSQL(WORDS + SEARCH + BACKFILL + "UPDATE catalog_entry SET search = NULL;" + NAMES, UNDO),
    ]
