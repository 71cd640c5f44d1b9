"""The ways in which a model could run on this box by itself, ranked by predicted tokens/s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from placement.footprint.defaults import default_max_num_seqs
from placement.footprint.memo import Memo
from placement.footprint.settings import Calibration, Footprint
from placement.footprint.weights import active_params, read_bytes_per_token
from placement.inventory.gpu_specs import GpuSpec
from placement.inventory.inventory import Inventory
from placement.plan.berths import Berth, joined
from placement.plan.demand import Demand, Layout, layouts, misfit
from placement.plan.sizing import Sizer
from placement.plan.speed import Hardware, Shape, Speed, Workload, predict

_ACTIVE, _READ = Memo[int](), Memo[int]()
_NEARLY = 1.3  # within the error of the prediction
_TP_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 16)


@dataclass(frozen=True)
class Option:
    """One layout on one kind of GPU, with as many replicas as that kind has GPUs for.

    `speed` is of one replica; None where the GPU's spec sheet is not known.
    """

    layout: Layout
    replicas: int
    gpu: str
    footprint: Footprint
    nvlink: bool
    speed: Speed | None

    @property
    def fits(self) -> bool:
        return self.footprint.fits

    @property
    def tokens_per_s(self) -> float | None:
        """Predicted, of all replicas together."""
        return self.speed.tokens_per_s * self.replicas if self.speed else None

    @property
    def tokens_per_s_per_gpu(self) -> float:
        """Predicted; 0 where nothing is."""
        return self.speed.tokens_per_s / self.layout.n_gpus if self.speed else 0.0


def preferred(ranked: Sequence[Option], max_gpus: int) -> Option | None:
    """The one to take: of those that get nearly the most out of a GPU, the fewest GPUs a replica.

    Small replicas need no links and fail one by one. Between GPUs without NVLink a pipeline moves
    less than tensor parallelism does; with it, tensor parallelism answers sooner.
    """
    fitting = [option for option in ranked if option.fits and option.layout.n_gpus <= max_gpus]
    best = max((option.tokens_per_s_per_gpu for option in fitting), default=0.0)
    near = [option for option in fitting if option.tokens_per_s_per_gpu * _NEARLY >= best]
    return min(near, key=_size, default=None)


def _size(option: Option) -> tuple[int, int]:
    return (option.layout.n_gpus, option.layout.pp if option.nvlink else option.layout.tp)


def options(
    demand: Demand,
    berths: Sequence[Berth],
    inventory: Inventory,
    workload: Workload,
    calibration: Calibration | None = None,
) -> tuple[Option, ...]:
    """What fits first; then the most tokens/s, then the fewest GPUs."""
    found = [
        _option(demand, layout, same, inventory, workload, calibration)
        for same in _kinds(berths)
        for layout in _layouts(demand, len(same))
    ]
    return tuple(
        sorted(found, key=lambda o: (not o.fits, -(o.tokens_per_s or 0.0), o.layout.n_gpus))
    )


def speed_of(
    footprint: Footprint, spec: GpuSpec | None, workload: Workload, *, nvlink: bool
) -> Speed | None:
    """None when the spec sheet does not say enough."""
    hardware = _hardware(footprint, spec, nvlink=nvlink)
    if hardware is None or footprint.kv_cache_tokens <= 0:
        return None
    facts, settings = footprint.facts, footprint.settings
    shape = Shape(
        facts=facts,
        tp=settings.tp,
        pp=settings.pp,
        weights_bytes=footprint.term("weights"),
        read_bytes=_READ.get(
            facts,
            (settings.tp, settings.pp, settings.dtype, settings.quantization),
            lambda: read_bytes_per_token(facts, settings),
        ),
        active_params=_ACTIVE.get(facts, None, lambda: active_params(facts)),
        kv_bytes_per_token=footprint.kv_cache_bytes / footprint.kv_cache_tokens,
        kv_capacity_tokens=footprint.kv_cache_tokens,
        max_num_seqs=settings.max_num_seqs or default_max_num_seqs(settings, footprint.device),
    )
    return predict(shape, hardware, workload)


def _option(
    demand: Demand,
    layout: Layout,
    same: Sequence[Berth],
    inventory: Inventory,
    workload: Workload,
    calibration: Calibration | None,
) -> Option:
    budget = sorted((berth.budget_bytes for berth in same), reverse=True)[layout.n_gpus - 1]
    footprint = Sizer(demand, layout, same[0], calibration).settle(budget)
    nvlink = layout.n_gpus > 1 and joined(inventory, same[: layout.n_gpus])
    most = len(same) // layout.n_gpus
    return Option(
        layout=layout,
        replicas=min(most, demand.replicas or most),
        gpu=same[0].device.name,
        footprint=footprint,
        nvlink=nvlink,
        speed=speed_of(footprint, same[0].spec, workload, nvlink=nvlink),
    )


def _layouts(demand: Demand, n_gpus: int) -> Iterator[Layout]:
    if demand.layout:
        if demand.layout.n_gpus <= n_gpus and misfit(demand.facts, demand.layout) is None:
            yield demand.layout
        return
    # Either kind of splitting, or TP within pipeline stages where both are powers of two.
    for layout in layouts(demand.facts, n_gpus):
        if layout.tp in _TP_SIZES and (layout.pp == 1 or layout.tp in {1, 2, 4, 8}):
            yield layout


def _kinds(berths: Sequence[Berth]) -> list[list[Berth]]:
    kinds = dict.fromkeys(berth.kind for berth in berths)
    return [[berth for berth in berths if berth.kind == kind] for kind in kinds]


def _hardware(footprint: Footprint, spec: GpuSpec | None, *, nvlink: bool) -> Hardware | None:
    if spec is None or spec.bandwidth_bytes_per_s is None:
        return None
    in_fp8 = "fp8" in _method(footprint)  # weight-only quantization computes in 16 bits
    flops = (spec.flops.fp8 if in_fp8 else None) or spec.flops.half
    if flops is None:
        return None
    return Hardware(
        bandwidth_bytes_per_s=spec.bandwidth_bytes_per_s,
        flops=flops,
        nvlink_bytes_per_s=spec.nvlink_bytes_per_s if nvlink else None,
    )


def _method(footprint: Footprint) -> str:
    stored = footprint.facts.quantization
    return footprint.settings.quantization or (stored.method if stored else "")
