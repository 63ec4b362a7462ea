"""The world in memory, under the laws of `tests/contract`."""
