"""A plan reads a model's config into the cache; that is not the model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.configs import ggufs
from tests.engines.profiles import model_files as files
from tests.fakes.hub_server import Hub

_RESOLVE = """
from engines.sources import resolve
print(resolve("m", "org/tiny", print))
"""


def test_a_planned_model_is_still_fetched(hub: Hub) -> None:
    files.folder(hub.root / "org" / "tiny")
    planned = hub.roundhouse("plan", "org/tiny", "--gpu", "RTX 4090")
    assert planned.returncode == 0, planned.stderr
    assert (hub.cache("org/tiny") / "refs" / "main").exists()
    assert (
        json.loads(
            hub.roundhouse("list", "--available", "--json", ROUNDHOUSE_CACHE=str(hub.home)).stdout
        )
        == []
    )
    done = hub.run("-c", _RESOLVE)
    assert done.returncode == 0, done.stderr
    told, folder = done.stdout.splitlines()
    assert told.startswith("pulling org/tiny: 1 file(s)")
    assert {file.name for file in Path(folder).iterdir()} == {"config.json", "model.safetensors"}
    again = hub.run("-c", _RESOLVE, HF_HUB_OFFLINE="1")
    assert again.stdout.splitlines() == [folder]


def test_a_gguf_model_is_planned_by_its_header_alone(hub: Hub) -> None:
    shape = ggufs.Shape("qwen3", 256, 2, 2, 1, 512, 4096, vocab=1024)
    file = hub.repo("org/quants", {"m-Q4_K_M.gguf": b""}) / "m-Q4_K_M.gguf"
    ggufs.write(file, shape, "Q4_K_M")
    with file.open("ab") as opened:  # weights, as far as the hub is concerned
        opened.write(bytes(40_000_000))
    for source in ("org/quants:Q4_K_M", "org/quants/m-Q4_K_M.gguf"):
        planned = hub.roundhouse("plan", source, "--gpu", "RTX 4090", "--json")
        assert planned.returncode == 0, planned.stderr
        assert len(json.loads(planned.stdout)["replicas"]) == 1
    fetched = [row["range"] for row in hub.fetched("org/quants")]
    assert fetched == ["bytes=0-15999999"] * 2
    assert not hub.cache("org/quants").exists()
    missing = hub.roundhouse("plan", "org/quants:Q8_0", "--gpu", "RTX 4090")
    assert (missing.returncode, "there are:\n  m-Q4_K_M.gguf" in missing.stderr) == (2, True)


def test_a_revision_is_planned(hub: Hub) -> None:
    folder = files.folder(hub.root / "org" / "tiny")
    (folder / ".hub.json").write_text(json.dumps({"commit": "a" * 40}))
    planned = hub.roundhouse("plan", f"org/tiny@{'a' * 40}", "--gpu", "RTX 4090")
    assert planned.returncode == 0, planned.stderr
    planned = hub.roundhouse("plan", "org/tiny@nowhere", "--gpu", "RTX 4090")
    assert planned.returncode == 1
    assert "org/tiny has no such revision on the hub" in planned.stderr
