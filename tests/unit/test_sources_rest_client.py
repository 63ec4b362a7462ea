"""The client of REST APIs: where it goes, what it takes, and what nobody is shown."""

import gzip
import json
import logging
import pickle
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
import trustme

from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    InvalidSpecError,
    SecretNotFoundError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.ports.throttle import UNLIMITED, Gate, OpenGate, Rate
from dataproc.sources.factory import connector_for
from dataproc.sources.rest import network
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.asks import Ask
from dataproc.sources.rest.client import RestClient, open_client
from dataproc.sources.rest.connection import RestConnection, rest_connection
from dataproc.sources.rest.urls import Origin, led_to
from tests.builders import a_connection, surroundings
from tests.fakes.secrets import FakeSecrets
from tests.rest_api import Api, Call, Reply, orders, rest_api

SECRET = "open-sesame-93"
SECRETS = FakeSecrets({"secret://crm#key": SECRET})


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        running.routes["/orders"] = lambda _: Reply([{"id": 1}])
        yield running


def connection(url: str, **fields: Any) -> RestConnection:
    config = {"base_url": url, "allow_private": True, "attempts": 2} | fields
    return rest_connection(a_connection(name="crm", kind="rest", config=config))


@contextmanager
def client(url: str, secrets: FakeSecrets = SECRETS, **fields: Any) -> Iterator[RestClient]:
    with open_client(connection(url, **fields), secrets, UNLIMITED, first_wait=timedelta(0)) as found:
        yield found


def get(url: str, path: str = "/orders", secrets: FakeSecrets = SECRETS, **fields: Any) -> Answer:
    with client(url, secrets, **fields) as found:
        return found.send(Ask("GET", url + path))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SourceRefusedError), (401, SourceRefusedError), (403, SourceRefusedError), (404, SourceNotFoundError),
        (410, SourceNotFoundError), (422, SourceRefusedError), (429, SourceUnavailableError),
        (500, SourceUnavailableError), (501, SourceRefusedError), (503, SourceUnavailableError), (304, BadDataError),
        (505, SourceRefusedError), (507, SourceUnavailableError), (520, SourceUnavailableError),
        (529, SourceUnavailableError), (599, SourceUnavailableError),
    ],
)  # fmt: skip
def test_each_status_has_its_error(api: Api, status: int, error: type[DataprocError]) -> None:
    api.routes["/orders"] = lambda _: Reply({"secret": SECRET}, status)

    with pytest.raises(error, match=f"answered {status}") as raised:
        get(api.url, attempts=1)

    assert SECRET not in repr(raised.value)


@pytest.mark.parametrize(("method", "repeatable", "tries"), [("GET", True, 3), ("POST", True, 3), ("POST", False, 1)])
@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_only_what_does_no_harm_is_tried_again(
    api: Api, method: str, *, repeatable: bool, tries: int, fault: str
) -> None:
    api.routes["/orders"] = lambda _: Reply({}, 502) if fault == "refused" else None
    body = b"{}" if method == "POST" else None

    with client(api.url, attempts=3) as found, pytest.raises(SourceUnavailableError):
        found.send(Ask(method, f"{api.url}/orders", body=body, repeatable=repeatable))

    assert api.asked("/orders") == tries


@pytest.mark.parametrize(
    ("status", "headers", "tries"),
    [
        (403, {}, 1), (403, {"Retry-After": "0"}, 3), (403, {"Retry-After": "soon"}, 1),
        (403, {"Retry-After": "Thu, 01 Jan 2026 12:00:30 GMT", "Date": "Thu, 01 Jan 2026 12:00:30 GMT"}, 3),
        (403, {"X-RateLimit-Remaining": "0"}, 3), (403, {"RateLimit-Remaining": "0"}, 3),
        (403, {"X-Rate-Limit-Remaining": " 0 ", "X-Rate-Limit-Reset": "0"}, 3),
        (403, {"RateLimit": '"day";r=0;t=0'}, 3), (403, {"RateLimit": '"day";r=0'}, 3),
        (403, {"X-RateLimit-Remaining": "17"}, 1), (403, {"RateLimit": '"day";r=17;t=9'}, 1),
        (401, {"Retry-After": "0"}, 1), (400, {"X-RateLimit-Remaining": "0"}, 1), (501, {"Retry-After": "0"}, 1),
        (505, {}, 1), (506, {}, 3), (508, {}, 3), (522, {}, 3), (530, {}, 3), (408, {}, 3), (425, {}, 3),
    ],
)  # fmt: skip
def test_an_exhausted_limit_and_faults_of_the_server_are_tried_again(
    api: Api, status: int, headers: dict[str, str], tries: int
) -> None:
    api.routes["/orders"] = lambda _: Reply({}, status, tuple(headers.items()))

    with pytest.raises(SourceUnavailableError if tries > 1 else SourceRefusedError):
        get(api.url, attempts=3)

    assert api.asked("/orders") == tries


