"""The router's own metrics, and the engines' beside them, in Prometheus' text format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from engines.base import State
from router.dispatch import Dispatcher
from router.replicas import Replica

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1)
_DECISION_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.05, 0.3, 1)
_ENGINE_TIMEOUT_S = 2.0
_ENGINES_OWN = ("vllm:", "llamacpp:", "mlx:")


class Metrics:
    """Counts what passes through the gateway. One per app, so tests do not share counters."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.registry = CollectorRegistry()
        self._dispatcher = dispatcher
        names: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter(
            "roundhouse_requests", "Answers by HTTP status.", ("model", "route", "status"), **names
        )
        self._seconds = Histogram(
            "roundhouse_request_seconds",
            "From the request's arrival to the answer's last byte.",
            ("model",),
            buckets=_SECONDS,
            **names,
        )
        self._first_byte = Histogram(
            "roundhouse_ttft_seconds",
            "From the request's arrival to the answer's first byte.",
            ("model",),
            buckets=_SECONDS,
            **names,
        )
        self._overhead = Histogram(
            "roundhouse_overhead_seconds",
            "From the request's arrival to its departure to the engine, waiting in line included.",
            ("model",),
            buckets=_OVERHEAD_SECONDS,
            **names,
        )
        self._applied = Counter(
            "roundhouse_configs_applied", "Configs taken over while it ran.", **names
        )
        self._decisions = Counter(
            "roundhouse_route_decisions",
            "Requests to `auto`, by what they were taken for and why that model was chosen.",
            ("task", "model", "reason"),
            **names,
        )
        self._decision = Histogram(
            "roundhouse_route_decision_seconds",
            "For a request to `auto`: to classify, to choose, and to ready it for the choice of a "
            "replica; the second stage included.",
            buckets=_DECISION_SECONDS,
            **names,
        )
        self._second_stage = Counter(
            "roundhouse_second_stage",
            "Questions to the second stage: used, late, failed, or unsure.",
            ("model", "outcome"),
            **names,
        )
        self._retries = Counter(
            "roundhouse_retries",
            "Further attempts, by why the last failed.",
            ("model", "reason"),
            **names,
        )
        self._fallbacks = Counter(
            "roundhouse_fallbacks",
            "Requests handed on to another model, by what the last one failed of.",
            ("from", "to", "reason"),
            **names,
        )
        self._hedges = Counter(
            "roundhouse_hedges",
            "Requests sent to a second replica as well, by whose answer came first.",
            ("model", "won"),
            **names,
        )
        self._failures = Counter(
            "roundhouse_broken_streams",
            "Answers that broke after the first byte.",
            ("model",),
            **names,
        )
        self._resumes = Counter(
            "roundhouse_resumes",
            "Broken streams whose rest another replica was asked for, by what came of it.",
            ("model", "outcome"),
            **names,
        )
        self._hangups = Counter(
            "roundhouse_client_disconnects",
            "Clients gone before the last byte.",
            ("model",),
            **names,
        )
        self._cost = Counter(
            "roundhouse_cost_usd",
            "US dollars for whole answers of remote models whose price is known.",
            ("model",),
            **names,
        )
        self.registry.register(self)
        # Finding a labelled child costs more than counting does.
        self._answer_child = lru_cache(1024)(self._requests.labels)
        self._model_children = lru_cache(256)(self._of_model)
        self._decision_child = lru_cache(1024)(self._decisions.labels)

    def applied(self) -> None:
        self._applied.inc()

    def answered(self, model: str, route: str, status: int) -> None:
        self._answer_child(model, route, str(status)).inc()

    def timed(self, model: str, overhead_s: float, first_byte_s: float, total_s: float) -> None:
        overhead, first_byte, total = self._model_children(model)
        overhead.observe(overhead_s)
        first_byte.observe(first_byte_s)
        total.observe(total_s)

    def decided(self, task: str, model: str, reason: str, took_s: float) -> None:
        """`reason` is one of router/auto.py's `Why`."""
        self._decision_child(task, model, reason).inc()
        self._decision.observe(took_s)

    def asked_second_stage(self, model: str, outcome: str) -> None:
        self._second_stage.labels(model, outcome).inc()

    def retried(self, model: str, reason: str) -> None:
        self._retries.labels(model, reason).inc()

    def fell_back(self, model: str, to: str, reason: str) -> None:
        self._fallbacks.labels(model, to, reason).inc()

    def hedged(self, model: str, won: str) -> None:
        self._hedges.labels(model, won).inc()

    def broke(self, model: str) -> None:
        self._failures.labels(model).inc()

    def resumed(self, model: str, outcome: str) -> None:
        self._resumes.labels(model, outcome).inc()

    def spent(self, model: str, cost_usd: float) -> None:
        self._cost.labels(model).inc(cost_usd)

    def hung_up(self, model: str) -> None:
        self._hangups.labels(model).inc()

    def collect(self) -> Iterator[Metric]:
        """What is read off the replicas at the moment of asking."""
        in_flight = GaugeMetricFamily(
            "roundhouse_in_flight", "Requests at a replica now.", labels=("model", "replica")
        )
        up = GaugeMetricFamily(
            "roundhouse_replica_up", "1 when ready.", labels=("model", "replica")
        )
        restarts = GaugeMetricFamily(
            "roundhouse_replica_restarts", "Processes after the first.", labels=("model", "replica")
        )
        breaker = GaugeMetricFamily(
            "roundhouse_breaker_state",
            "0 closed, 1 half-open, 2 open.",
            labels=("model", "replica"),
        )
        now = time.perf_counter()  # the lanes' clock
        for replica in self._dispatcher.replicas.values():
            labels = (replica.model, replica.id)
            in_flight.add_metric(labels, replica.in_flight)
            up.add_metric(labels, float(replica.state is State.READY))
            restarts.add_metric(labels, replica.restarts)
            breaker.add_metric(labels, replica.breaker.state(now))
        queued = GaugeMetricFamily("roundhouse_queued", "Requests waiting.", labels=("model",))
        for name, lane in self._dispatcher.lanes.items():
            queued.add_metric((name,), lane.queued)
        yield from (in_flight, up, restarts, breaker, queued, self._matches())

    def _matches(self) -> Metric:
        """Of policies that look at prefixes; prompts shorter than a block are not counted."""
        family = HistogramMetricFamily(
            "roundhouse_route_prefix_match_ratio",
            "Share of a prompt's blocks that its replica was believed to have cached.",
            labels=("model",),
        )
        for name, lane in self._dispatcher.lanes.items():
            if (matches := lane.policy.matches) is not None:
                buckets = [(str(bound), count) for bound, count in matches.cumulative()]
                family.add_metric((name,), [*buckets, ("+Inf", buckets[-1][1])], matches.sum)
        return family

    def _of_model(self, model: str) -> tuple[Any, Any, Any]:
        return (
            self._overhead.labels(model),
            self._first_byte.labels(model),
            self._seconds.labels(model),
        )


