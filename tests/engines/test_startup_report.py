"""What vLLM's log says of memory, in the words of each version. The figures are made up."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from engines.startup_report import from_client, parse, report
from placement.calibration.startup_report import StartupReport


def gib(value: float) -> int:
    return round(value * GIB)


def said(text: str) -> dict[str, Any]:
    """What the report holds, without what the log does not speak of."""
    empty = asdict(StartupReport())
    return {name: value for name, value in asdict(parse(text)).items() if value != empty[name]}


V0_RESULTS = """
INFO 11-08 10:00:00 llm_engine.py:249] Initializing an LLM engine (v0.6.4.post1) with config: m
INFO 11-08 10:00:09 model_runner.py:1077] Loading model weights took 14.9888 GB
INFO 11-08 10:00:11 worker.py:232] Memory profiling results: total_gpu_memory=23.58GiB \
initial_memory_usage=15.40GiB peak_torch_memory=17.06GiB memory_usage_post_profile=15.47Gib \
non_torch_memory=0.35GiB kv_cache_size=3.81GiB gpu_memory_utilization=0.90
INFO 11-08 10:00:11 gpu_executor.py:113] # GPU blocks: 1952, # CPU blocks: 2048
INFO 11-08 10:00:11 gpu_executor.py:117] Maximum concurrency for 20000 tokens per request: 1.56x
INFO 11-08 10:00:31 model_runner.py:1518] Graph capturing finished in 20 secs.
"""


def test_v0_up_to_0_6() -> None:
    weights = gib(14.9888)
    assert said(V0_RESULTS) == {
        "vllm_version": "0.6.4.post1",
        "on": "cuda",
        "weights_bytes": weights,
        "activation_bytes": round(17.06 * GIB - 14.9888 * GIB),  # their peak holds the weights
        "non_torch_bytes": gib(0.35),
        "cudagraph_reserved_bytes": 0,
        "consumed_bytes": round(14.9888 * GIB + 0.35 * GIB),
        "kv_cache_bytes": gib(3.81),
        "max_model_len": 20000,
        "max_concurrency": 1.56,
        "total_bytes": gib(23.58),
        "requested_bytes": round(23.58 * GIB * 0.9),
        "num_gpu_blocks": 1952,
    }


V0_SENTENCE = """
INFO 03-01 10:30:40 llm_engine.py:234] Initializing a V0 LLM engine (v0.7.3) with config: model='m'
INFO 03-01 10:30:55 model_runner.py:1115] Model loading took 2.8797 GB and 11.2 seconds
INFO 03-01 10:30:57 worker.py:267] Memory profiling takes 1.48 seconds
INFO 03-01 10:30:57 worker.py:267] the current vLLM instance can use total_gpu_memory (22.06GiB) \
x gpu_memory_utilization (0.90) = 19.85GiB
INFO 03-01 10:30:57 worker.py:267] model weights take 2.88GiB; non_torch_memory takes 0.05GiB; \
PyTorch activation peak memory takes 1.40GiB; the rest of the memory reserved for KV Cache is \
15.52GiB.
INFO 03-01 10:30:57 executor_base.py:110] # CUDA blocks: 36332, # CPU blocks: 9362
INFO 03-01 10:30:57 executor_base.py:115] Maximum concurrency for 4096 tokens per request: 141.92x
INFO 03-01 10:31:10 model_runner.py:1562] Graph capturing finished in 13 secs, took 0.18 GiB
"""


def test_v0_of_0_7() -> None:
    assert said(V0_SENTENCE) == {
        "vllm_version": "0.7.3",
        "on": "cuda",
        "weights_bytes": gib(2.8797),  # the line with the most digits
        "activation_bytes": gib(1.40),
        "non_torch_bytes": gib(0.05),
        "cudagraph_bytes": gib(0.18),
        "cudagraph_reserved_bytes": 0,
        "consumed_bytes": round(2.8797 * GIB + 0.05 * GIB),
        "kv_cache_bytes": gib(15.52),
        "max_model_len": 4096,
        "max_concurrency": 141.92,
        "total_bytes": gib(22.06),
        "requested_bytes": gib(19.85),
        "num_gpu_blocks": 36332,
    }


V1_OF_0_11 = """
(EngineCore_DP0 pid=7) INFO 10-03 09:00:00 [core.py:77] Initializing a V1 LLM engine (v0.11.0) with
(EngineCore_DP0 pid=7) INFO 10-03 09:00:20 [gpu_model_runner.py:2653] Model loading took 14.9889 GiB and 4.1 seconds
(EngineCore_DP0 pid=7) INFO 10-03 09:00:40 [gpu_worker.py:298] Available KV cache memory: 54.92 GiB
(EngineCore_DP0 pid=7) INFO 10-03 09:00:40 [kv_cache_utils.py:1087] GPU KV cache size: 449,920 tokens
(EngineCore_DP0 pid=7) INFO 10-03 09:00:40 [kv_cache_utils.py:1091] Maximum concurrency for 8,192 tokens per request: 54.92x
(EngineCore_DP0 pid=7) INFO 10-03 09:00:59 [gpu_model_runner.py:3480] Graph capturing finished in 9 secs, took 0.68 GiB
(EngineCore_DP0 pid=7) INFO 10-03 09:00:59 [gpu_worker.py:391] Free memory on device (78.68/79.19 GiB) on startup. \
Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 14.99 GiB for weight, 1.23 GiB for peak activation, \
0.13 GiB for non-torch memory, and 0.68 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with \
`--kv-cache-memory=58080000000` to fit into requested memory, or `--kv-cache-memory=66000000000` to fully utilize \
gpu memory. Current kv cache memory in use is 58968121344 bytes.
"""  # noqa: E501


def test_v1_of_0_11_tells_the_kv_cache_to_the_byte() -> None:
    assert said(V1_OF_0_11) == {
        "vllm_version": "0.11.0",
        "on": "cuda",
        "weights_bytes": gib(14.9889),
        "activation_bytes": gib(1.23),
        "non_torch_bytes": gib(0.13),
        "cudagraph_bytes": gib(0.68),
        "cudagraph_reserved_bytes": 0,  # this version counts none
        "consumed_bytes": round(14.9889 * GIB + 0.13 * GIB),
        "kv_cache_bytes": 58968121344,
        "kv_cache_tokens": 449920,
        "max_model_len": 8192,
        "max_concurrency": 54.92,
        "free_at_start_bytes": gib(78.68),
        "total_bytes": gib(79.19),
        "requested_bytes": gib(71.27),
    }


DEBUG_OF_0_19 = """
(APIServer pid=1) INFO 04-01 09:00:00 [api_server.py:1213] vLLM API server version 0.19.0
(EngineCore pid=62) DEBUG 04-01 09:00:40 [gpu_worker.py:423] Initial free memory: 78.68 GiB; Requested memory: 0.950000 (util), 75.23 GiB
(EngineCore pid=62) DEBUG 04-01 09:00:40 [gpu_worker.py:428] Free memory after profiling: 61.0 GiB (total), 57.5 GiB (within requested)
(EngineCore pid=62) DEBUG 04-01 09:00:40 [gpu_worker.py:433] Memory profiling takes 17.96 seconds. Total non KV cache memory: 17.12GiB; \
torch peak memory increase: 1.89GiB; non-torch forward increase memory: 0.25GiB; weights memory: 14.99GiB.
(EngineCore pid=62) INFO 04-01 09:00:40 [gpu_model_runner.py:5946] Estimated CUDA graph memory: 0.84 GiB total
(EngineCore pid=62) INFO 04-01 09:00:40 [gpu_worker.py:436] Available KV cache memory: 58.11 GiB
(EngineCore pid=62) INFO 04-01 09:00:40 [gpu_worker.py:470] In v0.19, CUDA graph memory profiling will be enabled by default (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=1)
(EngineCore pid=62) INFO 04-01 09:00:41 [kv_cache_utils.py:1319] GPU KV cache size: 476,016 tokens
(EngineCore pid=62) INFO 04-01 09:00:41 [kv_cache_utils.py:1324] Maximum concurrency for 8,192 tokens per request: 58.11x
(EngineCore pid=62) INFO 04-01 09:00:59 [gpu_worker.py:617] CUDA graph pool memory: 0.91 GiB (actual), 0.84 GiB (estimated), difference: 0.07 GiB (7.7%).
"""  # noqa: E501


def test_debug_terms_of_0_19_and_an_estimate_that_is_not_counted() -> None:
    told = parse(DEBUG_OF_0_19)
    assert told.vllm_version == "0.19.0"
    assert told.weights_bytes == gib(14.99)
    assert told.activation_bytes == gib(1.89)
    assert told.non_torch_bytes == gib(0.25)
    assert told.cudagraph_bytes == gib(0.91)
    assert told.cudagraph_reserved_bytes == 0
    assert told.requested_bytes == gib(75.23)
    assert told.free_at_start_bytes == gib(78.68)
    assert told.kv_cache_bytes == gib(58.11)
    assert (told.kv_cache_tokens, told.max_concurrency) == (476016, 58.11)


INFO_OF_0_32 = """
(EngineCore pid=83) INFO 11-21 12:01:59 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m'
(EngineCore pid=83) INFO 11-21 12:02:19 [gpu_model_runner.py:5150] Model loading took 8.42 GiB memory and 3.140000 seconds
(EngineCore pid=83) INFO 11-21 12:02:39 [gpu_model_runner.py:6475] Estimated CUDA graph memory: 0.60 GiB total
(EngineCore pid=83) INFO 11-21 12:02:39 [gpu_worker.py:759] Available KV cache memory: 10.1 GiB
(EngineCore pid=83) INFO 11-21 12:02:39 [gpu_worker.py:774] CUDA graph memory profiling is enabled (default since v0.21.0). The current \
--gpu-memory-utilization=0.9200 is equivalent to --gpu-memory-utilization=0.8946 without CUDA graph memory profiling.
(EngineCore pid=83) INFO 11-21 12:02:40 [kv_cache_utils.py:2327] GPU + host KV cache size: 73,552 tokens, Maximum concurrency for 8,192 tokens per request: 8.98x
Capturing CUDA graphs (decode, FULL): 100%|####| 35/35 [00:01<00:00]\r(EngineCore pid=83) INFO 11-21 12:02:51 \
[gpu_model_runner.py:6582] Graph capturing finished in 11 secs, took 0.50 GiB
(EngineCore pid=83) INFO 11-21 12:02:51 [gpu_worker.py:971] CUDA graph pool memory: 0.5 GiB (actual), 0.6 GiB (estimated), difference: 0.1 GiB (20.0%).
(EngineCore pid=83) INFO 11-21 12:02:51 [gpu_worker.py:1034] Free memory on device (23.1/23.52 GiB) on startup. Desired GPU memory utilization is \
(0.92, 21.64 GiB). Actual usage is 8.92 GiB for consumed memory (weights + non-torch), 2.62 GiB for peak activation, and 0.5 GiB for CUDAGraph memory. \
Replace gpu_memory_utilization config with `--kv-cache-memory=10200000000` (9.5 GiB) to fit into requested memory, or `--kv-cache-memory=11700000000` \
(10.9 GiB) to fully utilize gpu memory. Current kv cache memory in use is 10.1 GiB.
"""  # noqa: E501


def test_0_32_counts_graphs_within_its_peak_activation() -> None:
    told = parse(INFO_OF_0_32)
    assert told.on == "cuda"
    assert told.consumed_bytes == gib(8.92)
    assert told.non_torch_bytes == round(8.92 * GIB - 8.42 * GIB)
    assert told.activation_bytes == round(2.62 * GIB - 0.6 * GIB)
    assert told.cudagraph_reserved_bytes == gib(0.6)
    assert told.cudagraph_bytes == gib(0.5)
    assert told.kv_cache_bytes == gib(10.1)
    assert (told.kv_cache_tokens, told.max_model_len, told.max_concurrency) == (73552, 8192, 8.98)


def test_the_terms_of_0_32_add_up_to_what_was_requested() -> None:
    told = parse(INFO_OF_0_32)
    parts = (
        told.weights_bytes,
        told.non_torch_bytes,
        told.activation_bytes,
        told.cudagraph_reserved_bytes,
        told.kv_cache_bytes,
    )
    assert sum(part or 0 for part in parts) == pytest.approx(told.requested_bytes, abs=3)


def test_debug_of_0_32_tells_the_headroom_by_what_it_adds() -> None:
    told = parse(
        "(EngineCore pid=83) DEBUG 11-21 12:02:39 [gpu_worker.py:758] Memory profiling takes 9.00 "
        "seconds. Total non KV cache memory: 10.94GiB; torch peak memory increase: 2.10GiB; total "
        "consumed (from mem_get_info): 8.92GiB; weights memory: 8.42GiB.\n"
    )
    assert told.activation_bytes == round(10.94 * GIB - 8.92 * GIB)
    assert told.non_torch_bytes == round(8.92 * GIB - 8.42 * GIB)


def test_without_graphs_nothing_is_set_aside_for_them() -> None:
    told = parse(
        "(EngineCore pid=8) INFO Free memory on device (23.1/23.52 GiB) on startup. Desired GPU "
        "memory utilization is (0.92, 21.64 GiB). Actual usage is 8.92 GiB for consumed memory "
        "(weights + non-torch), 2.02 GiB for peak activation, and 0.0 GiB for CUDAGraph memory.\n"
    )
    assert told.activation_bytes == gib(2.02)
    assert (told.cudagraph_bytes, told.cudagraph_reserved_bytes) == (0, 0)


TWO_RANKS = """
(Worker_TP0 pid=11) INFO 11-21 12:02:19 [gpu_model_runner.py:5150] Model loading took 7.51 GiB memory and 3.1 seconds
(Worker_TP1 pid=12) INFO 11-21 12:02:20 [gpu_model_runner.py:5150] Model loading took 8.01 GiB memory and 3.2 seconds
(Worker_TP0 pid=11) INFO 11-21 12:02:39 [gpu_worker.py:759] Available KV cache memory: 11.5 GiB
(Worker_TP1 pid=12) INFO 11-21 12:02:51 [gpu_worker.py:1034] Free memory on device (22.9/23.52 GiB) on startup. \
Desired GPU memory utilization is (0.9, 21.17 GiB). Actual usage is 10.2 GiB for consumed memory (weights + non-torch), \
1.97 GiB for peak activation, and 0.0 GiB for CUDAGraph memory. Current kv cache memory in use is 9.0 GiB.
(Worker_TP0 pid=11) INFO 11-21 12:02:51 [gpu_worker.py:1034] Free memory on device (23.1/23.52 GiB) on startup. \
Desired GPU memory utilization is (0.9, 21.17 GiB). Actual usage is 7.7 GiB for consumed memory (weights + non-torch), \
1.97 GiB for peak activation, and 0.0 GiB for CUDAGraph memory. Current kv cache memory in use is 11.5 GiB.
(EngineCore pid=9) INFO 11-21 12:02:40 [kv_cache_utils.py:2327] GPU KV cache size: 73,552 tokens, Maximum concurrency for 8,192 tokens per request: 8.98x
"""  # noqa: E501


def test_of_several_ranks_the_fullest_counts_and_the_smallest_kv_cache() -> None:
    told = parse(TWO_RANKS)
    assert told.weights_bytes == gib(8.01)
    assert told.consumed_bytes == gib(10.2)
    assert told.non_torch_bytes == round(10.2 * GIB - 8.01 * GIB)
    assert told.free_at_start_bytes == gib(22.9)
    assert told.kv_cache_tokens == 73552
    assert told.kv_cache_bytes == gib(9.0)


RANK_0_SPEAKS = """
(Worker_PP0 pid=11) INFO [gpu_model_runner.py:5150] Model loading took 55.21 GiB memory and 3.1 seconds
(Worker_PP1 pid=12) INFO [gpu_model_runner.py:5150] Model loading took 55.7 GiB memory and 3.2 seconds
(Worker_PP0 pid=11) INFO [gpu_worker.py:759] Available KV cache memory: 26.84 GiB
(EngineCore pid=9) INFO [kv_cache_utils.py:2327] GPU KV cache size: 555,680 tokens, Maximum concurrency for 32,768 tokens per request: 16.96x
"""  # noqa: E501


def test_what_one_rank_says_for_all_is_not_lost() -> None:
    told = parse(RANK_0_SPEAKS)
    assert told.weights_bytes == gib(55.7)
    assert told.kv_cache_bytes == gib(26.84)
    assert told.activation_bytes is None
    assert told.cudagraph_reserved_bytes is None


def test_a_given_kv_cache_size_is_recognised() -> None:
    told = parse(
        "(EngineCore pid=15) INFO 09-18 17:01:23 [gpu_worker.py:381] Initial free memory 10.06 "
        "GiB, reserved 0.49 GiB memory for KV Cache as specified by kv_cache_memory_bytes config "
        "and skipped memory profiling. This does not respect the gpu_memory_utilization config.\n"
    )
    assert told.kv_cache_set
    assert told.kv_cache_bytes == gib(0.49)
    assert told.free_at_start_bytes == gib(10.06)


def test_a_start_that_failed_for_its_kv_cache_is_a_report_as_well() -> None:
    told = parse(
        "(EngineCore pid=5) INFO [gpu_model_runner.py:1] Model loading took 65.1 GiB memory and 9\n"
        "(EngineCore pid=5) INFO [gpu_worker.py:436] Available KV cache memory: -2.14 GiB\n"
        "(EngineCore pid=5) ERROR [core.py:1] ValueError: No available memory for the cache "
        "blocks. Try increasing `gpu_memory_utilization` when initializing the engine.\n"
    )
    assert told.kv_cache_bytes == gib(-2.14)
    assert told.weights_bytes == gib(65.1)
    assert told.kv_cache_tokens is None


def test_a_refusal_before_loading_tells_what_is_free() -> None:
    told = parse(
        "(EngineCore pid=5) ERROR [core.py:1] ValueError: Free memory on device cuda:0 "
        "(27.28/31.36 GiB) on startup is less than desired GPU memory utilization (0.92, "
        "28.85 GiB). Decrease GPU memory utilization or reduce GPU memory used by others.\n"
    )
    assert told.free_at_start_bytes == gib(27.28)
    assert told.total_bytes == gib(31.36)
    assert told.requested_bytes == gib(28.85)


CPU = """
(EngineCore pid=15886) INFO 11-21 14:15:30 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m'
(Worker pid=15960) INFO 11-21 14:15:42 [weight_utils.py:1108] Filesystem type for checkpoints: EXT4. Checkpoint size: 0.25 GiB. Available RAM: 21.05 GiB.
(Worker pid=15960) INFO 11-21 14:15:42 [default_loader.py:501] Loading weights took 0.23 seconds
(Worker pid=15960) INFO 11-21 14:15:43 [cpu_worker.py:260] Explicitly set (0.5/21.59) GiB for KV cache on node 0.
(EngineCore pid=15886) INFO 11-21 14:15:43 [kv_cache_utils.py:2327] CPU KV cache size: 23,296 tokens, Maximum concurrency for 2,048 tokens per request: 11.38x
"""  # noqa: E501


def test_a_cpu_tells_of_its_kv_cache_alone() -> None:
    assert said(CPU) == {
        "vllm_version": "0.32.0",
        "on": "cpu",
        "kv_cache_bytes": gib(0.5),
        "kv_cache_set": True,
        "kv_cache_tokens": 23296,
        "max_model_len": 2048,
        "max_concurrency": 11.38,
        "total_bytes": gib(21.59),
    }


def test_a_cpu_that_sets_its_size_itself_tells_what_it_consumed() -> None:
    told = parse(
        "(Worker pid=1) INFO 11-21 14:15:43 [cpu_worker.py:260] Auto set (7.5/21.59) GiB for KV "
        "cache on node 0, with 8.64 GiB requested memory for the worker. 1.14 GiB memory was "
        "consumed by non-kv usages.\n"
        # up to 0.28 the pool bears the GPU's name on a CPU too
        "(EngineCore pid=2) INFO 11-21 14:15:43 [kv_cache_utils.py:1870] GPU KV cache size: "
        "349,504 tokens, Maximum concurrency for 8,192 tokens per request: 42.66x\n"
    )
    assert told.on == "cpu"
    assert not told.kv_cache_set
    assert told.kv_cache_bytes == gib(7.5)
    assert told.requested_bytes == gib(8.64)
    assert told.consumed_bytes == gib(1.14)
    assert told.weights_bytes is None


@pytest.mark.parametrize(
    ("line", "on"),
    [("XPU KV cache size: 1,024 tokens, ", "xpu"), ("# cuda blocks: 12, ", "cuda"), ("", None)],
)
def test_the_kind_of_device(line: str, on: str | None) -> None:
    assert parse(line).on == on


@pytest.mark.parametrize(
    "text", ["", "\n", "Loading weights took 0.2 seconds", "GiB GiB 1 GiB \x00"]
)
def test_a_log_without_figures_is_an_empty_report(text: str) -> None:
    assert parse(text) == StartupReport()


FRAGMENTS = """
Model loading took |Available KV cache memory: |KV cache size: |# GPU blocks: | tokens|took|GB|GiB
total_gpu_memory=|peak_torch_memory=|gpu_memory_utilization=|Free memory on device (|Actual usage is
 GiB for peak activation| GiB for consumed memory| GiB (estimated)|1|2.5|-0.3|1,024|,|.|-|(|)|/| |x
"""


@given(st.lists(st.sampled_from(re.split(r"[|\n]", FRAGMENTS)), max_size=40).map("".join))
def test_no_log_fails_a_start(text: str) -> None:
    figures = [value for value in asdict(parse(text)).values() if isinstance(value, int | float)]
    assert all(math.isfinite(value) for value in figures)


# What the client knows


def client(**cache: Any) -> SimpleNamespace:
    config = SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=2048),
        cache_config=SimpleNamespace(**cache),
        scheduler_config=SimpleNamespace(max_num_seqs=256, max_num_batched_tokens=2048),
    )
    return SimpleNamespace(vllm_config=config)


def test_the_clients_exact_values_win() -> None:
    told = report(
        CPU,
        client(
            num_gpu_blocks=1456,
            block_size=16,
            kv_cache_memory_bytes=536_870_911,
            kv_cache_size_tokens=23_296,
            kv_cache_max_concurrency=11.375,
        ),
    )
    assert (told.num_gpu_blocks, told.block_size) == (1456, 16)
    assert told.kv_cache_bytes == 536_870_911
    assert (told.kv_cache_tokens, told.max_concurrency) == (23_296, 11.375)
    assert (told.max_num_seqs, told.max_num_batched_tokens) == (256, 2048)
    assert told.on == "cpu"


def test_a_client_that_knows_less_takes_nothing_from_the_log() -> None:
    assert report(CPU, client(kv_cache_size_tokens=None)).kv_cache_tokens == 23_296
    assert from_client(SimpleNamespace()) == {}
    assert report(CPU, SimpleNamespace(vllm_config=None)) == parse(CPU)