@dataclass
class RecordingGate(OpenGate):
    """A gate that lets everything through, and the throttle that has it."""

    pauses: list[float] = field(default_factory=list)
    slowed: int = 0

    @contextmanager
    def open(self, host: str, credential: str, rate: Rate | None) -> Iterator[Gate]:
        del host, credential, rate
        yield self

    def pause(self, length: timedelta) -> None:
        self.pauses.append(length.total_seconds())

    def slow_down(self) -> None:
        self.slowed += 1


@pytest.mark.parametrize(
    ("status", "headers", "pauses", "slowed"),
    [
        (429, {"Retry-After": "7"}, [7], 1), (403, {"Retry-After": "7"}, [7], 1), (403, {}, [], 0),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, [9], 1),
        (403, {"RateLimit-Remaining": "0"}, [], 1), (503, {"Retry-After": "7"}, [7], 0),
        (502, {"Retry-After": "7"}, [7], 0), (501, {"Retry-After": "7"}, [], 0),
    ],
)  # fmt: skip
def test_all_workers_pause_and_slow_down_where_a_limit_is_spent(
    api: Api, status: int, headers: dict[str, str], pauses: list[float], slowed: int
) -> None:
    api.routes["/orders"] = lambda _: Reply({}, status, tuple(headers.items()))
    gate = RecordingGate()

    with open_client(connection(api.url, attempts=1), SECRETS, gate) as found, pytest.raises(DataprocError):
        found.send(Ask("GET", f"{api.url}/orders"))

    assert (gate.pauses, gate.slowed) == (pauses, slowed)


@pytest.mark.parametrize("status", [403, 429])
def test_a_post_that_the_limit_refused_is_sent_again_though_it_may_do_harm(api: Api, status: int) -> None:
    faults = [Reply({}, status, (("Retry-After", "0"),))]
    api.routes["/orders"] = lambda _: faults.pop() if faults else Reply([])

    with client(api.url, attempts=2) as found:
        answer = found.send(Ask("POST", f"{api.url}/orders", body=b"{}", repeatable=False))

    assert (answer.status, api.asked("/orders")) == (200, 2)


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_limit_that_lasts_longer_than_the_connection_waits_fails_at_once(api: Api, status: int) -> None:
    api.routes["/orders"] = lambda _: Reply({}, status, (("Retry-After", "3600"),))

    with pytest.raises(SourceUnavailableError, match="max_wait"):
        get(api.url, attempts=3)

    assert api.asked("/orders") == 1


def test_what_passes_is_tried_again_until_it_has(api: Api) -> None:
    faults = [Reply({}, 503), None]
    api.routes["/orders"] = lambda _: faults.pop() if faults else Reply([])

    assert json.loads(get(api.url, attempts=3).json_text()) == []


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("192.168.0.1", False), ("100.64.0.1", False), ("0.0.0.1", False), ("224.0.0.1", False), ("::1", False),
        ("fd00::1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:a00:1::", False),
    ],
)  # fmt: skip
def test_private_addresses_are_told_from_public_ones_however_they_are_written(address: str, *, is_public: bool) -> None:
    assert network.may_connect(ip_address(address), allow_private=False) is is_public


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_where_clouds_keep_credentials_is_never_reached(address: str) -> None:
    assert not network.may_connect(ip_address(address), allow_private=True)


