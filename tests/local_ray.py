"""A Ray of a test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
import ray
from ray import cloudpickle


@contextmanager
def own_ray(sent: ModuleType | None = None) -> Iterator[None]:
    """Start a Ray of two processors in a folder of its own, and end it; Ray authenticates as before then.

    Workers cannot import a module of tests; the code of the one that is `sent` travels with the tasks.
    """
    if sent is not None:
        cloudpickle.register_pickle_by_value(sent)  # type: ignore[no-untyped-call] # Ray leaves it untyped
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        folder = tempfile.mkdtemp(prefix="dataproc-ray-")
        try:
            ray.init(
                address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
                _temp_dir=folder,
            )  # fmt: skip
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
