"""What dataproc tells of itself: logs and metrics."""
