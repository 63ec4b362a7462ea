"""Benchmarks: the whole product, side by side with its peers."""
