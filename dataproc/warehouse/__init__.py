"""The PostgreSQL warehouse: targets, and the schema `dataproc_load` with what must commit with them."""
