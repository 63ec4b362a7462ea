"""Events in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from dataproc.ports.events import Event
from tests.fakes.state import Memory, State


@dataclass(frozen=True, slots=True)
class FakeOutbox:
    """Events that wait for delivery."""

    memory: Memory

    @property
    def state(self) -> State:
        return self.memory.state

    async def add(self, event: Event) -> None:
        if event.id not in self.state.events:
            now = self.memory.tick()
            self.state.events[event.id] = replace(event, created_at=now, attempts=0)
            self.state.due[event.id] = now

    async def pending(self, *, limit: int) -> Sequence[Event]:
        waiting = [event_id for event_id in self.state.events if event_id not in self.state.delivered]
        due = [event_id for event_id in waiting if self.state.due[event_id] <= self.memory.now]
        return [self.state.events[event_id] for event_id in sorted(due, key=self.state.due.__getitem__)[:limit]]

    async def delivered(self, event_id: UUID) -> None:
        self.state.delivered.add(event_id)

    async def put_off(self, event_id: UUID, *, delay: timedelta) -> None:
        if event_id in self.state.events and event_id not in self.state.delivered:
            event = self.state.events[event_id]
            self.state.events[event_id] = replace(event, attempts=event.attempts + 1)
            self.state.due[event_id] = self.memory.now + delay