async def render(
    metrics: Metrics, session: aiohttp.ClientSession, replicas: Iterable[Replica]
) -> bytes:
    """The whole page. An engine that does not answer in time is left out, not waited for."""
    up = [r for r in replicas if r.state is State.READY and r.url and not _is_providers(r)]
    texts = await asyncio.gather(*(_engine_text(session, replica) for replica in up))
    engines = merge_families(
        {replica: text for replica, text in zip(up, texts, strict=True) if text}
    )
    return generate_latest(metrics.registry) + generate_latest(_Families(engines))


def _is_providers(replica: Replica) -> bool:
    """Whoever wants a key has no metrics for us."""
    return replica.endpoint is not None and bool(replica.endpoint.key)


async def _engine_text(session: aiohttp.ClientSession, replica: Replica) -> str:
    timeout = aiohttp.ClientTimeout(total=_ENGINE_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {replica.token}"} if replica.token else {}
    try:
        async with session.get(
            f"{replica.url}/metrics", headers=headers, timeout=timeout
        ) as answer:
            return await answer.text() if answer.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
        return ""


def merge_families(texts: Mapping[Replica, str]) -> list[Metric]:
    """The engines' own families, one each, their samples labelled with model and replica."""
    merged: dict[str, Metric] = {}
    for replica, text in texts.items():
        for family in _families(text):
            into = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            extra = {"model": replica.model, "replica": replica.id}
            into.samples.extend(s._replace(labels={**s.labels, **extra}) for s in family.samples)
    return list(merged.values())


def _families(text: str) -> list[Metric]:
    """One engine's own families; none when its page is not what it should be."""
    try:
        found = list(text_string_to_metric_families(text))
    except ValueError:
        return []
    return [family for family in found if family.name.startswith(_ENGINES_OWN)]


class _Families:
    """Stands in for a registry where generate_latest wants one."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families
