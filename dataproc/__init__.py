"""Data from many sources into a PostgreSQL warehouse: cleaned, checked, and loaded exactly once."""
