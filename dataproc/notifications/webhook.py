"""Events as CloudEvents 1.0 in JSON, posted to a URL: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md."""

from dataclasses import dataclass, field

import httpx2

from dataproc.domain.errors import ReceiverUnavailableError, SetupError
from dataproc.ports.events import Event

MEDIA_TYPE = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that takes events; whatever it answers with 2xx counts as taken."""

    client: httpx2.AsyncClient = field(repr=False)
    url: str = field(repr=False)

    async def deliver(self, event: Event) -> None:
        """Post an event, or raise `ReceiverUnavailableError`."""
        try:
            response = await self.client.post(
                self.url, json=as_cloud_event(event), headers={"Content-Type": MEDIA_TYPE}
            )
            response.raise_for_status()
        except httpx2.HTTPStatusError as exc:
            # The URL may hold a secret, so no message names it.
            raise ReceiverUnavailableError(f"the receiver of events answered {exc.response.status_code}") from None
        except httpx2.HTTPError as exc:
            raise ReceiverUnavailableError(f"the receiver of events: {type(exc).__name__}") from None


def as_cloud_event(event: Event) -> dict[str, object]:
    """Return an event as CloudEvents writes it; a receiver knows one that comes twice by its `id`."""
    return {
        "specversion": "1.0",
        "id": str(event.id),
        "source": "/dataproc",
        "type": f"dataproc.{event.kind}",
        "subject": str(event.job_id),
        "time": None if event.created_at is None else event.created_at.isoformat(),
        "datacontenttype": "application/json",
        "data": {"job_id": str(event.job_id), **event.data},
    }


def webhook_client() -> httpx2.AsyncClient:
    """Return a client for webhooks; it follows no redirect, for that would hand the event to somebody else."""
    return httpx2.AsyncClient(timeout=httpx2.Timeout(10.0), follow_redirects=False, trust_env=False)


def demand_url(url: str) -> str:
    """Return the URL of a webhook, or refuse what is none."""
    if not url.startswith(("http://", "https://")):
        raise SetupError("DATAPROC_EVENTS_URL is no URL: write https://host/path", setting="DATAPROC_EVENTS_URL")
    return url
