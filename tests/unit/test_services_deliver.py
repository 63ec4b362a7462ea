"""The outbox: every event arrives, under the same id however often it is sent."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest

from dataproc.domain.errors import ReceiverUnavailableError
from dataproc.domain.fault_points import FaultPoint, hooked
from dataproc.ports.events import Event
from dataproc.services.deliver import Deliverer
from tests.builders import an_event
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Ear:
    """A receiver that notes what it is told, and refuses some."""

    heard: list[UUID] = field(default_factory=list)
    refused: set[UUID] = field(default_factory=set)

    async def deliver(self, event: Event) -> None:
        self.heard.append(event.id)
        if event.id in self.refused:
            raise ReceiverUnavailableError


@dataclass(slots=True)
class Post:
    """A deliverer on fakes."""

    store: FakeStore = field(default_factory=FakeStore)
    ear: Ear = field(default_factory=Ear)

    @property
    def deliverer(self) -> Deliverer:
        return Deliverer(self.store, self.ear, dice=lambda: 1.0)

    async def add(self, *events: Event) -> None:
        async with self.store.begin() as tables:
            for event in events:
                await tables.outbox.add(event)


async def test_an_event_is_delivered_once_when_all_is_well() -> None:
    post, event = Post(), an_event()
    await post.add(event)

    assert [await post.deliverer.deliver(), await post.deliverer.deliver()] == [1, 0]

    assert post.ear.heard == [event.id]


async def test_an_event_that_is_refused_keeps_no_other_waiting_and_comes_again_later() -> None:
    post, refused, other = Post(), an_event(), an_event()
    await post.add(refused, other)
    post.ear.refused = {refused.id}

    assert await post.deliverer.deliver() == 1
    assert await post.deliverer.deliver() == 0
    post.ear.refused = set()
    post.store.now += timedelta(seconds=2)

    assert await post.deliverer.deliver() == 1
    assert post.ear.heard == [refused.id, other.id, refused.id]


async def test_the_pauses_between_deliveries_grow_and_end_at_some_minutes() -> None:
    post = Post()
    delays = [post.deliverer.delay(an_event(attempts=attempts)) for attempts in (0, 1, 5, 50, 5000)]

    assert delays == [timedelta(seconds=seconds) for seconds in (1, 2, 32, 300, 300)]


async def test_an_event_whose_delivery_could_not_be_noted_is_delivered_again() -> None:
    post, event = Post(), an_event()
    await post.add(event)

    with hooked(die_after_delivery), pytest.raises(ZeroDivisionError):
        await post.deliverer.deliver()

    assert await post.deliverer.deliver() == 1
    assert post.ear.heard == [event.id, event.id]


def die_after_delivery(point: FaultPoint) -> None:
    """Fail at the moment between the delivery and its note."""
    if point is FaultPoint.DELIVERED:
        raise ZeroDivisionError
