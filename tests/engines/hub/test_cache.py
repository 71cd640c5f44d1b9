"""What is in the cache, and what taking it out frees."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.hub_server import Hub

WEIGHTS = b"w" * 2_000_000
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}


def test_rm_frees_what_it_says(hub: Hub) -> None:
    hub.repo("org/tiny", FILES)
    hub.roundhouse("pull", "org/tiny")
    kept = hub.cache("org/tiny")
    (kept / "blobs" / "x.roundhouse.incomplete").write_bytes(b"p" * 500)
    done = hub.roundhouse("rm", "org/tiny", "--yes", "--json")
    assert json.loads(done.stdout) == {"source": "org/tiny", "freed_bytes": 2_000_502}
    assert not kept.exists()
    again = hub.roundhouse("rm", "org/tiny", "--yes")
    assert (again.returncode, "not in the hub's cache" in again.stderr) == (2, True)


def test_rm_of_one_file_leaves_the_others(hub: Hub) -> None:
    hub.repo("org/q", {f"m-{q}.gguf": q.encode() * 9000 for q in ("Q4_0", "Q8_0")})
    for quant in ("Q4_0", "Q8_0"):
        assert hub.roundhouse("pull", f"org/q:{quant}").returncode == 0
    done = hub.roundhouse("rm", "org/q:Q8_0", "-y", "--json")
    assert json.loads(done.stdout)["freed_bytes"] == 36_000
    folder = hub.cache("org/q") / "snapshots"
    assert [file.name for file in folder.rglob("*.gguf")] == ["m-Q4_0.gguf"]
    assert sum(f.stat().st_size for f in (hub.cache("org/q") / "blobs").iterdir()) == 36_000


def test_nothing_is_deleted_without_a_yes(hub: Hub, tmp_path: Path) -> None:
    hub.repo("org/tiny", FILES)
    hub.roundhouse("pull", "org/tiny")
    done = hub.roundhouse("rm", "org/tiny")
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert hub.cache("org/tiny").exists()
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    done = hub.roundhouse("rm", str(own), "--yes")
    assert (done.returncode, "delete it yourself" in done.stderr) == (2, True)
    assert own.exists()


def test_one_of_two_revisions(hub: Hub) -> None:
    folder = hub.repo("org/tiny", FILES, commit="a" * 40)
    hub.roundhouse("pull", "org/tiny")
    (folder / ".hub.json").write_text(json.dumps({"commit": "b" * 40}))
    (folder / "config.json").write_text('{"new": 1}')
    hub.roundhouse("pull", "org/tiny")
    done = hub.roundhouse("rm", f"org/tiny@{'a' * 40}", "-y", "--json")
    assert json.loads(done.stdout)["freed_bytes"] == 2  # the weights are the other one's too
    assert (hub.cache("org/tiny") / "snapshots" / ("b" * 40) / "model.safetensors").exists()
