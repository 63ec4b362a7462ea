"""Rows that other jobs have set aside."""
