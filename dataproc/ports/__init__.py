"""What the services need from the world, as protocols: the control plane is async, the data plane sync."""
