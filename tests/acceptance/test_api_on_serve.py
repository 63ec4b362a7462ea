"""What Ray Serve adds to the API."""

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tests.acceptance.installation import Installation, new_table


@pytest.mark.parametrize("given", [None, "trace-42"])
def test_a_reply_has_one_request_id_and_it_is_the_one_that_was_given(
    installation: Installation, given: str | None
) -> None:
    headers = {} if given is None else {"X-Request-ID": given}

    response = installation.api.get(f"/jobs/{uuid4()}", headers=headers)

    [request_id] = response.headers.get_list("x-request-id")
    assert request_id == (given or str(UUID(request_id)))
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_head_is_answered_without_a_body(installation: Installation) -> None:
    response = installation.api.head("/livez")

    assert (response.status_code, response.content) == (200, b"")


def test_the_end_of_a_job_is_told_at_once_to_who_waits_and_its_state_after_the_time(installation: Installation) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job = installation.submit(installation.spec("none/*", new_table(), scheduled_for=later))
    begun = time.monotonic()
    waiting = installation.job(job["id"], wait=1)
    waited = time.monotonic() - begun

    threading.Timer(1, installation.api.delete, (f"/jobs/{job['id']}",)).start()
    ended = installation.job(job["id"], wait=60)

    assert (waiting["status"], ended["status"]) == ("PENDING", "CANCELLED")
    assert waited >= 1
    # It is due in an hour, and so looked at once a second.
    assert time.monotonic() - begun - waited < 55
