"""Servers for local use, started when no other is configured."""
