"""The command line of mlx_lm.server, and the check of `engine_args`."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, StartError
from engines.base import ReplicaSpec
from engines.mlx_args import (
    DEFAULT_SLOTS,
    check,
    command_line,
    kept_contexts,
    kept_tokens,
    prompt_cache_bytes,
    require_installed,
    slots_of,
)
from tests.engines.specs import spec_of


def spec(**given: Any) -> ReplicaSpec:
    return ReplicaSpec(**spec_of(engine="mlx", source="/model", **given))


@given(slots=st.integers(1, 64), each=st.integers(1, 1 << 32))
def test_slots_and_prompt_cache_take_what_was_planned(slots: int, each: int) -> None:
    arguments = {"decode_concurrency": slots}
    total = (slots + kept_contexts(arguments)) * each
    kept = prompt_cache_bytes(spec(kv_cache_bytes=total, engine_args=arguments))
    assert kept == kept_contexts(arguments) * each
    assert kept is not None
    assert kept + slots * each == total


def test_the_command_line() -> None:
    told = command_line(spec(kv_cache_bytes=6000))
    assert told[:3] == ["--model=/model", "--decode-concurrency=4", "--prompt-cache-bytes=2000"]
    assert "--max-tokens=2048" in told  # the context, not mlx_lm.server's 512
    assert "--prefill-step-size=64" in told
    assert not any(word.startswith("--prefill") for word in command_line(spec(on_cpu=False)))


def test_the_users_arguments_win() -> None:
    given = {
        "max_tokens": 99,
        "trust_remote_code": True,
        "use_default_chat_template": False,
        "chat_template_args": {"enable_thinking": False},
        "temp": 0.7,
    }
    told = command_line(spec(engine_args=given))
    assert "--max-tokens=99" in told
    assert "--trust-remote-code" in told
    assert '--chat-template-args={"enable_thinking": false}' in told
    assert "--temp=0.7" in told
    assert not any("default-chat-template" in word for word in told)


def test_a_quantized_cache_is_not_batched() -> None:
    assert slots_of({}) == DEFAULT_SLOTS
    assert slots_of({"decode_concurrency": 8}) == 8
    assert slots_of({"decode_concurrency": 8, "kv_bits": 8}) == 1


def test_what_the_prompt_cache_holds_is_not_guessed() -> None:
    assert kept_tokens(spec()) == 2 * 2048
    assert kept_tokens(spec(engine_args={"prompt_cache_bytes": 1})) is None
    assert prompt_cache_bytes(spec()) is None  # no plan


def test_what_is_known_passes() -> None:
    check("m", {"decode_concurrency": 8, "top_p": 1, "chat_template_args": {}, "kv_bits": 8})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"decode_concurency": 8}, "no argument of engine mlx; did you mean 'decode_concurrency'"),
        ({"zzz": 8}, "is no argument of engine mlx; there are: .*prompt_cache_bytes"),
        ({"port": 1}, "is set by Roundhouse; use server.port"),
        ({"draft_model": "x"}, "is set by Roundhouse; use nothing: no plan counts"),
        ({"kv_bits": "8"}, "'8' is no int"),
        ({"temp": True}, "True is no float"),
        ({"decode_concurrency": 0}, "decode_concurrency: must be 1 or more, not 0"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"models\.m\.engine_args\.\w+: (is )?{said}|{said}"):
        check("m", arguments)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "mlx_lm" or None)
    with pytest.raises(StartError, match=r"package mlx-lm, .* `make setup ENGINE=mlx`"):
        require_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    require_installed()