def test_a_private_address_is_refused_and_nothing_is_sent(api: Api) -> None:
    with pytest.raises(SourceRefusedError, match="not public"):
        get(f"https://localhost:{api.port}", allow_private=False)

    assert api.calls == []


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to(api: Api) -> None:
    asked = list[str]()

    def rebinding(host: Any, *others: Any, **named: Any) -> Any:
        asked.append(str(host))
        first = asked.count("api.test") == 1
        return socket.getaddrinfo(
            ("127.0.0.1" if first else "127.0.0.2") if host == "api.test" else host, *others, **named
        )

    with open_client(connection(f"http://api.test:{api.port}"), SECRETS, UNLIMITED, look_up=rebinding) as found:
        answer = found.send(Ask("GET", f"http://api.test:{api.port}/orders"))

    assert answer.status == 200
    assert asked.count("api.test") == 1


@pytest.mark.parametrize(
    "url",
    ["http://user:pw@127.0.0.1", "ftp://127.0.0.1", "http://", "http://a b", "http://127.0.0.1/?a=1", "http://[::1"],
)
def test_an_address_that_is_none_is_refused_in_the_connection(url: str) -> None:
    with pytest.raises(InvalidSpecError, match="base_url") as raised:
        connection(url)

    assert "pw" not in str(raised.value)


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "X-Auth-Token", "Cookie", "Host", "Content-Length"])
def test_a_header_with_a_written_out_credential_or_of_the_transport_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpecError, match=name) as raised:
        connection("http://127.0.0.1", headers={name: SECRET})

    assert SECRET not in str(raised.value)


def test_nothing_goes_in_the_clear_through_public_networks() -> None:
    with pytest.raises(InvalidSpecError, match="https://"):
        connection("http://api.example.com", allow_private=False)


def test_a_redirect_on_the_same_server_keeps_the_credentials(api: Api) -> None:
    api.routes["/moved"] = lambda _: Reply({}, 302, (("Location", "/orders"),))

    get(api.url, "/moved", auth={"kind": "bearer", "token": "secret://crm#key"})

    assert [call.headers["authorization"] for call in api.calls] == [f"Bearer {SECRET}"] * 2


def test_credentials_never_travel_to_another_host(api: Api) -> None:
    with rest_api() as other:
        other.routes["/orders"] = lambda _: Reply([])
        api.routes["/moved"] = lambda _: Reply({}, 307, (("Location", f"{other.url}/orders"),))
        for auth in (
            {"kind": "bearer", "token": "secret://crm#key"},
            {"kind": "api_key", "key": "secret://crm#key", "name": "key", "place": "query"},
            {"kind": "basic", "user": "ann", "password": "secret://crm#key"},
            {"kind": "hmac", "key": "secret://crm#key"},
        ):
            get(api.url, "/moved", auth=auth, headers={"X-Key": "secret://crm#key"})

        assert len(other.calls) == 4
        for call in other.calls:
            assert SECRET not in repr(call)
            assert not {"authorization", "x-key", "x-signature"} & call.headers.keys()
    assert SECRET in repr(api.calls[0])


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest", "http://evil.test/orders", "//evil.test/", "http://a:b@127.0.0.1/", "ftp://x/"],
)
def test_a_redirect_to_a_host_that_is_not_listed_is_refused(api: Api, location: str) -> None:
    api.routes["/moved"] = lambda _: Reply({}, 302, (("Location", location),))

    with pytest.raises(SourceRefusedError):
        get(api.url, "/moved")

    assert len(api.calls) == 1


def test_a_listed_host_is_reached_and_a_circle_of_redirects_is_not_followed_for_ever(api: Api) -> None:
    api.routes["/round"] = lambda _: Reply({}, 302, (("Location", f"http://localhost:{api.port}/round"),))

    with pytest.raises(SourceRefusedError, match="redirects"):
        get(api.url, "/round", hosts=["localhost"])

    assert len(api.calls) == 6


HOME = Origin("https", "api.example.com", 443)


