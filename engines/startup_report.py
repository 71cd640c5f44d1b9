"""What vLLM reports of its memory at a start: from its log, and from its client in this process.

vLLM tells it in its log alone, rounded to 0.01 GiB, in other words with nearly every version. Each
pattern below is one form of a line; the groups' names say what the figures are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from common.units import GIB
from placement.calibration.startup_report import On, StartupReport

Figures = dict[str, float]

_PROCESS = re.compile(r"\((\w+ pid=\d+[^)]*)\)")
_VERSION = re.compile(
    r"Initializing an? (?:V\d )?LLM engine \(v(?P<a>[\w.+]+)\)|API server version:? (?P<b>[\w.+]+)"
)
_POOL = re.compile(r"(?P<pool>\w+)(?: \+ \w+)* KV cache size:|# (?P<blocks>\w+) blocks: \d")
_CPU_NODE = "GiB for KV cache on node"
_SET_BY_HAND = re.compile(r"as specified by kv_cache_memory_bytes config|Explicitly set \(")
# 0.18 to 0.20 estimate the graphs too, but announce the counting only for later.
_GRAPHS_COUNTED = "CUDA graph memory profiling is enabled"
_ON: dict[str, On] = {"GPU": "cuda", "CUDA": "cuda", "CPU": "cpu", "XPU": "xpu"}


def _pattern(text: str) -> re.Pattern[str]:
    """`<name>` stands for a figure so called; `GiB` also for "GB", by which V0 meant the same."""
    text = text.replace("GiB", r" ?G[iI]?[bB]\b")
    return re.compile(re.sub(r"<(\w+)>", r"(?P<\1>-?[0-9][0-9,]*(?:\\.[0-9]+)?)", text))


# Figures in GiB.
_SIZES = tuple(
    map(
        _pattern,
        (
            # V0, up to 0.7; this peak includes the weights
            r"total_gpu_memory=<total>GiB",
            r"peak_torch_memory=<torch_peak>GiB",
            r"non_torch_memory=<non_torch>GiB",
            r"kv_cache_size=<kv_cache>GiB",
            # V0, 0.7 and later
            r"total_gpu_memory \(<total>GiB\) x gpu_memory_utilization \([\d.]+\) = <requested>GiB",
            r"model weights take <weights>GiB",
            r"non_torch_memory takes <non_torch>GiB",
            r"activation peak memory takes <activation>GiB",
            r"reserved for KV Cache is <kv_cache>GiB",
            # both
            r"(?:Model loading|Loading model weights) took <weights>GiB",
            # V1, DEBUG
            r"Initial free memory:? <free>GiB",
            r"Requested memory: [\d.]+ \(util\), <requested>GiB",
            r"worker requested memory: <requested>GiB",
            r"Total non KV cache memory: <non_kv>GiB",
            r"torch peak memory increase: <activation>GiB",
            r"non-torch forward increase memory: <non_torch>GiB",
            r"total consumed \(from mem_get_info\): <consumed>GiB",
            r"weights memory: <weights>GiB",
            # V1, INFO
            r"Available KV cache memory: <kv_cache>GiB",
            r"reserved <kv_cache>GiB memory for KV Cache as specified",
            r"Estimated CUDA graph memory: <graphs_estimate>GiB",
            r"Graph capturing finished in \d+ secs, took <graphs>GiB",
            r"CUDA graph pool memory: <graphs>GiB \(actual\), <graphs_estimate>GiB \(estimated\)",
            r"Free memory on device(?: \S+)? \(<free>/<total>GiB\) on startup",
            r"esired (?:GPU|CPU) memory utilization (?:is )?\([\d.]+, <requested>GiB\)",
            r"Actual usage is <weights>GiB for weight",
            r"Actual usage is <consumed>GiB for consumed memory",
            r"<peak>GiB for peak activation",
            r"<non_torch>GiB for non-torch memory",
            r"<graphs>GiB for CUDAGraph memory",
            r"kv cache memory in use is <kv_cache>GiB",
            # CPU
            r"(?:Explicitly|Auto) set \(<kv_cache>/<total>\)GiB for KV cache on node",
            r"with <requested>GiB requested memory for the worker",
            r"<consumed>GiB memory was consumed by non-kv usages",
        ),
    )
)
_NUMBERS = tuple(
    map(
        _pattern,
        (
            r"KV cache size: <kv_cache_tokens> tokens",
            r"Maximum concurrency for <max_model_len> tokens per request: <max_concurrency>x",
            r"# \w+ blocks: <num_gpu_blocks>",
            r"after num_gpu_blocks is: <num_gpu_blocks>",
            r"gpu_memory_utilization=<utilization>",
            r"kv cache memory in use is <kv_cache_exact> bytes",
        ),
    )
)


def parse(text: str) -> StartupReport:
    """One start's part of a log. What it does not speak of stays None."""
    lines = re.split(r"[\r\n]+", text)
    by_process: dict[str, Figures] = {}
    for line in lines:
        process = _PROCESS.search(line)
        _read(line, by_process.setdefault(process[1] if process else "", {}))
    counted = _GRAPHS_COUNTED in text
    ranks = [_completed(each, counted) for each in by_process.values()]
    return _report(ranks, text)


