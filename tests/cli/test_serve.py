"""What `serve` decides before it starts anything."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.serve import (
    DEFAULT_GGUF_MODEL,
    DEFAULT_MODEL,
    base_url,
    check_port,
    load_config,
    model_name,
    welcome,
)
from common.config import Config
from common.errors import ConfigError, PortInUseError, UsageError
from common.units import GIB
from placement.inventory import look
from placement.inventory.inventory import Gpu
from tests.cli.conftest import instance_on

CONFIGS = Path(__file__).parents[2] / "configs"


def box(monkeypatch: pytest.MonkeyPatch, *, gib: float = 24, gpus: int = 0) -> None:
    """A box with that much free memory, those GPUs, vLLM and llama.cpp."""
    card = Gpu(index=0, total_bytes=24 * GIB)
    seen = look.look()
    cpu = replace(seen.cpu, available_memory_bytes=int(gib * GIB))
    monkeypatch.setattr(look, "look", lambda: replace(seen, cpu=cpu, gpus=(card,) * gpus))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def sources(config: Config) -> dict[str, Any]:
    return {name: model.source for name, model in config.models.items()}


def test_without_anything_it_is_the_embedded_model_on_both_engines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box(monkeypatch)
    config = load_config(None, (), None, None)
    assert sources(config) == {"smollm2": DEFAULT_MODEL, "smollm2-gguf": DEFAULT_GGUF_MODEL}
    assert [config.engine_of(name) for name in config.models] == ["vllm", "llamacpp"]
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8000)
    in_the_file = load_config(CONFIGS / "cpu.yaml", (), None, None)
    assert sources(in_the_file) == sources(config)
    assert [in_the_file.engine_of(name) for name in in_the_file.models] == ["vllm", "llamacpp"]


@pytest.mark.parametrize("lacks", [{"gib": 5}, {"gpus": 1}])
def test_with_gpus_or_little_memory_it_is_on_vllm_alone(
    monkeypatch: pytest.MonkeyPatch, lacks: dict[str, Any]
) -> None:
    box(monkeypatch, **lacks)
    assert sources(load_config(None, (), None, None)) == {"smollm2": DEFAULT_MODEL}


def test_where_only_llama_cpp_is_installed_it_is_that_models_gguf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name == "xllamacpp" else None
    )
    config = load_config(None, (), None, None)
    assert config.models["smollm2-gguf"].source == "embedded:smollm2-gguf"
    assert config.engine_of("smollm2-gguf") == "llamacpp"


def test_a_gguf_file_needs_no_more_than_its_name() -> None:
    config = load_config(None, ("/models/some.Q4_K_M.gguf",), None, None)
    assert config.engine_of("some.Q4_K_M") == "llamacpp"


def test_models_by_flag_need_no_file() -> None:
    config = load_config(None, ("Qwen/Qwen3-0.6B", "embedded:smollm2"), None, 9000)
    assert list(config.models) == ["Qwen/Qwen3-0.6B", "smollm2"]
    assert config.server.port == 9000


def test_a_folder_is_served_under_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert model_name(str(folder)) == "my-model"
    assert model_name("owner/name") == "owner/name"


def test_flags_and_file_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        load_config(tmp_path / "box.yaml", ("a/b",), None, None)


def test_another_host_without_keys_is_refused() -> None:
    with pytest.raises(ConfigError, match="api_keys must hold at least one key"):
        load_config(None, (), "0.0.0.0", None)


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = load_config(None, (), None, port)
        with pytest.raises(PortInUseError) as caught:
            check_port(config)
    assert f"cannot listen on 127.0.0.1:{port}" in caught.value.message
    assert "choose another with --port" in caught.value.message
    check_port(config)  # free again


def test_the_curl_can_be_pasted() -> None:
    config = load_config(None, ("owner/name",), None, 8123)
    text = welcome(config)
    start = text.index("curl")
    words = shlex.split(text[start : text.index("Ctrl-C")].replace("\\\n", " "))
    assert words[:2] == ["curl", "http://127.0.0.1:8123/v1/chat/completions"]
    assert json.loads(words[words.index("-d") + 1])["model"] == "owner/name"
    assert "YOUR_KEY" not in text


def test_with_keys_the_curl_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDHOUSE_SERVER__API_KEYS", '["sk-very-secret"]')
    text = welcome(load_config(None, (), None, None))
    assert "Bearer YOUR_KEY" in text
    assert "very-secret" not in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_the_url_is_one_that_can_be_called(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_SERVER__API_KEYS", '["sk-very-secret"]')
    assert base_url(load_config(None, (), host, None)) == url


def test_a_port_that_a_roundhouse_has_is_told_with_how_to_stop_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance_on(port).save()
        with pytest.raises(PortInUseError) as caught:
            check_port(load_config(None, (), None, port))
    assert caught.value.message == (
        f"cannot listen on 127.0.0.1:{port}: process {os.getpid()} serves there; "
        f"`roundhouse stop -p {port}` stops it"
    )


def test_a_name_with_a_quote_cannot_break_out_of_the_curl() -> None:
    """Names cannot hold one; should they ever, the shell must not run what stands behind it."""
    with pytest.raises(ConfigError, match="is no name for a model"):
        load_config(None, ("a'; echo oops; '",), None, None)


def test_several_models_and_their_aliases_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models:\n  m: {source: a/b, aliases: [x, y]}\n  n: {source: a/b}\n")
    assert "  Models   m (x, y), n\n" in welcome(load_config(file, (), None, None))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("server: {port: 1, host: localhost}\nmodels: {m: {source: a/b}}\n")
    config = load_config(file, (), None, 9000)
    assert (config.server.host, config.server.port, list(config.models)) == (
        "localhost",
        9000,
        ["m"],
    )


def test_a_wrong_flag_is_blamed_on_the_command_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, (), None, 70000)
    assert caught.value.message == (
        "command line: server.port: input should be less than or equal to 65535, not 70000"
    )
