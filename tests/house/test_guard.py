"""Who may ask our servers: each rule of the guard, before an application that says yes to all."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from flows.runtime.guard import guarded
from flows.runtime.servers import LOOPBACK, free_port

AUTH = "pitchpipe:s3cr3t"
BASIC = {"Authorization": f"Basic {base64.b64encode(AUTH.encode()).decode()}"}
OPENED_ELSEWHERE = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


async def yes(_: Request) -> PlainTextResponse:
    """Answer whatever is asked."""
    return PlainTextResponse("yes")


async def as_prefect(socket: WebSocket) -> None:
    """Accept as Prefect does, whose own check is off, and say what was first said."""
    await socket.accept(subprotocol="prefect")
    await socket.send_text("too early")
    first = await socket.receive_json()
    await socket.send_text(f"welcome {first['type']}")


class Served:
    """The application behind the guard, at an address of its own."""

    def __init__(self, auth: str | None) -> None:
        socket = WebSocketRoute("/api/events/in", as_prefect)
        paths = ("/", "/health", "/api/flows", "/files")
        routes = [socket, *(Route(path, yes, methods=METHODS) for path in paths)]
        app = guarded(Starlette(routes=routes), auth=auth, closed=("/files",))
        self.host = f"{LOOPBACK}:{free_port(0)}"
        self.origin = f"http://{self.host}"
        port = int(self.host.rpartition(":")[2])
        self._server = uvicorn.Server(
            uvicorn.Config(app, host=LOOPBACK, port=port, log_level="error")
        )
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def code(self, method: str, path: str, **headers: str) -> int:
        """Ask as a program does; return the status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(method, f"{self.origin}{path}", headers=named).status_code

    def browser(self) -> httpx.Client:
        """One that keeps cookies."""
        return httpx.Client(base_url=self.origin)

    def socket(
        self, *, subprotocol: str | None = "prefect", headers: dict[str, str] | None = None
    ) -> ClientConnection:
        """Open a websocket."""
        return connect(
            f"ws://{self.host}/api/events/in",
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            additional_headers=headers,
            proxy=None,
        )


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """With a password."""
    with Served(AUTH) as server:
        yield server


@pytest.fixture(scope="module")
def without_password() -> Iterator[Served]:
    """As the scoring server is."""
    with Served(None) as server:
        yield server


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9", "null", ""])
def test_a_page_of_another_origin_is_refused_whatever_it_brings(
    served: Served, method: str, origin: str
) -> None:
    """The password, too: a browser adds the cookie by itself."""
    refused = httpx.request(
        method, f"{served.origin}/api/flows", headers={"Origin": origin, **BASIC}
    )

    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("method", "site", "destination", "code"),
    [
        ("GET", "cross-site", "empty", 403),
        ("GET", "same-site", "image", 403),
        ("GET", "same-site", "iframe", 403),
        ("POST", "cross-site", "document", 403),  # a form
        ("GET", "cross-site", "document", 200),  # a link
        ("GET", "same-origin", "empty", 200),
        ("GET", "none", "document", 200),  # typed
    ],
)
def test_what_a_page_fetches_without_saying_its_origin_is_told_by_the_browser(
    served: Served, method: str, site: str, destination: str, code: int
) -> None:
    """Pictures and scripts are asked for without an Origin; links may lead here from anywhere."""
    headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Dest": destination, **BASIC}
    assert served.code(method, "/api/flows", **headers) == code


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4200", "10.0.0.1", ""])
def test_another_host_is_refused(served: Served, without_password: Served, host: str) -> None:
    """A name of somebody else that leads to this machine: DNS rebinding."""
    named = {"Host": host, "Origin": f"http://{host}", **BASIC}
    for server in (served, without_password):
        assert server.code("POST", "/api/flows", **named) == 400
        assert server.code("GET", "/health", **named) == 400


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "localhost:8080"])
def test_this_machine_is_let_in_through_a_tunnel_too(served: Served, host: str) -> None:
    """Whatever its port: a page of that origin can only be ours."""
    named = {"Host": host, "Origin": f"http://{host}", **BASIC}
    assert served.code("POST", "/api/flows", **named) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !",
        f"Bearer {AUTH}",
        f"Basic {base64.b64encode(b'pitchpipe:').decode()}",
        f"Basic {base64.b64encode(b'pitchpipe:s3cr3t ').decode()}",
        f"Basic {base64.b64encode(b':s3cr3t').decode()}",
    ],
)
def test_a_program_without_the_password_gets_nothing(served: Served, authorization: str) -> None:
    """Only that somebody serves is told."""
    named = {"Authorization": authorization}

    assert {served.code(method, "/api/flows", **named) for method in METHODS} == {401}
    assert served.code("GET", "/api/flows") == 401
    refused = httpx.get(f"{served.origin}/api/flows")
    assert AUTH.partition(":")[0] not in refused.text
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="pitchpipe", charset="UTF-8"'
    assert served.code("GET", "/health", **named) == 200
    assert served.code("POST", "/health", **named) == 401


def test_a_program_with_the_password_is_served(served: Served) -> None:
    """As Prefect's clients and curl send it."""
    assert {served.code(method, "/api/flows", **BASIC) for method in METHODS} == {200}


