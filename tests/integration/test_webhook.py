"""Events over HTTP: as CloudEvents, and with nothing of the URL in what is told of a failure."""

import json

import pytest
from pytest_httpserver import HTTPServer

from dataproc.domain.errors import ReceiverUnavailableError, SetupError
from dataproc.notifications.webhook import Webhook, demand_url, webhook_client
from tests.builders import SOME_TIME, an_event

pytestmark = pytest.mark.anyio


async def test_an_event_is_posted_as_a_cloud_event(httpserver: HTTPServer) -> None:
    httpserver.expect_oneshot_request("/events", method="POST").respond_with_data(status=204)
    event = an_event(created_at=SOME_TIME, data={"name": "orders-daily", "attempt": 1})

    async with webhook_client() as client:
        await Webhook(client, httpserver.url_for("/events")).deliver(event)

    [(request, _)] = httpserver.log
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    assert json.loads(request.data) == {
        "specversion": "1.0",
        "id": str(event.id),
        "source": "/dataproc",
        "type": "dataproc.job.completed",
        "subject": str(event.job_id),
        "time": "2026-01-01T00:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"job_id": str(event.job_id), "name": "orders-daily", "attempt": 1},
    }


@pytest.mark.parametrize("status", [301, 400, 500])
async def test_whatever_is_no_success_is_told_without_the_url(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/secret-hook").respond_with_data(status=status, headers={"Location": "/elsewhere"})

    async with webhook_client() as client:
        with pytest.raises(ReceiverUnavailableError, match=f"answered {status}") as raised:
            await Webhook(client, httpserver.url_for("/secret-hook")).deliver(an_event())

    assert "secret" not in str(raised.value)


async def test_a_receiver_that_is_away_is_told_without_the_url() -> None:
    async with webhook_client() as client:
        with pytest.raises(ReceiverUnavailableError, match="ConnectError") as raised:
            await Webhook(client, "http://127.0.0.1:9/secret-hook").deliver(an_event())

    assert "secret" not in str(raised.value)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(SetupError, match="DATAPROC_EVENTS_URL is no URL"):
        demand_url("slack")