def _read(line: str, figures: Figures) -> None:
    """The first figure of a name is kept: later lines repeat it with fewer digits."""
    for patterns, unit in ((_SIZES, GIB), (_NUMBERS, 1)):
        for pattern in patterns:
            match = pattern.search(line)
            for name, value in match.groupdict().items() if match else ():
                figures.setdefault(name, float(value.replace(",", "")) * unit)


def _completed(seen: Figures, graphs_counted: bool) -> Figures:
    """A rank's figures with those that follow from them by addition."""
    figures = dict(seen)
    if {"peak", "activation", "torch_peak", "graphs"} & figures.keys():
        figures["reserved"] = figures.get("graphs_estimate", 0.0) if graphs_counted else 0.0
    if "kv_cache_exact" in figures:
        figures["kv_cache"] = figures["kv_cache_exact"]
    # The INFO line's peak holds what is set aside for graphs, DEBUG's does not. Where both the
    # whole and what stays of it are known, their difference is what vLLM itself reckons with.
    _derive(figures, "activation", ("non_kv",), ("consumed",), anew=True)
    _derive(figures, "activation", ("torch_peak",), ("weights",))
    _derive(figures, "activation", ("peak",), ("reserved",))
    _derive(figures, "non_torch", ("consumed",), ("weights",))
    _derive(figures, "consumed", ("weights", "non_torch"), ())
    if {"total", "torch_peak", "utilization"} <= figures.keys():
        figures.setdefault("requested", figures["total"] * figures["utilization"])
    return figures


def _derive(
    figures: Figures, name: str, plus: tuple[str, ...], minus: tuple[str, ...], anew: bool = False
) -> None:
    known = all(each in figures for each in plus + minus)
    if known and (anew or name not in figures):
        figures[name] = sum(figures[n] for n in plus) - sum(figures[n] for n in minus)


def _report(ranks: Iterable[Figures], text: str) -> StartupReport:
    """The fullest rank's terms; of the KV cache, the smallest, by which vLLM bounds all ranks."""
    ranks = list(ranks)
    fullest = max(ranks, key=_fullness)

    def least(name: str) -> float | None:
        return min((rank[name] for rank in ranks if name in rank), default=None)

    def told(name: str) -> int | None:
        """Some lines come from one rank alone, so another's must do."""
        return _whole(fullest.get(name, least(name)))

    return StartupReport(
        vllm_version=_version(text),
        on=_device(text),
        weights_bytes=told("weights"),
        activation_bytes=told("activation"),
        non_torch_bytes=told("non_torch"),
        cudagraph_bytes=told("graphs"),
        cudagraph_reserved_bytes=told("reserved"),
        consumed_bytes=told("consumed"),
        kv_cache_bytes=_whole(least("kv_cache")),
        kv_cache_set=bool(_SET_BY_HAND.search(text)),
        kv_cache_tokens=_whole(least("kv_cache_tokens")),
        max_model_len=_whole(least("max_model_len")),
        max_concurrency=least("max_concurrency"),
        free_at_start_bytes=told("free"),
        total_bytes=told("total"),
        requested_bytes=told("requested"),
        num_gpu_blocks=_whole(least("num_gpu_blocks")),
    )


def _fullness(rank: Figures) -> float:
    """Bytes without the KV cache, as far as they are known."""
    return rank.get("consumed", rank.get("weights", 0.0)) + rank.get("activation", 0.0)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _version(text: str) -> str | None:
    match = _VERSION.search(text)
    return (match["a"] or match["b"]) if match else None


def _device(text: str) -> On | None:
    if _CPU_NODE in text:  # up to 0.28 the CPU's pool is called the GPU's
        return "cpu"
    match = _POOL.search(text)
    return _ON.get((match["pool"] or match["blocks"]).upper()) if match else None


def from_client(client: Any) -> dict[str, Any]:
    """What vLLM's client knows exactly of its engine: StartupReport's fields, without unknown ones.

    The engine core tells its client the resolved settings when it is ready; of the memory terms it
    tells nothing.
    """
    config = getattr(client, "vllm_config", None)
    places = {
        "max_model_len": ("model_config", "max_model_len"),
        "num_gpu_blocks": ("cache_config", "num_gpu_blocks"),
        "block_size": ("cache_config", "block_size"),
        "kv_cache_bytes": ("cache_config", "kv_cache_memory_bytes"),
        "kv_cache_tokens": ("cache_config", "kv_cache_size_tokens"),
        "max_concurrency": ("cache_config", "kv_cache_max_concurrency"),
        "max_num_seqs": ("scheduler_config", "max_num_seqs"),
        "max_num_batched_tokens": ("scheduler_config", "max_num_batched_tokens"),
    }
    found = {
        name: getattr(getattr(config, section, None), key, None)
        for name, (section, key) in places.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def report(text: str, client: Any) -> StartupReport:
    """One start's report: the log's, with the client's exact values in place of rounded ones."""
    return replace(parse(text), **from_client(client))
