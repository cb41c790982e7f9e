"""What the server counts, for Prometheus."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from flows.versions.serving.records import InService, ServedVersion

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "pitchpipe_requests", "Answered requests.", ("path", "code"), registry=registry
        )
        self.seconds = Histogram(
            "pitchpipe_request_seconds",
            "From a request's headers to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter(
            "pitchpipe_images", "Predicted images.", ("version",), registry=registry
        )
        self.waiting = Gauge(
            "pitchpipe_waiting_images", "Images that wait for the network.", registry=registry
        )
        self.batch_images = Histogram(
            "pitchpipe_batch_images",
            "Images that the network was given at once.",
            buckets=_IMAGES,
            registry=registry,
        )
        self.network_seconds = Histogram(
            "pitchpipe_network_seconds",
            "The network's time for a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._follow(registry)
        ProcessCollector(registry=registry)

    def _follow(self, registry: CollectorRegistry) -> None:
        self.version = Gauge(
            "pitchpipe_version", "Number of the version in service.", ("model",), registry=registry
        )
        self.following = Gauge(
            "pitchpipe_following",
            "1: the version in service is the one that should be, as far as is known; 0: see "
            "`problem` of /version.",
            registry=registry,
        )
        self.swaps = Counter(
            "pitchpipe_swaps", "Versions that replaced one in service.", registry=registry
        )
        self.failures = Counter(
            "pitchpipe_follow_failures",
            "Times that the registry was not read or a version not loaded.",
            registry=registry,
        )
        self.following.set(1)

    def serve(self, version: ServedVersion) -> None:
        """Say which version is in service."""
        self.version.labels(version.model).set(version.version)

    def exposition(self, in_service: InService) -> bytes:
        """All of them, in Prometheus's text format."""
        self.following.set(in_service.problem is None)
        return generate_latest(self._registry)
