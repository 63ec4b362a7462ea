"""What Ray Serve adds to the API."""

from uuid import UUID, uuid4

import pytest

from tests.acceptance.installation import Installation


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
