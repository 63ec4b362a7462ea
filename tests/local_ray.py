"""A Ray of a test's own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
import ray
from ray import cloudpickle

from dataproc.embedded.ports import ATTEMPTS


@contextmanager
def own_ray(sent: ModuleType | None = None) -> Iterator[None]:
    """Start a Ray of two processors in a folder of its own, and end it; Ray authenticates as before then.

    Workers cannot import a module of tests; the code of the one that is `sent` travels with the tasks.
    """
    if sent is not None:
        cloudpickle.register_pickle_by_value(sent)  # type: ignore[no-untyped-call] # Ray leaves it untyped
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with tempfile.TemporaryDirectory(prefix="dataproc-ray-", ignore_cleanup_errors=True) as folder:
            start(folder)
            try:
                yield
            finally:
                ray.shutdown()


def start(folder: str) -> None:
    """Start a Ray; it gives up by itself when its node is not there within 30 seconds, as on a busy machine."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(
                address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
                _temp_dir=folder,
            )  # fmt: skip
        except Exception:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise
        else:
            return
