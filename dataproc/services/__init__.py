"""What dataproc does, in terms of its ports."""
