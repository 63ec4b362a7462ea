"""Sources: where rows come from, cut into deterministic units."""
