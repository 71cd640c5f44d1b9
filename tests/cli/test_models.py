"""`show`, `list --available` and what `rm` refuses, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.named import Named
from cli.rm import refuse_served
from common.errors import UsageError
from common.instance import Instance
from tests.engines.profiles import model_files as files
from tests.fakes import hub_server
from tests.fakes.hub_server import Hub

CARD = "---\nlicense: mit\n---\n"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server.running(tmp_path) as running:
        yield running


def test_show_of_a_file(hub: Hub, tmp_path: Path) -> None:
    file = files.gguf_file(tmp_path / "Qwen2.5-7B-Instruct-Q4_0.gguf", files.TOOLS_TEMPLATE)
    done = hub.roundhouse("show", str(file))
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines() if line}
    assert "2,048" in lines["max model len"]
    assert "GGUF metadata" in lines["max model len"]
    assert "llamacpp" in lines["engine"]
    assert "published" in lines["math"]
    assert "0.75" in lines["math"]
    told = json.loads(hub.roundhouse("show", str(file), "--json").stdout)
    assert (told["family"], told["engine"], told["tools"]) == ("qwen 2.5", "llamacpp", True)
    assert told["scores"]["math"]["basis"] == "published"
    assert told["license"] is None
    assert "license" not in told["origins"]


def test_show_of_what_only_the_hub_has_leaves_the_cache_alone(hub: Hub) -> None:
    files.folder(hub.root / "org" / "tiny", CARD, files.TOOLS_TEMPLATE)
    told = json.loads(hub.roundhouse("show", "org/tiny", "--json").stdout)
    weights = (hub.root / "org" / "tiny" / "model.safetensors").stat().st_size
    assert (told["license"], told["tools"], told["max_model_len"]) == ("mit", True, 512)
    assert (told["format"], told["weights_bytes"]) == ("safetensors", weights)
    assert told["origins"]["weights_bytes"] == "hub's list of files"
    assert not hub.cache("org/tiny").exists()
    assert not any(row["bytes"] >= weights for row in hub.requests())


def test_show_of_a_model_of_the_config(hub: Hub, tmp_path: Path) -> None:
    folder = files.folder(tmp_path / "m", CARD)
    file = tmp_path / "box.yaml"
    file.write_text(
        f"models: {{mine: {{source: {folder}, max_model_len: 99, quality: {{code: 0.7}}}}}}\n"
    )
    told = json.loads(hub.roundhouse("show", "mine", "-c", str(file), "--json").stdout)
    assert (told["max_model_len"], told["origins"]["max_model_len"]) == (99, "config")
    assert told["scores"]["code"] == {
        "value": 0.7,
        "basis": "config",
        "source": "quality gives it",
    }
    assert (told["engine"], told["license"]) == ("vllm", "mit")


def test_models_of_other_engines_are_theirs(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {far: {source: 'http://127.0.0.1:9/v1', engine: openai}}\n")
    for verb in ("pull", "rm"):
        done = hub.roundhouse(verb, "far", "-c", str(file))
        assert (done.returncode, "far runs on openai" in done.stderr) == (2, True), done.stderr
    told = json.loads(hub.roundhouse("show", "far", "-c", str(file), "--json").stdout)
    assert (told["engine"], told["format"]) == ("openai", None)


def test_show_of_nothing(hub: Hub) -> None:
    done = hub.roundhouse("show", "nothing")
    assert (done.returncode, "names no model" in done.stderr) == (2, True)
    done = hub.roundhouse("show", "no/where")
    assert (done.returncode, "the hub has no model" in done.stderr) == (1, True)


def test_list_available(hub: Hub, tmp_path: Path) -> None:
    files.folder(hub.root / "org" / "tiny", CARD)
    own = files.gguf_file(tmp_path / "models" / "own.gguf")
    files.gguf_file(hub.root / "org" / "quants" / "q-Q4_0.gguf")
    config = tmp_path / "box.yaml"
    config.write_text(
        f"model_dirs: [{tmp_path / 'models'}]\nmodels: {{a: {{source: embedded:smollm2}}}}\n"
    )
    nothing = {"ROUNDHOUSE_CACHE": str(tmp_path / "empty")}
    done = hub.roundhouse("list", "--available", **nothing)
    assert done.stdout.startswith("no model is on this disk")
    for name in ("org/tiny", "org/quants"):
        assert hub.roundhouse("pull", name).returncode == 0
    done = hub.roundhouse("list", "--available", "-c", str(config), "--json", **nothing)
    rows = {row["source"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"org/tiny", "org/quants/q-Q4_0.gguf", str(own)}
    assert rows["org/tiny"]["format"] == "safetensors"
    assert rows["org/quants/q-Q4_0.gguf"]["quantization"] == "Q4_0"
    assert rows[str(own)]["max_model_len"] == 2048
    assert rows[str(own)]["bytes"] == own.stat().st_size
    table = hub.roundhouse("list", "--available", "-c", str(config), **nothing).stdout
    assert table.splitlines()[0].split() == [
        *("MODEL", "WHERE", "FORMAT", "QUANTIZATION", "CONTEXT", "SIZE")
    ]
    assert "2,048" in table


@pytest.mark.usefixtures("instance")
def test_what_is_served_is_not_removed() -> None:
    for source in ("owner/model", "owner/model@main", "owner/model:Q4_0"):
        with pytest.raises(UsageError, match="is served as 'owner/model' by the Roundhouse on"):
            refuse_served(Named(source, source))
    refuse_served(Named("owner/other", "owner/other"))


@pytest.mark.usefixtures("instance")
def test_what_is_served_under_another_name_is_not_removed(instance: Instance) -> None:
    replace(instance, sources={"m": "embedded:smollm2"}).save()
    with pytest.raises(UsageError, match="'m' by the Roundhouse on port"):
        refuse_served(Named("embedded:smollm2", "embedded:smollm2"))
    replace(instance, sources={"m": "org/quants/q.gguf"}).save()
    with pytest.raises(UsageError, match=f"roundhouse stop -p {instance.port}"):
        refuse_served(Named("org/quants:Q8_0", "org/quants:Q8_0"))
