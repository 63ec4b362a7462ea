"""The keeper: it brings back what died, as often as it dies, whatever goes wrong, and nothing once it has ended."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from dataproc.cli.keeper import IsOver, Part, kept, look_after
from dataproc.domain.errors import SetupError

FAST, LONG = 0.001, 20.0


@dataclass(slots=True)
class Patient:
    """A part that dies and comes back as a test wants it; `troubles` are met one after the other before it does."""

    troubles: list[Exception] = field(default_factory=list)
    lives: bool = True
    mends: int = 0
    threads: set[int] = field(default_factory=set)
    back: threading.Event = field(default_factory=threading.Event)

    def mend(self, _: IsOver) -> None:
        """Come back, or meet a trouble."""
        self.mends += 1
        self.threads.add(threading.get_ident())
        if self.troubles:
            raise self.troubles.pop(0)
        self.lives = True
        self.back.set()

    def die(self) -> None:
        """Be dead until mended."""
        self.back.clear()
        self.lives = False

    def part(self, patience: float = 0.0) -> Part:
        """Return this as what a keeper keeps."""
        return Part("it", lambda: self.lives, self.mend, patience)


def silent(_: str) -> None:
    """Tell nobody."""


def test_what_dies_is_brought_back_each_time_by_one_thread_that_lives_on() -> None:
    patient = Patient()

    with kept([patient.part()], silent, FAST):
        for _ in range(3):
            patient.die()
            assert patient.back.wait(LONG)

    assert (patient.mends, len(patient.threads)) == (3, 1)


@pytest.mark.parametrize("trouble", [SetupError("no port is free"), ZeroDivisionError()])
def test_nothing_that_goes_wrong_ends_the_keeper(trouble: Exception, caplog: pytest.LogCaptureFixture) -> None:
    patient, said = Patient([trouble, trouble], lives=False), list[str]()

    with kept([patient.part()], said.append, FAST):
        assert patient.back.wait(LONG)

    assert patient.mends == 3
    told = [text for text in said if "no port is free" in text]
    logged = [record for record in caplog.records if record.exc_info]
    assert len(told) + len(logged) == 2


def test_a_part_that_cannot_be_looked_at_does_not_keep_others_from_coming_back() -> None:
    patient = Patient(lives=False)

    with kept([Part("broken", not_there, patient.mend), patient.part()], silent, FAST):
        assert patient.back.wait(LONG)


def not_there() -> bool:
    """Fail as a look may fail."""
    raise FileNotFoundError


def test_a_part_gets_its_time_to_come_back_by_itself() -> None:
    patient = Patient(lives=False)
    part = patient.part(patience=10)

    assert [part.is_due(now) for now in (100, 109)] == [False, False]
    patient.lives = True
    assert not part.is_due(110)
    patient.lives = False
    assert [part.is_due(now) for now in (111, 120, 121)] == [False, False, True]


def test_nothing_is_brought_back_after_the_end() -> None:
    patient = Patient()
    with kept([patient.part()], silent, FAST):
        pass

    patient.die()

    assert not patient.back.wait(0.1)


def test_nothing_is_brought_back_by_a_keeper_that_was_told_to_end_while_it_looks() -> None:
    patient, ended = Patient(lives=False), threading.Event()
    ended.set()

    look_after(patient.part(), silent, ended)

    assert patient.mends == 0


def test_the_end_does_not_wait_for_a_part_that_never_comes_back() -> None:
    began = threading.Event()

    def wait_in_vain(is_over: IsOver) -> None:
        began.set()
        wait_until(is_over)
        raise SetupError

    said: list[str] = []
    with kept([Part("it", lambda: False, wait_in_vain)], said.append, FAST):
        assert began.wait(LONG)

    assert said == ["it died, starting it again"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something, but not forever."""
    pause = threading.Event()
    for _ in range(int(LONG / FAST)):
        if condition():
            return
        pause.wait(FAST)
