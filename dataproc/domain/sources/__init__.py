"""What a job says of its source, one file a kind."""
