"""The tests, and what they share: `builders`, `fakes` and the fixtures of `conftest`."""
