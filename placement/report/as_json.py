"""`roundhouse plan --json`: a plan for scripts.

Keys are stable; a change of meaning raises `version`. Bytes are integers, speeds tokens/s and
seconds, an error relative to what was reported; what is not known is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from placement.calibration.measurement import Row
from placement.footprint.settings import Footprint
from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.speed import BASIS, Speed
from placement.plan.timetable import Guest
from placement.report.alternatives import Alternative, alternatives
from placement.report.bars import Bar, bars, fits

VERSION = 1


def to_json(
    plan: Plan,
    starts: Mapping[str, Sequence[Row]] | None = None,
    guests: Sequence[Guest] = (),
) -> dict[str, Any]:
    """`starts` are earlier starts' figures beside the prediction, by replica or model; `guests`
    are models that take turns with those of the plan."""
    return {
        "version": VERSION,
        "fits": fits(plan),
        "workload": asdict(plan.workload),
        "predictions_rest_on": BASIS,
        "box": _box(plan),
        "gpus": [_gpu(bar) for bar in bars(plan)],
        "replicas": [_replica(placement) for placement in plan.placements],
        "on_demand": [_guest(guest) for guest in guests],
        "refusals": [_refusal(refusal) for refusal in plan.refusals],
        "alternatives": {
            model: [_alternative(each) for each in alternatives(plan, model)]
            for model in plan.options
        },
        "starts": {name: [_start(row) for row in rows] for name, rows in (starts or {}).items()},
    }


def _guest(guest: Guest) -> dict[str, Any]:
    return {
        "model": guest.model,
        "instead_of": list(guest.instead_of),
        "replicas": [_replica(placement) for placement in guest.placements],
    }


def _box(plan: Plan) -> dict[str, Any]:
    box = plan.inventory
    return {
        "hostname": box.hostname,
        "driver_version": box.driver_version,
        "cuda_version": box.cuda_version,
        "taken_at": box.taken_at,
        "errors": list(box.errors),
        "failed_gpus": [
            {"index": gpu.index, "name": gpu.name, "error": gpu.error}
            for gpu in box.gpus
            if gpu.error
        ],
    }


def _gpu(bar: Bar) -> dict[str, Any]:
    """`parts` add up to `total_bytes`, and `over_bytes` more."""
    gpu = bar.berth.gpu
    return {
        "id": bar.berth.id,
        "index": gpu.index if gpu else None,
        "uuid": gpu.uuid if gpu else None,
        "name": bar.berth.device.name,
        "kind": gpu.kind if gpu else "cpu",
        "total_bytes": bar.total_bytes,
        "engine_total_bytes": bar.berth.device.total_bytes,
        "budget_bytes": bar.berth.budget_bytes,
        "free_bytes": bar.part_bytes("free"),
        "over_bytes": bar.over_bytes,
        "parts": [
            {"part": s.part, "replica": s.replica, "bytes": s.n_bytes, "source": s.source}
            for s in bar.segments
        ],
    }


def _replica(placement: Placement) -> dict[str, Any]:
    settings = placement.settings
    return {
        "replica": placement.replica,
        "model": placement.model,
        "index": placement.index,
        "gpus": list(placement.gpu_ids),
        "cpus": [list(ids) for ids in placement.cpu_ids],
        "tp": placement.layout.tp,
        "pp": placement.layout.pp,
        "nvlink": placement.nvlink,
        "bytes_per_gpu": placement.bytes_per_gpu,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_memory_bytes": settings.kv_cache_bytes,
        **_footprint(placement.footprint),
        "predicted": _speed(placement.speed),
    }


def _footprint(footprint: Footprint) -> dict[str, Any]:
    return {
        "fits": footprint.fits,
        "budget_bytes": footprint.budget_bytes,
        "terms": [
            {"term": term.name, "bytes": term.n_bytes, "source": term.source}
            for term in footprint.terms
        ],
        "kv_cache_bytes": footprint.kv_cache_bytes,
        "kv_cache_tokens": footprint.kv_cache_tokens,
        "max_model_len": footprint.max_model_len,
        "max_concurrency": footprint.max_concurrency,
        "basis": footprint.basis,
        "notes": list(dict.fromkeys([*footprint.facts.notes, *footprint.notes])),
    }


def _speed(speed: Speed | None) -> dict[str, Any] | None:
    return asdict(speed) if speed else None


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "model": refusal.model,
        "replicas": refusal.replicas,
        "reason": refusal.reason,
        "remedies": [asdict(remedy) for remedy in refusal.remedies],
    }


def _alternative(each: Alternative) -> dict[str, Any]:
    option = each.option
    return {
        "rank": each.rank,
        "chosen": each.chosen,
        "why": each.why,
        "gpu": option.gpu,
        "replicas": option.replicas,
        "tp": option.layout.tp,
        "pp": option.layout.pp,
        "nvlink": option.nvlink,
        **_footprint(option.footprint),
        "predicted": _speed(option.speed),
        "predicted_tokens_per_s": option.tokens_per_s,
    }


def _start(row: Row) -> dict[str, Any]:
    return {
        "term": row.term,
        "predicted": row.predicted,
        "reported": row.reported,
        "error": row.error,
    }
