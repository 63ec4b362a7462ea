"""The API as a Ray Serve application: the only file that knows Serve.

`serve run serve_app.deployment:app`, or by the RayService of the Helm chart.
"""

from fastapi import FastAPI
from ray import serve

from dataproc.bootstrap import open_services
from dataproc.services.waiting import MOST
from dataproc.settings import Settings
from serve_app.app import create_app


def build() -> FastAPI:
    """Build the API on the replica, where its connections will live."""
    # Serve puts the request's id into each reply by itself.
    return create_app(lambda: open_services(Settings()), tells_request_id=False)


app = serve.deployment(
    name="job-api",
    num_replicas=Settings().api_replicas,
    # Those who wait for jobs can take half of it, so that the others need not wait for them.
    max_ongoing_requests=2 * MOST,
    max_queued_requests=2000,
    ray_actor_options={"num_cpus": 0},
)(serve.ingress(build)()).bind()