@pytest.mark.parametrize(
    ("entry", "url", "is_listed"),
    [
        ("files.example.com", "https://files.example.com/x", True),
        ("files.example.com", "https://files.example.com:8443/x", True),
        ("Files.Example.com.", "https://files.example.com/x", True),
        ("files.example.com:8443", "https://files.example.com:8443/x", True),
        ("files.example.com:8443", "https://files.example.com/x", False),
        ("files.example.com:443", "https://files.example.com/x", True),
        ("files.example.com:443", "https://files.example.com:8443/x", False),
        ("files.example.com", "https://x.files.example.com/", False),
        ("::1", "https://[::1]/x", True), ("[::1]", "https://[::1]:9/x", True), ("[::1]:9", "https://[::1]:9/x", True),
        ("[::1]:9", "https://[::1]/x", False), ("10.0.0.7:80", "https://10.0.0.7:80/x", True),
    ],
)  # fmt: skip
def test_an_entry_of_hosts_may_have_a_port(entry: str, url: str, *, is_listed: bool) -> None:
    hosts = frozenset(connection("https://api.example.com", hosts=[entry]).hosts)

    if is_listed:
        assert led_to("https://api.example.com/orders", url, hosts, HOME) == url
        return
    with pytest.raises(SourceRefusedError, match="does not list"):
        led_to("https://api.example.com/orders", url, hosts, HOME)


@pytest.mark.parametrize(
    "entry",
    [
        "https://files.example.com", "files.example.com/x", "*.example.com", "a b", "", "user@files.example.com",
        "files.example.com:", "files.example.com:http", "files.example.com:99999", "files.example.com?x", "[x]", ":80",
    ],
)  # fmt: skip
def test_an_entry_of_hosts_that_would_allow_nothing_is_refused(entry: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"hosts: .* is not a host; write its name alone"):
        connection("https://api.example.com", hosts=[entry])


def test_a_redirect_to_a_listed_port_is_followed(api: Api) -> None:
    with rest_api() as other:
        other.routes["/orders"] = lambda _: Reply([])
        api.routes["/moved"] = lambda _: Reply({}, 307, (("Location", f"http://localhost:{other.port}/orders"),))

        assert get(api.url, "/moved", hosts=[f"localhost:{other.port}"]).status == 200
        with pytest.raises(SourceRefusedError, match=f"localhost:{other.port}"):
            get(api.url, "/moved", hosts=["localhost:1"])


def test_an_answer_larger_than_allowed_is_refused_also_when_it_is_packed(api: Api) -> None:
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    api.routes["/large"] = lambda _: Reply(b" " * 5000)
    api.routes["/bomb"] = lambda _: Reply(bomb, headers=(("Content-Encoding", "gzip"),))

    for path, largest in (("/large", 4096), ("/bomb", 1_000_000)):
        with pytest.raises(BadDataError, match="more than"):
            get(api.url, path, max_body=largest)


def test_a_packed_answer_is_read(api: Api) -> None:
    packed = gzip.compress(json.dumps(orders(500)).encode())
    api.routes["/orders"] = lambda _: Reply(packed, headers=(("Content-Encoding", "gzip"),))

    assert json.loads(get(api.url).json_text()) == orders(500)


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"<html>log in</html>", "text/html", "not JSON"), (b"{}", None, "nothing"),
        (b"[1", "application/json", "not JSON: it is cut off"),
        (b"[NaN]", "application/json", r"not JSON: invalid character \(byte 1\)"),
        (b"[1, Infinity]", "application/json", r"not JSON: invalid character \(byte 4\)"),
        (b"[1] x", "application/json", r"not JSON: trailing characters"),
        (rb'["\ud800", x]', "application/json", r"not JSON: invalid character \(byte 11\)"),
        (b"[" * 200_000, "application/json", "not JSON: it is nested too deep"),
        (b'["\xff"]', "application/json", "utf-8"), (b"[]", "application/json; charset=klingon", "klingon"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_json_is_told(api: Api, body: bytes, content_type: str | None, message: str) -> None:
    api.routes["/orders"] = lambda _: Reply(body, content_type=content_type)

    with pytest.raises(BadDataError, match=message):
        get(api.url).json_text()


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json", "utf-8"), ("application/vnd.api+json", "utf-8-sig"),
        ("text/json; charset=latin-1", "latin-1"), ("application/json; charset=UTF-16", "utf-16"),
    ],
)  # fmt: skip
def test_json_is_read_in_the_charset_that_it_is_told_to_be_in(api: Api, content_type: str, charset: str) -> None:
    api.routes["/orders"] = lambda _: Reply('["Zoë"]'.encode(charset), content_type=content_type)

    assert json.loads(get(api.url).json_text()) == ["Zoë"]


