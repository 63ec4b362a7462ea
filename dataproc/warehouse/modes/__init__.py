"""How staged rows get into their target: one module a mode, each within the publish transaction."""