def test_the_link_signs_in_and_leaves_no_token_in_the_address(served: Served) -> None:
    """The cookie is for this host's pages only, and no script reads it."""
    with served.browser() as browser:
        led = browser.get("/?a=b&token=s3cr3t")

        assert led.status_code == 303
        assert led.headers["Location"] == f"{served.origin}/?a=b"
        attributes = set(led.headers["Set-Cookie"].split("; ")[1:])
        assert attributes == {"HttpOnly", "SameSite=strict", "Path=/"}
        own, other = {"Origin": served.origin}, {"Origin": "http://127.0.0.1:9"}
        assert browser.get("/api/flows").status_code == 200
        assert browser.post("/api/flows", headers=own).status_code == 200
        assert browser.post("/api/flows", headers=other).status_code == 403
        assert browser.get("/?token=s3cr3t").status_code == 303  # out of the address again


def test_a_link_of_another_page_signs_in_by_a_page_that_goes_on_without_the_token(
    served: Served,
) -> None:
    """A redirect would come without the cookie there, and ask for the password."""
    with served.browser() as browser:
        led = browser.get("/?token=s3cr3t", headers=OPENED_ELSEWHERE)

        assert (led.status_code, "s3cr3t" in led.text) == (200, False)
        assert led.headers["Referrer-Policy"] == "no-referrer"
        assert browser.get("/api/flows").status_code == 200
        wrong = browser.get("/?token=wrong", headers=OPENED_ELSEWHERE)
        assert "location.replace" not in wrong.text


@pytest.mark.parametrize("token", ["", "wrong", "s3cr3t%20", "%F0%9F%8E%B5"])
def test_a_wrong_token_signs_nobody_in(served: Served, token: str) -> None:
    """A browser is shown where the right one is."""
    with served.browser() as browser:
        answered = browser.get(f"/?token={token}", headers={"Sec-Fetch-Mode": "navigate"})

        assert answered.status_code == 401
        assert not {"set-cookie", "www-authenticate"} & set(answered.headers)  # no other dialog
        assert ".prefect/services.json" in answered.text
        assert browser.get("/api/flows").status_code == 401


def test_servers_of_two_projects_have_cookies_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers send a cookie to every port of a host."""
    names = set()
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        monkeypatch.chdir(tmp_path / project)
        with Served(AUTH) as server, server.browser() as browser:
            names |= set(browser.get("/?token=s3cr3t").cookies)
    assert len(names) == 2


def test_closed_paths_are_closed_to_all(served: Served) -> None:
    """Also to who has the password."""
    assert {served.code(method, "/files", **BASIC) for method in METHODS} == {403}


def test_without_a_password_host_and_origin_are_looked_at_all_the_same(
    without_password: Served,
) -> None:
    """As for the scoring server."""
    assert without_password.code("POST", "/api/flows") == 200
    assert without_password.code("POST", "/api/flows", Origin=without_password.origin) == 200
    assert without_password.code("POST", "/api/flows", Origin="http://evil.example") == 403


@pytest.mark.parametrize("auth", ["", "pitchpipe", "pitchpipe:"])
def test_a_server_does_not_start_with_an_empty_password(auth: str) -> None:
    """It would let everybody in."""
    with pytest.raises(ValueError, match="no password"):
        Served(auth)


def test_a_websocket_with_the_password_in_its_header_is_served_at_once(served: Served) -> None:
    """So do Prefect's clients that send events; nothing is held back."""
    with served.socket(headers=BASIC) as socket:
        assert socket.recv() == "too early"
        socket.send(json.dumps({"type": "anything"}))
        assert socket.recv() == "welcome anything"


def test_a_websocket_of_a_page_that_is_signed_in_is_served(served: Served) -> None:
    """Browsers send the cookie, and the origin, which is ours."""
    with served.browser() as browser:
        browser.get("/?token=s3cr3t")
        ((name, value),) = browser.cookies.items()
    with served.socket(headers={"Cookie": f"{name}={value}", "Origin": served.origin}) as socket:
        assert socket.recv() == "too early"


def test_a_websocket_with_the_password_as_first_message_is_served_from_then_on(
    served: Served,
) -> None:
    """So do Prefect's other clients; what comes before it is not told."""
    with served.socket() as socket:
        socket.send(json.dumps({"type": "auth", "token": AUTH}))
        assert socket.recv() == "welcome auth"


@pytest.mark.parametrize(
    "first",
    [
        json.dumps({"type": "auth", "token": "wrong"}),
        json.dumps({"type": "auth", "token": None}),
        json.dumps({"type": "auth"}),
        json.dumps({"type": "subscribe", "token": AUTH}),
        json.dumps([AUTH]),
        "no JSON",
        "",
        b"\xff",
    ],
)
def test_a_websocket_without_the_password_is_told_nothing(
    served: Served, first: str | bytes
) -> None:
    """It is closed as one that breaks the rules."""
    with served.socket() as socket:
        socket.send(first)
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("subprotocol", "headers"),
    [
        (None, {}),  # Prefect would take it for a client of old, and ask nothing
        ("other", {}),
        ("prefect", {"Origin": "http://127.0.0.1:9", **BASIC}),
        ("prefect", {"Origin": "http://127.0.0.1:9"}),
    ],
)
def test_a_websocket_of_others_is_not_even_accepted(
    served: Served, subprotocol: str | None, headers: dict[str, str]
) -> None:
    """Browsers let pages open websockets anywhere: only the server can look at the origin."""
    with (
        pytest.raises(InvalidStatus) as refused,
        served.socket(subprotocol=subprotocol, headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403