def test_a_server_that_trickles_is_left_after_the_time_for_the_whole_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def trickle() -> None:
            conn, _ = server.accept()
            with conn:
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n")
                while not done.wait(0.02):
                    try:
                        conn.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            with pytest.raises(SourceUnavailableError, match="in time"):
                get(url, attempts=1, timeouts={"total": "300ms"})
        finally:
            done.set()
            thread.join()


def test_a_body_that_breaks_off_is_tried_again(api: Api) -> None:
    replies = [Reply([]), Reply(b"[", headers=(("Content-Length", "99"), ("Connection", "close")))]
    api.routes["/orders"] = lambda _: replies.pop()

    assert json.loads(get(api.url).json_text()) == []


def test_the_certificate_of_a_client_is_shown_at_home_and_strangers_are_not_trusted() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("dataproc")
    secrets = FakeSecrets(
        {
            "secret://tls#cert": mine.cert_chain_pems[0].bytes().decode(),
            "secret://tls#key": mine.private_key_pem.bytes().decode(),
            "secret://tls#ca": authority.cert_pem.bytes().decode(),
        }
    )
    trusting = {"authorities": "secret://tls#ca"}
    known = trusting | {"certificate": "secret://tls#cert", "key": "secret://tls#key"}
    with rest_api(server) as api:
        api.routes["/orders"] = lambda _: Reply([])

        assert get(api.url, secrets=secrets, tls=known).status == 200
        with pytest.raises(SourceUnavailableError):
            get(api.url, secrets=secrets, attempts=1, tls=trusting)
        with pytest.raises(SourceRefusedError, match="cannot be trusted"):
            get(api.url, secrets=secrets, attempts=1)


@pytest.mark.parametrize("pem", ["no PEM", ""])
def test_a_certificate_that_cannot_be_read_is_told(api: Api, pem: str) -> None:
    secrets = FakeSecrets({"secret://tls": pem})

    with pytest.raises(SourceRefusedError, match="PEM"):
        get(api.url, secrets=secrets, tls={"certificate": "secret://tls"})


def test_nothing_secret_is_in_logs_errors_reprs_or_pickles(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    auth = {"kind": "api_key", "key": "secret://crm#key", "name": "key", "place": "query"}
    api.routes["/orders"] = lambda _: Reply({}, 503)
    told = connection(api.url, auth=auth)
    with client(api.url, auth=auth) as found, pytest.raises(SourceUnavailableError) as raised:
        found.send(Ask("GET", f"{api.url}/orders"))

    assert api.calls[0].query == {"key": SECRET}
    shown = [repr(found), repr(raised.value), str(pickle.dumps(told)), repr(told), caplog.text]
    assert not [text for text in shown if SECRET in text]


def test_a_secret_that_is_missing_is_told_by_its_reference(api: Api) -> None:
    with pytest.raises(SecretNotFoundError, match="secret://crm#other"):
        get(api.url, auth={"kind": "bearer", "token": "secret://crm#other"})


def test_a_secret_that_would_be_more_than_a_header_is_refused_without_showing_it(api: Api) -> None:
    secrets = FakeSecrets({"secret://crm#key": "a\r\nX-Evil: 1"})

    with pytest.raises(SourceRefusedError, match="header") as raised:
        get(api.url, secrets=secrets, headers={"X-Key": "secret://crm#key"})

    assert "Evil" not in str(raised.value)


def test_a_connector_tells_what_it_reaches_and_what_there_is_to_read(api: Api) -> None:
    api.routes |= {"/": lambda _: Reply({}), "/wrong": lambda _: Reply({}, 401)}
    config = {"base_url": api.url, "allow_private": True, "resources": {"orders": {"path": "/orders"}}}
    found = connector_for(surroundings(connection=a_connection(kind="rest", config=config)))

    assert "answered 200" in found.test()
    assert [(one.name, one.columns) for one in found.discover()] == [("orders", (("id", "int64"),))]
    with pytest.raises(SourceRefusedError):
        connector_for(
            surroundings(connection=a_connection(kind="rest", config=config | {"test_path": "/wrong"}))
        ).test()


def test_calls_carry_no_more_than_they_must(api: Api) -> None:
    get(api.url)

    call: Call = api.calls[0]
    assert set(call.headers) == {"host", "user-agent", "accept", "accept-encoding"}
