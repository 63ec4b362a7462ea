"""Ray: the engine of Ray Data, Ray Jobs, and how much of them a cluster bears."""
