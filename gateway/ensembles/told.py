"""What an ensemble did, as JSON: for `routing.trace`, and beside each answer of `compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from router.ensembles.run import Outcome
from router.ensembles.trace import CallTrace, Trace

Json = dict[str, Any]


def trace_json(trace: Trace, confidence: float | None = None) -> Json:
    return {
        "ensemble": trace.name,
        "kind": trace.kind,
        "took_s": round(trace.took_s, 4),
        "requests": trace.requests,
        "prompt_tokens": trace.prompt_tokens,
        "output_tokens": trace.output_tokens,
        "wasted_tokens": trace.wasted_tokens,
        "cost_usd": trace.cost_usd,
        "confidence": None if confidence is None else round(confidence, 4),
        "votes": {answer: round(weight, 4) for answer, weight in trace.votes.items()},
        "escalations": list(trace.escalations),
        "notes": dict(trace.notes),
        "calls": [_call(call) for call in trace.calls],
    }


def beside(outcome: Outcome, trace: Trace) -> list[Json]:
    """Of each voice: who said it, how long it took, and what it cost."""
    return [
        {"member": voice.member.model, **_cost(trace.calls[voice.call])} for voice in outcome.voices
    ]


def answered_by(outcome: Outcome, trace: Trace) -> str:
    """The model that gave the answer; of several answers the first one's."""
    return trace.calls[outcome.voice.call].model


def _cost(call: CallTrace) -> Json:
    """Of a call of several samples these are of all of them."""
    return {
        "model": call.model,
        "replica": call.replica,
        "took_s": round(call.took_s, 4),
        "prompt_tokens": call.prompt_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": call.cost_usd,
    }


def _call(call: CallTrace) -> Json:
    rounded = {"began_s": round(call.began_s, 4), "took_s": round(call.took_s, 4)}
    return asdict(call) | rounded
