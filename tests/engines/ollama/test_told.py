"""What Ollama's JSON tells, and what it leaves open."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engines.ollama.told import PullProgress, listed, running, shown

SHOWN: dict[str, Any] = {
    "parameters": 'num_ctx                        8192\nstop    "<|eot_id|>"',
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 3212749888,
        "llama.context_length": 131072,
    },
    "capabilities": ["completion", "tools"],
}


def test_show() -> None:
    model = shown(SHOWN)
    assert (model.family, model.parameter_size, model.quantization) == ("llama", "3.2B", "Q4_K_M")
    assert model.size_b == pytest.approx(3.212749888)
    assert (model.trained_len, model.num_ctx) == (131072, 8192)
    assert model.tools is True
    assert model.modalities == {"text"}
    assert not model.embeds_only


@pytest.mark.parametrize(
    ("capabilities", "modalities", "tools", "embeds_only"),
    [
        (["completion", "vision", "tools"], {"text", "image"}, True, False),
        (["completion", "audio", "thinking"], {"text", "audio"}, False, False),
        (["embedding"], set(), False, True),
        (None, None, None, False),  # an old server does not tell
    ],
)
def test_capabilities(
    capabilities: list[str] | None, modalities: set[str] | None, tools: Any, embeds_only: bool
) -> None:
    model = shown({**SHOWN, "capabilities": capabilities})
    assert model.modalities == modalities
    assert model.tools is tools
    assert model.embeds_only is embeds_only


def test_what_show_leaves_out_is_not_known() -> None:
    model = shown({})
    assert (model.family, model.size_b, model.trained_len, model.num_ctx) == (None,) * 4
    assert model.tools is None


@pytest.mark.parametrize(
    ("text", "size_b"),
    [("137M", 0.137), ("3.2B", 3.2), ("big", None), ("1.2.3B", None), (None, None)],
)
def test_a_size_in_words(text: str | None, size_b: float | None) -> None:
    found = shown({"details": {"parameter_size": text}}).size_b
    assert found == (pytest.approx(size_b) if size_b else None)


def test_tags() -> None:
    details = {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}
    row = {"name": "a:latest", "model": "a:latest", "digest": "d", "size": 7, "details": details}
    (model,) = listed({"models": [row]})
    assert (model.name, model.digest, model.size_bytes) == ("a:latest", "d", 7)
    assert model.quantization == "Q4_K_M"
    assert listed({"models": None}) == []


def _until(text: Any) -> float | None:
    (model,) = running({"models": [{"name": "a", "expires_at": text}]}, now=1_700_000_000)
    return model.until


def test_until_when() -> None:
    assert _until("2023-11-14T15:13:50.317530123-07:00") == pytest.approx(1_700_000_030.3175)
    assert _until("2023-11-14T22:13:50Z") == 1_700_000_030
    assert _until("2318-06-01T00:00:00.5+00:00") == math.inf
    assert _until("soon") is None
    assert _until(None) is None


def test_ps() -> None:
    row = {"model": "a:latest", "size_vram": 5, "context_length": 4096, "expires_at": ""}
    (model,) = running({"models": [row]}, now=0)
    assert (model.name, model.vram_bytes, model.context_len) == ("a:latest", 5, 4096)


def test_a_pulls_progress_adds_up_layers() -> None:
    progress = PullProgress("m")
    gib = 1 << 30
    assert progress.take({"status": "pulling manifest"}) == "pulling m: pulling manifest"
    first = {"status": "pulling aa", "digest": "sha256:aa", "total": gib}
    assert progress.take(first) == "pulling m: 0 % of 1.0 GiB"
    assert progress.take({**first, "completed": gib // 2 + 9}) == "pulling m: 50 % of 1.0 GiB"
    assert progress.take({**first, "completed": gib}) == "pulling m: 100 % of 1.0 GiB"
    second = {"status": "pulling bb", "digest": "sha256:bb", "total": gib}
    assert progress.take(second) == "pulling m: 50 % of 2.0 GiB"
    assert progress.take({"status": "success"}) == "pulling m: success"
