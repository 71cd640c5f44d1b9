"""The models' lives in numbers and in the log: a line and a count for each transition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from engines.manager.record import Event
from engines.manager.states import ModelState
from engines.manager.status import Status

_log = logging.getLogger(__name__)
_LOAD_SECONDS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
ROOM_FOR = "room for "  # how the manager's reason of an eviction begins


def log_to_stderr() -> None:
    """A line for each transition, also of those that are as they should be."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)


class LifeMetrics:
    """`read` tells how the models stand when the page is asked for."""

    def __init__(
        self, registry: CollectorRegistry, read: Callable[[], Mapping[str, Status]]
    ) -> None:
        self._read = read
        self._loading_since: dict[str, float] = {}
        self._loads = Counter(
            "roundhouse_model_loads",
            "Loads of models, by whether they worked.",
            ("model", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "roundhouse_model_load_seconds",
            "From the start of a load that worked to its end.",
            ("model",),
            buckets=_LOAD_SECONDS,
            registry=registry,
        )
        self._unloads = Counter(
            "roundhouse_model_unloads", "Models unloaded.", ("model",), registry=registry
        )
        self._evictions = Counter(
            "roundhouse_model_evictions",
            "Models that had to make room for another one.",
            ("model",),
            registry=registry,
        )
        registry.register(self)

    def tell(self, event: Event) -> None:
        level = logging.WARNING if event.after is ModelState.FAILED else logging.INFO
        _log.log(
            level, "model %s: %s -> %s: %s", event.model, event.before, event.after, event.reason
        )
        if event.after is ModelState.LOADING:
            self._loading_since[event.model] = event.at_s
        elif event.before is ModelState.LOADING:
            self._loaded(event)
        elif event.after is ModelState.COLD:
            self._unloads.labels(event.model).inc()
        elif event.after is ModelState.DRAINING and event.reason.startswith(ROOM_FOR):
            self._evictions.labels(event.model).inc()

    def _loaded(self, event: Event) -> None:
        worked = event.after is ModelState.READY
        self._loads.labels(event.model, "loaded" if worked else "failed").inc()
        if worked:
            took_s = event.at_s - self._loading_since[event.model]
            self._seconds.labels(event.model).observe(took_s)

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "roundhouse_model_waiting", "Requests that wait for a load.", labels=("model",)
        )
        loaded = GaugeMetricFamily("roundhouse_model_loaded", "1 when ready.", labels=("model",))
        for status in self._read().values():
            waiting.add_metric((status.model,), status.waiting)
            loaded.add_metric((status.model,), float(status.state is ModelState.READY))
        yield from (waiting, loaded)
