"""Records of the server: its limits, the version in service, and a request that is refused."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from models.config.data import ImageForm

if TYPE_CHECKING:
    from flows.registry.loading import LoadedVersion


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes on; all else is refused."""

    request_bytes: int = 64 * 2**20
    """Of one body, and of its images as the network takes them."""
    images: int = 1024
    """Of one request."""
    requests: int = 256
    """Being read, decoded or waiting for the network, at once."""
    seconds: float = 10
    """To send a body, and again to answer it."""
    image_pixels: int = 2**25
    """Of one picture before it is resized: 33 megapixels; decoding takes 0.8 GB of them at most."""

    @property
    def bytes_at_once(self) -> int:
        """Of all bodies and images that are in the server."""
        return 16 * self.request_bytes


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests are put together for the network."""

    images: int = 64
    """At most so many at once; 1: each request by itself."""
    wait_seconds: float = 0.0
    """That an image waits for others. Those that came while the network was busy are there."""


class RefusedError(Exception):
    """A request that is not answered: what was wrong with it, by which rule, and the way out."""

    def __init__(
        self,
        status: HTTPStatus,
        value: str,
        rule: str,
        way_out: str,
        *,
        retry_after: int | None = None,
    ) -> None:
        """retry_after: seconds after which the same request may be answered."""
        super().__init__(f"{value}: {rule}; {way_out}")
        self.status = status
        self.value, self.rule, self.way_out = value, rule, way_out
        self.retry_after = retry_after

    def document(self) -> dict[str, JsonValue]:
        """Body of the answer; `error_code` and `message` are MLflow's keys."""
        return {
            "error_code": self.status.name,
            "message": str(self),
            "value": self.value,
            "rule": self.rule,
            "way_out": self.way_out,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ServedVersion:
    """A version that can answer."""

    model: str
    """Registered name."""
    version: int
    digest: str
    """Of its files."""
    classes: tuple[str, ...]
    form: ImageForm
    """How pictures become its images."""
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    """Images (n, channels, height, width), n >= 1 -> probabilities (n, classes)."""
    threads: int = 1
    """CPU threads of the network: those of the last prediction become the process's."""
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When it was loaded, ISO 8601 in UTC."""

    @classmethod
    def of(cls, loaded: "LoadedVersion", *, threads: int | None = None) -> "ServedVersion":
        """Serve a loaded version; raises as its lineage does. threads: as of its `predict`."""
        record, lineage = loaded.files.record, loaded.files.lineage
        given = threads or lineage.spec.config.threads
        return cls(
            model=record.name,
            version=record.version,
            digest=record.tags["model.digest"],
            classes=lineage.classes,
            form=lineage.image_form,
            predict=lambda images: loaded.predict(images, threads=given),
            threads=given,
        )

    def warm_up(self, most_images: int) -> None:
        """Predict one image and a whole batch: the first of a shape takes longer."""
        for count in sorted({1, most_images}):
            self.predict(np.zeros((count, *self.form.shape), np.uint8))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the version in service may not be the one that should be."""

    reason: str
    since: float = field(default_factory=time.time)
    """Seconds since 1970."""


@dataclass(slots=True, eq=False)
class InService:
    """The version that new requests are answered by; threads replace a field as a whole."""

    version: ServedVersion
    follows: str | None = None
    """Alias; None: the version stays."""
    problem: Problem | None = None

    def document(self, limits: Limits) -> dict[str, JsonValue]:
        """What /version says."""
        version, problem = self.version, self.problem
        since = datetime.fromtimestamp(problem.since, UTC) if problem else None
        return {
            "model": version.model,
            "version": version.version,
            "digest": version.digest,
            "in_service_since": version.since,
            "follows": self.follows,
            "problem": problem.reason if problem else None,
            "problem_since": since.isoformat(timespec="seconds") if since else None,
            "classes": list(version.classes),
            "image": version.form.model_dump(mode="json"),
            "limits": {
                "request_bytes": limits.request_bytes,
                "images": limits.images,
                "requests": limits.requests,
                "seconds": limits.seconds,
                "image_pixels": limits.image_pixels,
            },
        }
