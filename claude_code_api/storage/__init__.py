"""Storage: the data directory, tables, migrations and transactions. It knows no meaning."""
