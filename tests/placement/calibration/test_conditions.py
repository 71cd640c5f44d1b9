"""What makes two starts alike."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from placement.calibration.conditions import conditions, fingerprint, gpu_class
from placement.footprint.settings import Device, Settings
from placement.models.facts import Quantization, StoredWeights
from tests.placement.starts import CPU, H100, SETTINGS, facts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA  A100-SXM4-40GB", "nvidia a100-sxm4-40gb"),
        ("Intel(R) Arc(TM) B580", "Arc B580"),
    ],
)
def test_a_card_is_known_by_either_name(one: str, other: str) -> None:
    assert gpu_class(Device(one, 1)) == gpu_class(Device(other, 1))


def test_different_cards_stay_different() -> None:
    names = ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 D", "NVIDIA H100 PCIe")
    assert len({gpu_class(Device(name, 1)) for name in names}) == 3
    assert gpu_class(CPU) == gpu_class(Device("another CPU", 2, kind="cpu")) == "cpu"


def test_a_models_name_does_not_matter_and_its_shape_does() -> None:
    model = facts()
    assert fingerprint(model) == fingerprint(replace(model, name="/models/copy", notes=("x",)))
    others = (
        facts(n_layers=5),
        facts(tied_embeddings=False),
        facts(quantization=Quantization("awq", 4.25)),
        facts(stored=StoredWeights({"a": 8, "b": 2})),
        facts(stored=StoredWeights({"a": 8, "b": 3})),
    )
    assert len({fingerprint(each) for each in (model, *others)}) == 6
    same_sum = facts(stored=StoredWeights({"all": 10}))
    assert fingerprint(same_sum) == fingerprint(others[3])


def test_a_fingerprint_is_taken_once_however_often_it_is_asked_for() -> None:
    large = facts(n_layers=400)
    fingerprint(large)
    began = time.perf_counter()
    for _ in range(1000):
        fingerprint(large)
    assert time.perf_counter() - began < 0.5  # each repr of it takes milliseconds


def test_open_settings_are_equal_to_the_defaults_written_out() -> None:
    left_open = conditions(facts(), SETTINGS, H100)
    written = replace(
        SETTINGS,
        dtype="bfloat16",
        max_num_seqs=left_open.max_num_seqs,
        max_num_batched_tokens=left_open.max_num_batched_tokens,
    )
    assert conditions(facts(), written, H100) == left_open
    assert left_open.max_num_seqs > 0


@pytest.mark.parametrize(
    "other",
    [
        replace(SETTINGS, vllm_version=(0, 32, 1)),
        replace(SETTINGS, tp=2),
        replace(SETTINGS, enforce_eager=True),
        replace(SETTINGS, max_num_seqs=7),
        replace(SETTINGS, quantization="fp8"),
        replace(SETTINGS, kv_cache_dtype="fp8"),
    ],
)
def test_what_changes_memory_changes_the_conditions(other: Settings) -> None:
    assert conditions(facts(), other, H100) != conditions(facts(), SETTINGS, H100)


def test_length_and_share_change_no_term() -> None:
    other = replace(SETTINGS, max_model_len=2048, gpu_memory_utilization=0.5)
    assert conditions(facts(), other, H100) == conditions(facts(), SETTINGS, H100)


def test_one_gpu_or_several_matters_more_than_the_batch() -> None:
    here = conditions(facts(), SETTINGS, H100)
    same_parallel = conditions(facts(), replace(SETTINGS, max_num_seqs=7), H100)
    same_batch = conditions(facts(), replace(SETTINGS, tp=2), H100)
    assert here.likeness(here) > here.likeness(same_parallel) > here.likeness(same_batch)
