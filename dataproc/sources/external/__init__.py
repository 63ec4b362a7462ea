"""Sources that other packages bring: plugins by entry points, and resources of dlt."""
