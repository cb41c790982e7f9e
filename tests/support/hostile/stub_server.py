"""Servers in the place of MLflow's or Prefect's that fail in one way; a webhook's receiver."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS = {
    "500": (500, "application/json", b'{"error_code": "INTERNAL_ERROR", "message": "broken"}'),
    "401": (401, "application/json", b'{"detail": "Unauthorized"}'),
    "HTML": (200, "text/html", b"<html><body>Please log in.</body></html>"),
}


@contextmanager
def failing_server(how: str) -> Iterator[str]:
    """Address of a server: down, silent, or with an answer of ANSWERS to everything."""
    if how in ANSWERS:
        with _answering(how) as address:
            yield address
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if how == "silent":  # connections are taken by the kernel, and nobody reads
            listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def _answering(how: str) -> Iterator[str]:
    status, kind, body = ANSWERS[how]

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """Address of a webhook's receiver that answers so, and the bodies that it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
