"""Versions, vLLM's defaults by version and GPU, and the data file."""

from __future__ import annotations

import pytest

from common.units import GIB
from placement.footprint import constants
from placement.footprint.defaults import compute_dtype, default_utilization, resolve
from placement.footprint.settings import Device, Settings, Version
from placement.footprint.versions import parse_version
from tests.placement.footprint import facts_made_up as made_up


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.19.0", (0, 19, 0)),
        ("v0.8.5.post1", (0, 8, 5)),
        ("0.26.1rc1.dev608+g99a10304d", (0, 26, 1)),
        ("0.29.1rc1.dev17+gd2d649e67.d20260913", (0, 29, 1)),
        ("1.0", (1, 0, 0)),
        ("", None),
        (None, None),
        ("nightly", None),
    ],
)
def test_parse_version(text: str | None, version: Version | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "device", "tokens", "seqs"),
    [
        ((0, 19, 0), Device("NVIDIA H100 80GB HBM3", int(79.19 * GIB)), 8192, 1024),
        ((0, 19, 0), Device("NVIDIA A100-SXM4-80GB", int(79.15 * GIB)), 2048, 256),
        ((0, 27, 1), Device("NVIDIA B200", int(178.4 * GIB)), 16384, 1024),
        ((0, 27, 1), Device("NVIDIA GeForce RTX 4090", int(23.55 * GIB)), 2048, 256),
        ((0, 6, 4), Device("NVIDIA H100 80GB HBM3", int(79.19 * GIB)), 8192, 256),
        ((0, 9, 0), Device("Tesla T4", int(14.56 * GIB)), 8192, 256),  # still the old engine
        ((0, 32, 0), Device("CPU", 24 * GIB, kind="cpu"), 2048, 128),
    ],
)
def test_batches(version: Version, device: Device, tokens: int, seqs: int) -> None:
    found = resolve(made_up.llama_8b(), Settings(vllm_version=version, max_model_len=8192), device)
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (tokens, seqs)


def test_what_is_asked_for_wins() -> None:
    asked = Settings(
        max_num_seqs=7, max_num_batched_tokens=999, gpu_memory_utilization=0.5, block_size=32
    )
    found = resolve(made_up.llama_8b(), asked, made_up.H100)
    assert (found.max_num_seqs, found.max_num_batched_tokens) == (7, 999)
    assert (found.gpu_memory_utilization, found.block_size) == (0.5, 32)
    assert found.max_model_len == 131072


def test_the_old_engine_splits_prefills_of_long_contexts_only() -> None:
    long, short = (
        resolve(
            made_up.llama_8b(), Settings(vllm_version=(0, 6, 4), max_model_len=n), made_up.RTX_4090
        ).max_num_batched_tokens
        for n in (131072, 20000)
    )
    assert (long, short) == (2048, 20000)


@pytest.mark.parametrize(("version", "share"), [((0, 20, 1), 0.9), ((0, 21, 0), 0.92)])
def test_utilization(version: Version, share: float) -> None:
    assert default_utilization(Settings(vllm_version=version)) == share


def test_auto_halves_float32() -> None:
    facts = made_up.llama_8b()
    assert compute_dtype(facts, Settings(dtype="half")) == "float16"
    assert compute_dtype(facts, Settings()) == "bfloat16"


@pytest.mark.parametrize(
    ("name", "capability", "nvlink"),
    [
        ("NVIDIA H100 80GB HBM3", (9, 0), True),
        ("H100-80GB", (9, 0), True),
        ("NVIDIA GeForce RTX 5090", (12, 0), False),
        ("NVIDIA GeForce RTX 5090 Laptop GPU", (12, 0), False),
        ("RTX PRO 6000 (Blackwell, sm_120)", (12, 0), False),
        ("NVIDIA RTX 6000 Ada Generation", (8, 9), False),
        ("NVIDIA GeForce RTX 3090", (8, 6), False),
        ("NVIDIA GeForce RTX 2060 12GB", (7, 5), False),
        ("A100-40GB (ml.p4d.24xlarge)", (8, 0), True),
        ("NVIDIA L4", (8, 9), False),
        ("NVIDIA A10G", (8, 6), False),
        ("Tesla V100-SXM2-32GB", (7, 0), True),
        ("NVIDIA GB10 (DGX Spark)", (12, 1), False),
        ("NVIDIA GB200", (10, 0), True),
    ],
)
def test_gpus_by_name(name: str, capability: tuple[int, int], nvlink: bool) -> None:
    assert constants.gpu_kind(name) == constants.GpuKind(capability, nvlink)


def test_an_unknown_gpu_stays_unknown() -> None:
    assert constants.gpu_kind("Frobnicator 9000") is None
    assert constants.cuda_total_bytes("Frobnicator 9000") is None


def test_eras_are_in_order_and_each_has_a_source() -> None:
    eras = constants.eras()
    assert [era.since for era in eras] == sorted({era.since for era in eras})
    assert all(era.source and era.sampler_copies_worst >= era.sampler_copies for era in eras)
    assert constants.era_of((0, 16, 9)).since == (0, 11, 1)
    assert constants.era_of((9, 9, 9)) is eras[-1]


@pytest.mark.parametrize(
    ("architecture", "capability", "version"),
    [
        ("LlamaForCausalLM", (8, 6), (0, 0, 0)),
        ("LlamaForCausalLM", (12, 0), (0, 9, 0)),
        ("Qwen3ForCausalLM", (8, 6), (0, 8, 4)),
        ("Qwen3NextForCausalLM", None, (0, 10, 2)),
        ("GptOssForCausalLM", (9, 0), (0, 10, 1)),
    ],
)
def test_first_versions(
    architecture: str, capability: tuple[int, int] | None, version: Version
) -> None:
    assert constants.first_version(architecture, capability) == version
