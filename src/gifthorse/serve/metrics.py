"""What the service counts, for Prometheus."""

from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..guard.guarded import Judgement

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@final
class Metrics:
    """Counters of one service."""

    def __init__(self, *, guarded: bool) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "gifthorse_requests", "Infer requests, by HTTP status.", ["status"], registry=self._registry
        )
        self._images = Counter(
            "gifthorse_images", "Images that were judged, by outcome.", ["outcome"], registry=self._registry
        )
        self.seconds = Histogram(
            "gifthorse_request_seconds",
            "From the head of an infer request to its answer.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._batch = Histogram(
            "gifthorse_batch_images", "Images in one pass.", buckets=IMAGES, registry=self._registry
        )
        self.inside = Gauge("gifthorse_requests_inside", "Infer requests at work.", registry=self._registry)
        self.waiting = Gauge("gifthorse_images_waiting", "Images that wait for the model.", registry=self._registry)
        Gauge("gifthorse_guarded", "1 with a guard, 0 without.", registry=self._registry).set(guarded)
        for outcome in ("accepted", "rejected"):  # there from the start, so that a rate can be taken
            self._images.labels(outcome)

    def watch(self, judged: Judgement) -> None:
        """Count one pass."""
        rejected = int(judged.rejected.sum())
        self._batch.observe(len(judged.rejected))
        self._images.labels("rejected").inc(rejected)
        self._images.labels("accepted").inc(len(judged.rejected) - rejected)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
