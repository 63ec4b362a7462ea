"""A Ray of a test's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray


@contextmanager
def own_ray() -> Iterator[None]:
    """Start a Ray of two processors, and end it; the way in which Ray authenticates is as before then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()
