"""A module that fails when it is imported."""

VALUE = 1 // 0
