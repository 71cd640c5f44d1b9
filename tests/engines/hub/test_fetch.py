"""What `serve` does with a `source` on the hub: the same as `pull`, one way in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes.hub_server import Hub

NAME = "org/tiny"
WEIGHTS = bytes(range(256)) * 12_000  # 3 MB: large enough to be fetched by ranges
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
QUANTS = {
    **{f"m-{quant}.gguf": b"GGUF" + quant.encode() * 3000 for quant in ("Q4_K_M", "Q8_0")},
    "m-Q2_K-00001-of-00002.gguf": b"GGUF1" * 1000,
    "m-Q2_K-00002-of-00002.gguf": b"GGUF2" * 1000,
}
PROGRAM = """
import sys
from common.errors import RoundhouseError
from engines import gguf_sources, sources
try:
    print("path", {"vllm": sources, "llamacpp": gguf_sources}[sys.argv[1]].resolve(
        "m", sys.argv[2], lambda line: print("told", line)))
except RoundhouseError as error:
    print(type(error).__name__, error.message)
"""


def resolved(hub: Hub, engine: str, source: str, **env: str) -> list[str]:
    """Its lines: what was told, then the path or the error."""
    done: subprocess.CompletedProcess[str] = hub.run("-c", PROGRAM, engine, source, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def path_of(hub: Hub, engine: str, source: str, **env: str) -> Path:
    word, _, path = resolved(hub, engine, source, **env)[-1].partition(" ")
    assert word == "path", path
    return Path(path)


def error_of(hub: Hub, engine: str, source: str, **env: str) -> str:
    """With the lines that belong to it."""
    return "\n".join(resolved(hub, engine, source, **env))


def test_a_model_is_pulled_once_and_told(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    told, _ = resolved(hub, "vllm", NAME)
    assert told == "told pulling org/tiny: 2 file(s), 3 MiB"
    folder = path_of(hub, "vllm", NAME, HF_HUB_OFFLINE="1")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(hub.fetched(NAME)) == 1


def test_a_revision(hub: Hub) -> None:
    commit = "a" * 40
    hub.repo(NAME, FILES, commit=commit)
    assert path_of(hub, "vllm", f"{NAME}@{commit}").name == commit
    told = error_of(hub, "vllm", f"{NAME}@nowhere")
    assert told.startswith("ConfigError models.m.source: ")
    assert "has no revision 'nowhere'" in told


def test_a_gguf_file_by_quantization_or_name(hub: Hub) -> None:
    hub.repo("org/quants", QUANTS)
    for source in ("org/quants:q8_0", "org/quants:m-Q8_0.gguf", "org/quants/m-Q8_0.gguf"):
        assert path_of(hub, "llamacpp", source).name == "m-Q8_0.gguf"
    assert len(hub.fetched("org/quants")) == 1
    assert path_of(hub, "llamacpp", f"org/quants@{'c' * 40}:Q4_K_M").name == "m-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("engine", "source", "words"),
    [
        ("llamacpp", "org/quants:Q5_0", ["no GGUF file or quantization 'Q5_0'", "m-Q4_K_M.gguf"]),
        ("llamacpp", "org/quants", ["several GGUF files; name one", "m-Q8_0.gguf"]),
        ("llamacpp", "org/quants:Q2_K", ["is a model of 2 parts", "merge them"]),
        ("llamacpp", "org/tiny", ["holds other weights than GGUF files", ":Q4_K_M"]),
        ("vllm", "org/one", ["holds GGUF files", "engine: llamacpp"]),
    ],
)
def test_what_the_engine_does_not_load_is_refused_before_it_is_fetched(
    hub: Hub, engine: str, source: str, words: list[str]
) -> None:
    hub.repo(NAME, FILES)
    hub.repo("org/quants", QUANTS)
    hub.repo("org/one", {"m-Q8_0.gguf": QUANTS["m-Q8_0.gguf"]})
    told = error_of(hub, engine, source)
    assert told.startswith("ConfigError models.m.source: "), told
    for word in words:
        assert word in told
    assert hub.fetched("org/") == []


@pytest.mark.parametrize(
    ("settings", "env", "words"),
    [
        ({"gated": "friend"}, {}, ["is gated", "accept its terms at", "HF_TOKEN"]),
        ({"private": "friend"}, {}, ["no model 'org/tiny'"]),
        ({}, {"HF_HUB_OFFLINE": "1"}, ["HF_HUB_OFFLINE is set"]),
    ],
    ids=["gated", "private", "offline"],
)
def test_refusals_say_what_to_do(
    hub: Hub, settings: dict[str, str], env: dict[str, str], words: list[str]
) -> None:
    hub.repo(NAME, FILES, **settings)
    told = resolved(hub, "vllm", NAME, **env)[-1]
    assert told.startswith("ModelFetchError models.m.source: "), told
    for word in words:
        assert word in told


def test_room_is_looked_for_first(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    program = "import shutil; shutil.disk_usage = lambda _: shutil._ntuple_diskusage(9, 9, 0)\n"
    done = hub.run("-c", program + PROGRAM, "vllm", NAME)
    assert "ModelFetchError models.m.source: org/tiny needs 3 MiB more in" in done.stdout
    assert hub.fetched(NAME) == []


def test_what_another_tool_left_unfinished_is_finished(hub: Hub) -> None:
    """Its branch is written down and a part of the weights is there, but not all that the index
    names."""
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    parts = {"model-1.safetensors": WEIGHTS, "model-2.safetensors": WEIGHTS[::-1]}
    hub.repo(NAME, {"config.json": b"{}", "model.safetensors.index.json": index, **parts})
    folder = path_of(hub, "vllm", NAME)
    (folder / "model-2.safetensors").resolve().unlink()
    (folder / "model-2.safetensors").unlink()
    assert path_of(hub, "vllm", NAME) == folder
    assert (folder / "model-2.safetensors").read_bytes() == WEIGHTS[::-1]
