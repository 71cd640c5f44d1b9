"""Counters of ensembles. `ensemble` is the name of one in the config, else its kind."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from router.ensembles.trace import Trace

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SHARES = (0.0, 0.25, 0.34, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9, 1.0)


class EnsembleMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "roundhouse_ensemble_calls",
            "Answers that members were asked for, by what came of the calls.",
            ("ensemble", "fate"),
            registry=registry,
        )
        self._tokens = Counter(
            "roundhouse_ensemble_output_tokens",
            "Tokens that members generated.",
            ("ensemble",),
            registry=registry,
        )
        self._wasted = Counter(
            "roundhouse_ensemble_wasted_tokens",
            "Tokens of calls that were cancelled, or failed.",
            ("ensemble",),
            registry=registry,
        )
        self._quorum = Histogram(
            "roundhouse_ensemble_quorum_seconds",
            "From an ensemble's start to its quorum.",
            ("ensemble",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._escalations = Counter(
            "roundhouse_ensemble_escalations",
            "Larger models that were asked because smaller ones disagreed or were not sure.",
            ("ensemble",),
            registry=registry,
        )
        self._agreement = Histogram(
            "roundhouse_ensemble_agreement_ratio",
            "Confidence of the outcome, such as the winner's share of a vote; where there is one.",
            ("ensemble",),
            buckets=_SHARES,
            registry=registry,
        )

    def ended(
        self, label: str, trace: Trace, quorum_s: float | None, confidence: float | None
    ) -> None:
        for call in trace.calls:
            self._calls.labels(label, call.fate).inc(call.samples)
        self._tokens.labels(label).inc(trace.output_tokens)
        self._wasted.labels(label).inc(trace.wasted_tokens)
        self._escalations.labels(label).inc(len(trace.escalations))
        if quorum_s is not None:
            self._quorum.labels(label).observe(quorum_s)
        if confidence is not None:
            self._agreement.labels(label).observe(confidence)
