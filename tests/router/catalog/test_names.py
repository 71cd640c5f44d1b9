"""What names tell, and that spellings of one model are the same."""

from __future__ import annotations

import pytest

from router.catalog.benchmarks import table
from router.catalog.names import read


@pytest.mark.parametrize(
    ("name", "family", "kind", "size_b"),
    [
        ("Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "qwen-coder 2.5", "code", 7),
        ("Qwen/Qwen3-8B", "qwen 3", "general", 8),
        ("qwen2.5:7b", "qwen 2.5", "general", 7),
        ("Qwen/Qwen2.5-Math-72B-Instruct", "qwen-math 2.5", "math", 72),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama 3", "general", 8),
        ("llama3.1:8b-instruct-q4_K_M", "llama 3.1", "general", 8),
        ("LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct", "exaone 3.5", "general", 7.8),
        ("upstage/SOLAR-10.7B-Instruct-v1.0", "solar", "general", 10.7),
        ("kakaocorp/kanana-1.5-8b-instruct-2505", "kanana 1.5", "general", 8),
        ("google/gemma-7b-it", "gemma", "general", 7),
        ("google/gemma-2-9b-it", "gemma 2", "general", 9),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-r1-distill-qwen", "reasoning", 7),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm 2", "general", 0.135),
        ("Qwen/Qwen3-Embedding-0.6B", "qwen-embedding 3", "embedding", 0.6),
        ("my-own-thing", None, "general", None),
    ],
)
def test_family_kind_and_size(
    name: str, family: str | None, kind: str, size_b: float | None
) -> None:
    told = read(name)
    assert (told.family, told.kind, told.size_b) == (family, kind, size_b)


@pytest.mark.parametrize(
    "name",
    [
        "naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B",
        "upstage/solar-pro-preview-instruct",
        "LGAI-EXAONE/EXAONE-4.0-32B",
        "beomi/Llama-3-Open-Ko-8B",
        "Bllossom/llama-3.2-Korean-Bllossom-3B",
    ],
)
def test_models_made_for_korean(name: str) -> None:
    assert read(name).korean


def test_a_mixture_of_experts_counts_between_all_and_active() -> None:
    assert read("Qwen/Qwen3-30B-A3B").effective_b == pytest.approx(90**0.5)
    assert read("mistralai/Mixtral-8x7B-Instruct-v0.1").effective_b == pytest.approx(
        (56 * 14) ** 0.5
    )
    assert read("Qwen/Qwen3-8B").effective_b == 8


def test_what_a_model_takes_beside_text() -> None:
    assert read("Qwen/Qwen2.5-VL-7B-Instruct").takes == ("image", "video")
    assert read("google/gemma-3-12b-it").takes == ("image",)
    assert read("google/gemma-3-1b-it").takes == ()
    assert read("my-own-thing").takes is None


def test_spellings_of_one_model_are_the_same() -> None:
    names = ["Qwen/Qwen2.5-7B-Instruct", "qwen2.5:7b", "Qwen2.5-7B-Instruct-GPTQ-Int4"]
    assert len({read(name).key for name in names}) == 1
    assert read("Qwen/Qwen2.5-7B-Instruct").key != read("Qwen/Qwen2.5-Coder-7B-Instruct").key
    assert read("Qwen/Qwen2.5-7B-Instruct").key != read("Qwen/Qwen3-8B").key


def test_every_model_of_the_table_is_known_by_its_name() -> None:
    keys = [read(name).key for name in table().models]
    assert None not in keys
    assert len(set(keys)) == len(keys)
