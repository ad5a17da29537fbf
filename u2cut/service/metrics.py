"""What the service counts, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from u2cut.version import __version__

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "u2cut_requests", "Requests answered", ["route", "code"], registry=self.registry
        )
        self.rejected = Counter(
            "u2cut_rejected", "Requests refused before any work", ["code"], registry=self.registry
        )
        self.seconds = Histogram(
            "u2cut_stage_seconds",
            "Time of a photo in a stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            "u2cut_requests_under_way", "Requests admitted", registry=self.registry
        )
        self.waiting = Gauge(
            "u2cut_queue_depth", "Photos waiting for the network", registry=self.registry
        )
        self.held = Gauge(
            "u2cut_pixels_held", "Pixels of the photos that are decoded", registry=self.registry
        )
        self.pixels = Counter("u2cut_pixels", "Pixels cut out", registry=self.registry)
        self.engine = Gauge(
            "u2cut_engine_info",
            "What runs the network",
            ["model", "engine", "device", "precision", "version"],
            registry=self.registry,
        )

    def refused(self, code: str) -> None:
        """Count a request that was refused before any work."""
        self.rejected.labels(code).inc()

    def runs_on(self, model: str, engine: str, device: str, precision: str) -> None:
        """Note what runs the network."""
        self.engine.labels(model, engine, device, precision, __version__).set(1)

    def text(self) -> bytes:
        """Return all of it in Prometheus' format."""
        return generate_latest(self.registry)
