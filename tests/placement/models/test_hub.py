"""Metadata from a hub: a small server speaks its endpoints, the product runs as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.placement.models import fake_hub, files

_LOAD = """
import json, sys
from common.errors import RoundhouseError
from placement.models.load import load
try:
    facts = load(sys.argv[1])
except RoundhouseError as error:
    print(json.dumps({"error": error.message, "exit_code": error.exit_code}))
else:
    stored = facts.stored.total_bytes if facts.stored else None
    method = facts.quantization.method if facts.quantization else None
    print(json.dumps({"name": facts.name, "layers": len(facts.layers), "stored": stored,
                      "method": method}))
"""


@dataclass
class Hub:
    url: str
    root: Path
    home: Path

    def load(self, hub_id: str, url: str | None = None) -> dict[str, object]:
        env = os.environ | {
            "HF_ENDPOINT": url or self.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        }
        env.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, hub_id],
            env=env,
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return found

    def requests(self) -> str:
        log = self.root.with_suffix(".log")
        return log.read_text() if log.exists() else ""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    root = tmp_path / "hub"
    root.mkdir()
    program = [sys.executable, fake_hub.__file__, str(root)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        yield Hub(f"http://127.0.0.1:{port}", root, tmp_path / "home")
        server.terminate()


def test_config_and_headers_without_the_weights(hub: Hub) -> None:
    folder = files.model_folder(hub.root / "org" / "tiny")
    weights = folder / "model.safetensors"
    found = hub.load("org/tiny")
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    expected = weights.stat().st_size - header
    assert found == {"name": "org/tiny", "layers": 4, "stored": expected, "method": None}
    fetched = [line.split()[2] for line in hub.requests().splitlines() if "safetensors " in line]
    assert sum(map(int, fetched)) < 2 * 100_001  # the library asks for 100 kB at first


def test_modelopt_describes_its_quantization_in_a_file_of_its_own(hub: Hub) -> None:
    folder = files.model_folder(hub.root / "org" / "tiny")
    described = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(described))
    assert hub.load("org/tiny")["method"] == "modelopt"


def test_a_repository_without_safetensors(hub: Hub) -> None:
    folder = files.model_folder(hub.root / "org" / "tiny")
    (folder / "model.safetensors").unlink()
    assert hub.load("org/tiny")["stored"] is None


@pytest.mark.parametrize(
    ("hub_id", "words"),
    [
        ("gated/model", ["gated/model", "is gated", "HF_TOKEN"]),
        ("nobody/nothing", ["has no model 'nobody/nothing'", "HF_TOKEN"]),
        ("private/model", ["has no model 'private/model'", "private"]),
        ("org/empty", ["has no config.json", ".gguf"]),
        ("broken/model", ["cannot be reached"]),
    ],
)
def test_refusals_say_what_to_do(hub: Hub, hub_id: str, words: list[str]) -> None:
    (hub.root / "org" / "empty").mkdir(parents=True)
    found = hub.load(hub_id)
    assert found["exit_code"] == 1
    for word in words:
        assert word in str(found["error"])


def test_no_hub_at_all(hub: Hub) -> None:
    found = hub.load("org/tiny", url="http://127.0.0.1:9")
    assert "cannot be reached" in str(found["error"])
    assert "folder" in str(found["error"])


def test_the_cache_on_this_disk_comes_first(hub: Hub) -> None:
    snapshot = hub.home / "hub" / "models--org--tiny" / "snapshots" / ("0" * 40)
    files.model_folder(snapshot)
    refs = hub.home / "hub" / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    found = hub.load("org/tiny", url="http://127.0.0.1:9")
    assert (found["name"], found["layers"]) == ("org/tiny", 4)
    assert hub.requests() == ""
