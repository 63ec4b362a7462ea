"""Transforms: pure functions of a chunk."""
