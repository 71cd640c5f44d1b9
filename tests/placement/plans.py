"""Plans built by hand, for what shows them: nothing here is computed by the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.units import GIB
from placement.footprint.settings import Device, Footprint, Settings, Term
from placement.inventory.inventory import Cpu, Gpu, Inventory
from placement.models.facts import Attention, Dense, Layer, ModelFacts
from placement.plan.berths import Berth
from placement.plan.demand import Layout
from placement.plan.options import Option
from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.remedies import Remedy
from placement.plan.speed import Speed, Workload

MIB = 1 << 20
RTX_4090 = ("NVIDIA GeForce RTX 4090", 24564, 450)  # name, NVML's total and reserved in MiB
RTX_5090 = ("NVIDIA GeForce RTX 5090", 32607, 490)
H100 = ("NVIDIA H100 80GB HBM3", 81559, 470)
RESERVE_BYTES = GIB
ALONE = Layout(1, 1)


def facts(name: str = "Qwen/Qwen3-8B", notes: tuple[str, ...] = ()) -> ModelFacts:
    layer = Layer(Attention(32, 8, 128, 128), Dense(12288))
    return ModelFacts(
        name=name,
        architecture="Qwen3ForCausalLM",
        hidden_size=4096,
        vocab_size=151936,
        layers=(layer,) * 36,
        tied_embeddings=False,
        max_position_embeddings=40960,
        dtype="bfloat16",
        notes=notes,
    )


def berth(index: int, card: tuple[str, int, int] = RTX_4090, used_mib: int = 300) -> Berth:
    name, total_mib, reserved_mib = card
    total, reserved, used = total_mib * MIB, reserved_mib * MIB, used_mib * MIB
    gpu = Gpu(
        index=index,
        name=name,
        total_bytes=total,
        reserved_bytes=reserved,
        used_bytes=used,
        free_bytes=total - reserved - used,
    )
    device = Device(name, total - reserved, total - reserved - used)
    return Berth(str(index), gpu, device, total - reserved - used - RESERVE_BYTES, None)


def footprint(
    place: Berth,
    kv_gib: float,
    *,
    weights_gib: float = 15.27,
    layout: Layout = ALONE,
    model: str = "Qwen/Qwen3-8B",
    fits: bool = True,
    shared: bool = False,
    basis: str = "margin",
) -> Footprint:
    gib = {
        "weights": (weights_gib, "sizes in the headers of the weight files"),
        "activation": (2.23 if layout.tp == 1 else 2.4, "fitted to H100, vLLM 0.19"),
        "non_torch": (0.25 if layout.tp == 1 else 2.1, "vLLM 0.18 to 0.32"),
        "cudagraph": (0.6, "51 batch sizes"),
        "margin": (0.0 if basis == "calibrated" else 0.4, "not calibrated on this GPU"),
    }
    terms = tuple(Term(name, int(n * GIB), why) for name, (n, why) in gib.items())  # type: ignore[arg-type]
    kv_bytes = int(kv_gib * GIB)
    tokens = max(0, kv_bytes) // (147456 // layout.n_gpus)
    length = min(40960, tokens // 256 * 256) or 40960
    return Footprint(
        facts=facts(model, notes=("the tokenizer's files were not looked at",)),
        settings=Settings(
            tp=layout.tp,
            pp=layout.pp,
            gpu_memory_utilization=0.45 if shared else 0.92,
            kv_cache_bytes=kv_bytes if shared else None,
        ),
        device=place.device,
        budget_bytes=sum(term.n_bytes for term in terms) + kv_bytes,
        terms=terms,
        kv_cache_bytes=kv_bytes,
        kv_cache_tokens=tokens,
        max_model_len=length,
        max_concurrency=tokens / length,
        fits=fits,
        basis=basis,
    )


def speed(tokens_per_s: float = 1480.0, concurrency: int = 16) -> Speed:
    return Speed(
        tokens_per_s=tokens_per_s,
        stream_tokens_per_s=tokens_per_s / concurrency,
        single_stream_tokens_per_s=41.0,
        ttft_s=0.182,
        concurrency=concurrency,
        bound="memory bandwidth",
    )


def placement(
    model: str,
    index: int,
    places: Sequence[Berth],
    size: Footprint,
    *,
    layout: Layout = ALONE,
    nvlink: bool = False,
    bytes_per_gpu: int | None = None,
) -> Placement:
    given = places[0].budget_bytes if bytes_per_gpu is None else bytes_per_gpu
    return Placement(model, index, layout, tuple(places), given, size, nvlink, speed())


def option(
    place: Berth,
    kv_gib: float,
    tokens_per_s: float | None,
    *,
    layout: Layout = ALONE,
    replicas: int = 1,
    nvlink: bool = False,
    weights_gib: float = 15.27,
    fits: bool = True,
) -> Option:
    size = footprint(place, kv_gib, weights_gib=weights_gib, layout=layout, fits=fits)
    guess = None if tokens_per_s is None else speed(tokens_per_s)
    return Option(layout, replicas, place.device.name, size, nvlink, guess)


def plan(
    places: Sequence[Berth],
    placements: Sequence[Placement] = (),
    refusals: Sequence[Refusal] = (),
    options: Mapping[str, tuple[Option, ...]] | None = None,
) -> Plan:
    inventory = Inventory(
        cpu=Cpu("AMD EPYC", (0, 1), ((0, 1),), 64 * GIB, 48 * GIB),
        gpus=tuple(place.gpu for place in places if place.gpu),
        driver_version="580.95.05",
        cuda_version="13.0",
        hostname="shed",
        taken_at="2026-11-21T15:00:00Z",
    )
    return Plan(
        inventory, tuple(places), tuple(placements), tuple(refusals), options or {}, Workload()
    )


def one_gpu(model: str = "qwen3-8b") -> Plan:
    place = berth(0)
    ranked = {model: (option(place, 2.1, 1480.0),)}
    return plan([place], [placement(model, 0, [place], footprint(place, 2.1))], (), ranked)


def four_replicas() -> Plan:
    places = [berth(index, RTX_5090, used_mib=2) for index in range(4)]
    replicas = [
        placement("qwen3-8b", i, [each], footprint(each, 9.8)) for i, each in enumerate(places)
    ]
    pair = Layout(2, 1)
    ranked = (
        option(places[0], 9.8, 2400.0, replicas=4),
        option(places[0], 15.1, 3100.0, layout=pair, replicas=2, weights_gib=7.64),
        option(places[0], 17.9, 2900.0, layout=Layout(4, 1), weights_gib=3.82),
        option(places[0], 12.0, 1900.0, layout=Layout(1, 4), weights_gib=3.82),
    )
    return plan(places, replicas, (), {"qwen3-8b": ranked})


def tensor_parallel() -> Plan:
    places = [berth(index, H100, used_mib=4) for index in range(8)]
    layout, model = Layout(8, 1), "deepseek-v3.1-fp8"
    size = footprint(
        places[0], 0.9, weights_gib=63.5, layout=layout, model="deepseek-ai/DeepSeek-V3.1"
    )
    ranked = (
        option(places[0], 0.9, 2100.0, layout=layout, nvlink=True, weights_gib=63.5),
        option(
            places[0], -52.0, None, layout=Layout(4, 1), replicas=2, weights_gib=127.0, fits=False
        ),
    )
    seat = placement(model, 0, places, size, layout=layout, nvlink=True)
    return plan(places, [seat], (), {model: ranked})


def shared() -> Plan:
    """Two models on one GPU, beside a GPU of one model alone."""
    first, second = berth(0, RTX_5090), berth(1, RTX_5090, used_mib=1800)
    half = first.budget_bytes // 2
    small = footprint(first, 2.9, weights_gib=7.5, model="Qwen/Qwen3-4B", shared=True)
    tiny = footprint(first, 8.1, weights_gib=2.9, model="ibm-granite/granite-3.3-2b", shared=True)
    seats = [
        placement("qwen3-4b", 0, [first], small, bytes_per_gpu=half),
        placement("granite-2b-with-a-name-that-is-long", 0, [first], tiny, bytes_per_gpu=half),
        placement("qwen3-8b", 0, [second], footprint(second, 6.3, basis="calibrated")),
    ]
    ranked = {
        "qwen3-4b": (
            option(first, 14.0, 5000.0, replicas=2, weights_gib=7.5),
            option(first, 18.0, 3000.0, layout=Layout(2, 1), weights_gib=3.8),
        )
    }
    return plan([first, second], seats, (), ranked)


def refused(model: str = "llama-3.3-70b") -> Plan:
    """One model has its place, another has none."""
    base = one_gpu()
    refusal = Refusal(
        model,
        1,
        "needs 137.2 GiB on the GPU (one GPU), NVIDIA GeForce RTX 4090 has 22.2 GiB to give",
        (
            Remedy(
                "a 4-bit checkpoint of it (AWQ, GPTQ)", "fits on TP 2 with 8,192 tokens of context"
            ),
            Remedy("2 x NVIDIA H100 80GB", "fits on TP 2 with 32,768 tokens of context"),
        ),
    )
    place = base.berths[0]
    missing = option(place, -115.0, None, weights_gib=131.4, fits=False)
    return replace(base, refusals=(refusal,), options={**base.options, model: (missing,)})


def on_cpu() -> Plan:
    device = Device("AMD EPYC", 64 * GIB, 48 * GIB, kind="cpu")
    memory = Berth("cpu", None, device, 48 * GIB, None)
    size = footprint(memory, 4.0, weights_gib=0.26, model="HuggingFaceTB/SmolLM2-135M-Instruct")
    seat = Placement("smollm2", 0, Layout(1, 1), (memory,), int(5.76 * GIB), size)
    return plan([memory], [seat])
