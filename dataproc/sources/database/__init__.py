"""Sources of databases: one reader for PostgreSQL, MySQL and SQLite each, and one for those that SQLAlchemy knows."""
