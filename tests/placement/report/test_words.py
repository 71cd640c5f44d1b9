"""A plan's placements in one line each."""

from __future__ import annotations

from placement.plan.demand import Demand, Layout
from placement.plan.planner import make
from placement.report.words import in_words
from tests.placement.boxes import box, llama


def test_a_replica_on_one_gpu_and_on_several() -> None:
    (alone,) = make([Demand("m", llama(3), replicas=1)], box(1), reserve_bytes=0).placements
    assert in_words(alone).startswith("m-0 on GPU 0 (one GPU), context ")
    spread = Demand("m", llama(8), layout=Layout(2, 1), replicas=1)
    (pair,) = make([spread], box(2, "H100", nvlink=True), reserve_bytes=0).placements
    assert in_words(pair).startswith("m-0 on GPU 0-1 (TP 2 by NVLink), context 131,072, KV cache ")


def test_a_replica_on_the_cpu() -> None:
    (placed,) = make([Demand("m", llama(1))], box(0), reserve_bytes=0).placements
    assert in_words(placed).startswith("m-0 on the CPU (one worker), context ")
