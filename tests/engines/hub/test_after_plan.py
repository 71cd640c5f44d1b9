"""A plan reads a model's config into the cache; that is not the model."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert told == "fetching org/tiny from the hub"
    assert {file.name for file in Path(folder).iterdir()} == {"config.json", "model.safetensors"}
    again = hub.run("-c", _RESOLVE, HF_HUB_OFFLINE="1")
    assert again.stdout.splitlines() == [folder]
