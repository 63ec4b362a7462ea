"""Entrypoints of Ray Jobs and of the processes beside them."""
