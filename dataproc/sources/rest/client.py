"""The client of an API: guarded, patient where it helps, and bounded in everything."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpcore2
import stamina

from dataproc.domain.errors import SourceRefusedError, SourceUnavailableError
from dataproc.ports.secrets import Secrets
from dataproc.ports.throttle import Gate, Throttle
from dataproc.sources.rest.answer import Answer, bounded, headers_of
from dataproc.sources.rest.asks import Ask, Proof, Signer, clean_header
from dataproc.sources.rest.auth import signer_for
from dataproc.sources.rest.connection import RestConnection
from dataproc.sources.rest.failures import checked, may_pass, too_long, unreached
from dataproc.sources.rest.network import Deadline, LookUp, Wires
from dataproc.sources.rest.rates import is_limited, is_temporary, pause_of
from dataproc.sources.rest.tls import context_of, public_context
from dataproc.sources.rest.urls import Origin, Pairs, led_to, origin_of, shown, with_query

AGENT = ("User-Agent", "dataproc")
REDIRECTS = frozenset({301, 302, 303, 307, 308})
FARTHEST = 5
"""Redirects that are followed."""


@dataclass(slots=True)
class RestClient:
    """Sends requests to the API of a connection; made by `open_client`."""

    connection: RestConnection
    headers: Pairs = field(repr=False)
    gate: Gate
    home: httpcore2.ConnectionPool
    away: httpcore2.ConnectionPool
    deadline: Deadline
    first_wait: timedelta
    signer: Signer = field(init=False, repr=False)
    abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def origin(self) -> Origin:
        """The server that credentials belong to."""
        return origin_of(self.connection.base_url)

    def send(self, ask: Ask) -> Answer:
        """Return the answer to a request, tried again where that may help; anything but success is an error."""
        for attempt in stamina.retry_context(
            on=may_pass,
            attempts=self.connection.attempts,
            timeout=None,
            wait_initial=self.first_wait,
            wait_max=10.0,
            wait_jitter=self.first_wait * 2,
        ):
            with attempt:
                return self.sent(ask)
        raise SourceUnavailableError(f"{shown(ask.url)} was not asked")  # pragma: no cover

    def sent(self, ask: Ask) -> Answer:
        """Return the answer to one try; a proof that was refused is renewed once."""
        answer = self.followed(ask)
        if answer.status == 401 and self.signer.renew():
            answer = self.followed(ask)
        return checked(answer, ask)

    def followed(self, ask: Ask) -> Answer:
        """Return the answer at the end of redirects, which stay on the connection's hosts."""
        hosts = frozenset(self.connection.hosts)
        for _ in range(FARTHEST + 1):
            answer = self.heard(ask)
            location = answer.header("location")
            if answer.status not in REDIRECTS or location is None:
                return answer
            url = led_to(ask.url, location, hosts, self.origin)
            if ask.method != "GET" and answer.status not in (307, 308):
                raise SourceRefusedError(f"{shown(ask.url)} answers a POST with {answer.status}, which asks for a GET")
            ask = Ask(ask.method, url, ask.headers, ask.body, ask.repeatable)
        raise SourceRefusedError(f"{shown(ask.url)}: more than {FARTHEST} redirects")

    def heard(self, ask: Ask) -> Answer:
        """Return the answer of one server; credentials go only to that of the connection."""
        if origin_of(ask.url) != self.origin:
            return self.exchanged(ask, self.away)
        self.pass_gate()
        proof = self.signer.prove(ask)
        answer = self.exchanged(ask, self.home, Proof((*self.headers, *proof.headers), proof.query))
        self.heed(answer)
        return answer

    def exchanged(self, ask: Ask, pool: httpcore2.ConnectionPool, proof: Proof | None = None) -> Answer:
        """Return what a server answers, or raise that it does not."""
        if self.abandoned.is_set():
            raise SourceUnavailableError(f"{self.origin.host} is not read any more", again=False)
        proof = proof or Proof()
        url = with_query(ask.url, proof.query)
        limits = self.connection.timeouts
        self.deadline.begin(limits.total.total_seconds())
        read, connect = limits.read.total_seconds(), limits.connect.total_seconds()
        waits = {"connect": connect, "pool": connect, "read": read, "write": read}
        try:
            with pool.stream(
                ask.method, url, headers=self.all_headers(ask, proof), content=ask.body, extensions={"timeout": waits}
            ) as response:
                headers = headers_of(response.headers)
                encoding = headers.get("content-encoding", [None])[-1]
                body = bounded(response.iter_stream(), encoding, self.connection.max_body, ask.url)
                return Answer(ask.url, response.status, headers, body)
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as exc:
            raise unreached(ask, exc) from exc

    def all_headers(self, ask: Ask, proof: Proof) -> list[tuple[str, str]]:
        """Return the headers of a request; those of the connection win over those of the job."""
        found = {"host": ("Host", str(origin_of(ask.url))), "user-agent": AGENT}
        found |= {"accept": ("Accept", "application/json"), "accept-encoding": ("Accept-Encoding", "gzip")}
        if ask.body is not None:
            found["content-length"] = ("Content-Length", str(len(ask.body)))
        found |= {name.lower(): (name, value) for name, value in (*ask.headers, *proof.headers)}
        return list(found.values())

    def leave(self) -> None:
        """Wait for nothing any more: nobody wants the answer of the request that is on its way."""
        self.abandoned.set()
        self.deadline.cut()

    def pass_gate(self) -> None:
        """Wait for the next place in the order of all workers; one that was missed is taken anew."""
        left = self.connection.max_wait
        slack = self.connection.rate.rate.slack if self.connection.rate else timedelta.max
        while (wait := self.gate.take()) > timedelta(0):
            if wait > left:
                raise too_long(self.connection, wait)
            left -= wait
            due = time.monotonic() + wait.total_seconds()
            if self.abandoned.wait(wait.total_seconds()):
                raise SourceUnavailableError(f"{self.origin.host} is not read any more", again=False)
            if self.gate.is_open() and time.monotonic() - due <= slack.total_seconds():
                return

    def heed(self, answer: Answer) -> None:
        """Let all workers pause or slow down, as an answer asks."""
        pause = pause_of(answer)
        if pause:
            self.gate.pause(pause)
        if is_limited(answer):
            self.gate.slow_down()
        if is_temporary(answer) and pause is not None and pause > self.connection.max_wait:
            raise too_long(self.connection, pause)


