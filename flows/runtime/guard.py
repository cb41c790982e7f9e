"""Who may ask a server of ours: ASGI middleware around Prefect's, MLflow's and the scoring server.

Loopback is open to every user of the machine, and to every web page in a browser on it. So a
request must name this machine as its Host (or a page could point a name of its own here: DNS
rebinding), must not come from a page of another origin, and must bring the server's password:
programs as HTTP basic authentication (in Prefect's websockets also as their first message), pages
as a cookie, which a link with `?token=` sets.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Collection, Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
HEALTH = ("/health", "/api/health", "/ping")
"""Paths that tell no more than that a server serves: for `status`, `doctor` and load balancers."""
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="pitchpipe", charset="UTF-8"'}
"""Programs that send a password only where it is asked for look for it (RFC 7235, 4.1)."""
SIGN_IN = """<!doctype html><html lang="en"><title>pitchpipe: sign in</title>
<h1>Sign in</h1>
<p>Open the link that <code>pitchpipe up</code> shows at its terminal, or give its password, which
it keeps in <code>.prefect/services.json</code>.</p>
<form onsubmit="this.action = location.pathname + location.hash">
<input type="password" name="token" aria-label="Password" autofocus><button>Sign in</button>
</form></html>"""
"""The fragment, by which MLflow's pages are named, never reaches the server: the form keeps it."""
GO_ON = """<!doctype html><html lang="en"><title>pitchpipe</title><script>
const page = new URL(location); page.searchParams.delete("token"); location.replace(page);
</script></html>"""
"""Replaces itself in the browser's history, too, which else would keep the token."""


def guarded(
    app: ASGIApp,
    *,
    auth: str | None,
    closed: Collection[str] = (),
    hosts: Sequence[str] = HOSTS,
) -> ASGIApp:
    """Put a guard before an application.

    auth: `user:password`; null looks at Host and origin alone. closed: paths nobody may ask for.
    hosts: names by which it may be asked.
    """
    guard = Guard(app, auth=auth, closed=closed)
    return TrustedHostMiddleware(guard, hosts, www_redirect=False)


class Guard:
    """Lets through what comes from no page of another origin and brings the password, if any."""

    def __init__(self, app: ASGIApp, *, auth: str | None, closed: Collection[str]) -> None:
        self._app = app
        self._closed = closed
        self._asks = auth is not None
        self._auth = auth or ""
        self._password = self._auth.partition(":")[2]
        if self._asks and not self._password:
            raise ValueError("auth: no password in it; give `user:password`")
        # A cookie is sent to all ports of a host: the servers of each project need their own.
        project = hashlib.sha256(bytes(Path.cwd())).hexdigest()
        self._cookie = f"pitchpipe_{project[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        answer = _forbidden(request, self._closed) or self._unauthorized(request)
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        elif answer.status_code == HTTPStatus.UNAUTHORIZED and _speaks_prefects(request):
            socket = FirstMessage(receive, send, auth=self._auth)
            await self._app(scope, socket.receive, socket.send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _unauthorized(self, request: HTTPConnection) -> Response | None:
        """Answer who does not bring the password, or brings it in a link; None for the rest."""
        if not self._asks or _asks_for_health(request):
            return None
        if _same(request.query_params.get("token", ""), self._password):
            return self._signed_in(request)
        if self._is_known(request):
            return None
        if request.headers.get("sec-fetch-mode") == "navigate":
            return HTMLResponse(SIGN_IN, HTTPStatus.UNAUTHORIZED)
        text = "This server asks for a user and a password, by basic authentication."
        # Browsers ask for a password of their own where a page's script gets this header.
        challenge = None if "sec-fetch-mode" in request.headers else _CHALLENGE
        return PlainTextResponse(text, HTTPStatus.UNAUTHORIZED, challenge)

    def _is_known(self, request: HTTPConnection) -> bool:
        basic = f"Basic {base64.b64encode(self._auth.encode()).decode()}"
        return _same(request.headers.get("authorization", ""), basic) or _same(
            request.cookies.get(self._cookie, ""), self._password
        )

    def _signed_in(self, request: HTTPConnection) -> Response:
        """Set the cookie and lead to the same page without the token, which nobody bookmarks.

        Browsers do not send the cookie to where a link of another page leads, redirects included;
        then a page of our own goes on.
        """
        page = str(request.url.remove_query_params("token"))
        answer: Response = RedirectResponse(page, HTTPStatus.SEE_OTHER)
        if request.headers.get("sec-fetch-site") == "cross-site":
            answer = HTMLResponse(GO_ON, headers={"Referrer-Policy": "no-referrer"})
        answer.set_cookie(self._cookie, self._password, httponly=True, samesite="strict")
        return answer


class FirstMessage:
    """A websocket of Prefect's clients, most of which send the password as their first message.

    Until it came the application may accept the connection, and no more.
    """

    def __init__(self, receive: Receive, send: Send, *, auth: str) -> None:
        self._receive = receive
        self._send = send
        self._auth = auth
        self._known = False

    async def receive(self) -> Message:
        """Return the next message; the first one only if it is the password."""
        message = await self._receive()
        if self._known or message["type"] != "websocket.receive":
            return message
        if not self._is_auth(message):
            await self._send({"type": "websocket.close", "code": 1008, "reason": "Invalid token"})
            return {"type": "websocket.disconnect", "code": 1008}
        self._known = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if self._known or message["type"] != "websocket.send":
            await self._send(message)

    def _is_auth(self, message: Message) -> bool:
        try:
            first = json.loads(message.get("text") or message.get("bytes") or "")
        except ValueError:
            return False
        return (
            isinstance(first, dict)
            and first.get("type") == "auth"
            and _same(str(first.get("token")), self._auth)
        )


def _forbidden(request: HTTPConnection, closed: Collection[str]) -> Response | None:
    """Answer what nobody may do, whatever they bring; None for the rest."""
    if _is_from_another_page(request):
        text = "Pages of another origin may not ask this server."
    elif request.scope["path"] in closed:
        text = "This server shows what is there; it takes no files."
    else:
        return None
    return PlainTextResponse(text, HTTPStatus.FORBIDDEN)


def _is_from_another_page(request: HTTPConnection) -> bool:
    """Whether a browser says that a page of another origin asks; other programs say nothing.

    A link may lead here from anywhere: what is opened is a page, by GET and in a window of its own.
    """
    headers = request.headers
    origin = headers.get("origin")
    if origin is not None:
        return origin != f"http://{headers.get('host')}"
    opened = (request.scope.get("method"), headers.get("sec-fetch-dest")) == ("GET", "document")
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened


def _asks_for_health(request: HTTPConnection) -> bool:
    return request.scope["path"] in HEALTH and request.scope.get("method") == "GET"


def _speaks_prefects(request: HTTPConnection) -> bool:
    """Whether a websocket begins as those of Prefect do; others would be served at once."""
    return "prefect" in request.scope.get("subprotocols", ())


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return secrets.compare_digest(one.encode(), other.encode())
