"""The ASGI application: its routes, their answers, and errors as JSON."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from flows.versions.serving.batching import Batcher
from flows.versions.serving.bodies import Reader, Reading, read_any, read_invocation, too_late
from flows.versions.serving.intake import Intake
from flows.versions.serving.metrics import CONTENT_TYPE, Metrics
from flows.versions.serving.records import (
    Batching,
    InService,
    Limits,
    RefusedError,
    ServedVersion,
)
from flows.versions.serving.shadow import Answered, Shadow
from models.datasets.decoding import filter_warnings
from models.processes import usable_cores

log = logging.getLogger(__name__)

VERSION_HEADER = "X-Pitchpipe-Version"
CLIENT_GONE = 499
"""Nobody reads it; nginx's number, for the metric."""
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Probabilities (n, classes), and the version whose they are."""

    version: ServedVersion
    probabilities: NDArray[np.float32]


class Service:
    """The routes over one version in service."""

    def __init__(
        self,
        in_service: InService,
        limits: Limits,
        batching: Batching,
        metrics: Metrics,
        *,
        shadow: Shadow | None = None,
    ) -> None:
        self._shadow = shadow
        self._in_service = in_service
        self._limits = limits
        self._metrics = metrics
        self._intake = Intake(limits)
        self._batcher = Batcher(batching, metrics)
        self._decoders = ThreadPoolExecutor(usable_cores(), "decoder")
        metrics.serve(in_service.version)

    def app(self) -> Starlette:
        """All routes; warnings of this process are set for decoding in threads."""
        asked: dict[str, tuple[str, Endpoint]] = {
            "/predict": ("POST", self.predict),
            "/invocations": ("POST", self.invocations),
            "/ping": ("GET", self.ping),
            "/health": ("GET", self.ping),
            "/version": ("GET", self.version),
            "/metrics": ("GET", self.metrics),
        }
        return Starlette(
            routes=[
                Route(path, self._counted(path, endpoint), methods=[method])
                for path, (method, endpoint) in asked.items()
            ],
            exception_handlers={HTTPException: _not_there},
            lifespan=self._lifespan,
        )

    async def predict(self, request: Request) -> Response:
        """Label, its probability and all probabilities of each image."""
        answer = await self._answer(request, read_any)
        classes = answer.version.classes
        rows = answer.probabilities.tolist()
        best = answer.probabilities.argmax(axis=1).tolist()
        predictions = [
            {
                "label": classes[index],
                "probability": row[index],
                "probabilities": dict(zip(classes, row, strict=True)),
            }
            for row, index in zip(rows, best, strict=True)
        ]
        document = {
            "model": answer.version.model,
            "version": answer.version.version,
            "predictions": predictions,
        }
        return _of_version(answer.version, document)

    async def invocations(self, request: Request) -> Response:
        """MLflow's scoring protocol: a list of probabilities for each image."""
        answer = await self._answer(request, read_invocation)
        return _of_version(answer.version, {"predictions": answer.probabilities.tolist()})

    async def ping(self, _: Request) -> Response:
        """Whether it serves."""
        return _json({"status": "serving", "version": self._in_service.version.version})

    async def version(self, _: Request) -> Response:
        """What is in service, and whether it is what should be."""
        return _json(self._in_service.document(self._limits))

    async def metrics(self, _: Request) -> Response:
        """In Prometheus's text format."""
        return Response(self._metrics.exposition(self._in_service), media_type=CONTENT_TYPE)

    async def _answer(self, request: Request, reader: Reader) -> Answer:
        with self._intake.admitted(request):
            body = await self._intake.read(request)
            version = self._in_service.version
            deadline = time.monotonic() + self._limits.seconds
            reading = Reading(version.form, self._limits, deadline)
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._limits.seconds):
                    images = await loop.run_in_executor(self._decoders, reader, body, reading)
                    with self._intake.held(images.nbytes):
                        answer = Answer(version, await self._batcher.predict(version, images))
            except TimeoutError:
                raise too_late(self._limits) from None
        if self._shadow is not None:
            self._shadow.offer(Answered(version, images, answer.probabilities))
        return answer

    def _counted(self, path: str, endpoint: Endpoint) -> Endpoint:
        """An endpoint whose answers are counted and whose errors are JSON."""

        async def counted(request: Request) -> Response:
            began = time.perf_counter()
            response = await _settled(endpoint, request)
            self._metrics.requests.labels(path, str(response.status_code)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
            return response

        return counted

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        filter_warnings()
        async with self._batcher.running():
            yield
        self._decoders.shutdown(wait=False, cancel_futures=True)


async def _settled(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except RefusedError as error:
        return _refusal(error)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    except Exception:
        log.exception("%s was not answered", request.url.path)
        return _refusal(
            RefusedError(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                request.url.path,
                "the server failed, by a fault of its own",
                "its log says where; send it again, or `pitchpipe rollback`",
            )
        )


async def _not_there(request: Request, error: Exception) -> Response:
    """Paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    refused = RefusedError(
        HTTPStatus(error.status_code),
        f"{request.method} {request.url.path[:80]}",
        error.detail,
        "POST /predict or /invocations; GET /ping, /version or /metrics",
    )
    return _refusal(refused)


def _refusal(error: RefusedError) -> Response:
    response = _json(error.document(), status=error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _of_version(version: ServedVersion, document: object) -> Response:
    response = _json(document)
    response.headers[VERSION_HEADER] = str(version.version)
    return response


def _json(document: object, *, status: int = HTTPStatus.OK) -> Response:
    content = to_json(document, inf_nan_mode="null")
    return Response(content, status, media_type="application/json")