@contextmanager
def open_client(
    connection: RestConnection,
    secrets: Secrets,
    throttle: Throttle,
    *,
    look_up: LookUp = socket.getaddrinfo,
    first_wait: timedelta = timedelta(milliseconds=100),
) -> Iterator[RestClient]:
    """Give a client whose connections and gate are closed in the end; it waits longer from try to try."""
    headers = tuple(clean_header(name, known(value, secrets)) for name, value in connection.headers.items())
    deadline = Deadline()
    with ExitStack() as stack:
        gate = stack.enter_context(open_gate(connection, secrets, throttle))
        home = stack.enter_context(wires(connection, context_of(connection.tls, secrets), deadline, look_up).open())
        away = stack.enter_context(wires(connection, public_context(), deadline, look_up).open())
        client = RestClient(connection, headers, gate, home, away, deadline, first_wait)
        client.signer = signer_for(connection, secrets, lambda ask: token_answer(client, ask))
        yield client


def open_gate(connection: RestConnection, secrets: Secrets, throttle: Throttle) -> AbstractContextManager[Gate]:
    """Return the gate of a connection's server and credentials."""
    rate = connection.rate.rate if connection.rate else None
    return throttle.open(str(origin_of(connection.base_url)), credential_of(connection, secrets), rate)


def token_answer(client: RestClient, ask: Ask) -> Answer:
    """Return the answer to a request for a token; it goes to the token URL alone, which leads nowhere else."""
    at_home = origin_of(ask.url) == client.origin
    answer = client.exchanged(ask, client.home if at_home else client.away)
    if 400 <= answer.status < 500 and not is_temporary(answer):
        raise SourceRefusedError(f"auth/token_url: {shown(ask.url)} refused the client ({answer.status})")
    return checked(answer, ask)


def wires(connection: RestConnection, tls: ssl.SSLContext, deadline: Deadline, look_up: LookUp) -> Wires:
    """Return the connections to servers that a context of TLS is for."""
    return Wires(connection.allow_private, tls, deadline, look_up)


def known(value: str, secrets: Secrets) -> str:
    """Return a value, or the secret that it names."""
    return secrets.get(value) if value.startswith("secret://") else value


def credential_of(connection: RestConnection, secrets: Secrets) -> str:
    """Return what tells the credentials of a connection from others: their secrets, and who they are for."""
    fields = connection.auth.model_dump()
    told = {name: known(value, secrets) for name, value in fields.items() if isinstance(value, str)}
    headers = {name: known(value, secrets) for name, value in connection.headers.items()}
    return json.dumps([told, headers], sort_keys=True)
