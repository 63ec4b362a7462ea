"""Who may do what, and where secrets are kept."""
