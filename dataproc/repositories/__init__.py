"""The metadata database: its tables, its migrations, and the statements that move a job."""
