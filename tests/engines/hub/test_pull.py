"""`roundhouse pull` as a user runs it, against a hub that speaks HTTP."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub_server import Hub

NAME = "org/tiny"
WEIGHTS = bytes(range(256)) * 12_000  # 3 MB: large enough to be fetched by ranges
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "tokenizer.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"b" * 9000,
    "original/consolidated.00.pth": b"p" * 9000,
    "model-Q4_0.gguf": b"g" * 9000,
}
NEEDED = {"config.json", "tokenizer.json", "README.md", "model.safetensors"}


def pulled(hub: Hub, *words: str, **env: str) -> dict[str, Any]:
    done = hub.roundhouse("pull", *words, "--json", **env)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def names(folder: str | Path) -> set[str]:
    root = Path(folder)
    return {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}


def test_what_the_engine_needs_and_nothing_else(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    told = pulled(hub, NAME)
    assert names(told["path"]) == NEEDED
    assert (Path(told["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    size = sum(len(FILES[name]) for name in NEEDED)
    assert (told["files"], told["bytes"], told["fetched_bytes"]) == (4, size, size)
    again = pulled(hub, NAME)
    assert (again["fetched_bytes"], again["path"]) == (0, told["path"])
    assert len(hub.fetched("org/tiny")) == 1


def test_the_cache_is_the_hubs_own(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    told = pulled(hub, NAME)
    program = (
        "from engines.sources import resolve\n"
        "from huggingface_hub import scan_cache_dir\n"
        f"print(resolve('m', {NAME!r}, print))\n"
        "print([(r.repo_id, r.nb_files) for r in scan_cache_dir().repos])\n"
    )
    done = hub.run("-c", program, HF_HUB_OFFLINE="1")
    assert done.stdout.splitlines() == [told["path"], "[('org/tiny', 4)]"], done.stderr
    assert Path(told["path"]).is_relative_to(hub.home)


def test_another_place_for_the_cache(hub: Hub, tmp_path: Path) -> None:
    hub.repo(NAME, FILES)
    told = pulled(hub, NAME, HF_HUB_CACHE=str(tmp_path / "elsewhere"))
    assert Path(told["path"]).is_relative_to(tmp_path / "elsewhere")


def test_a_cut_connection_is_taken_up_again(hub: Hub) -> None:
    fault = {"model.safetensors": {"cut_after": 1_000_000, "times": 2}}
    hub.repo(NAME, FILES, faults=fault)
    told = pulled(hub, NAME)
    assert (Path(told["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [row["range"] for row in hub.fetched(NAME)]
    assert ranges[0] is None
    assert ranges[1:] == ["bytes=1000000-", "bytes=2000000-"]


def test_a_hub_that_has_too_much_to_do_is_asked_again(hub: Hub) -> None:
    hub.repo(NAME, FILES, faults={"model.safetensors": {"status": 503, "times": 4}})
    assert pulled(hub, NAME)["files"] == 4
    hub.repo("org/down", FILES, faults={"model.safetensors": {"status": 503, "times": 999}})
    done = hub.roundhouse("pull", "org/down")
    assert (done.returncode, "the hub answers HTTP 503" in done.stderr) == (1, True), done.stderr


def test_a_pull_that_was_killed_goes_on_where_it_was(hub: Hub) -> None:
    folder = hub.repo(NAME, FILES, faults={"model.safetensors": {"delay_s": 0.4}})
    first = hub.start("pull", NAME)
    part = hub.cache(NAME) / "blobs" / f"{sha256(WEIGHTS)}.roundhouse.incomplete"
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = part.stat().st_size
    assert 0 < kept < len(WEIGHTS)
    assert not (hub.cache(NAME) / "refs").exists()  # nobody takes it for the whole model
    (folder / ".hub.json").write_text("{}")
    told = pulled(hub, NAME)
    assert hub.fetched(NAME)[-1]["range"] == f"bytes={kept}-"
    assert (Path(told["path"]) / "model.safetensors").read_bytes() == WEIGHTS
    assert not part.exists()
    assert told["fetched_bytes"] <= told["bytes"] - kept


def test_an_interrupt_stops_it_and_keeps_the_part(hub: Hub) -> None:
    hub.repo(NAME, FILES, faults={"model.safetensors": {"delay_s": 0.4}})
    first = hub.start("pull", NAME)
    part = hub.cache(NAME) / "blobs" / f"{sha256(WEIGHTS)}.roundhouse.incomplete"
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=20)
    assert first.returncode == 130
    assert "Traceback" not in told
    assert part.stat().st_size > 0


def test_damaged_bytes_are_thrown_away(hub: Hub) -> None:
    folder = hub.repo(NAME, FILES, faults={"model.safetensors": {"damaged": True}})
    done = hub.roundhouse("pull", NAME)
    assert done.returncode == 1
    assert "model.safetensors came damaged" in done.stderr
    assert not list((hub.cache(NAME) / "blobs").glob(f"{sha256(WEIGHTS)}*"))
    (folder / ".hub.json").write_text("{}")
    assert pulled(hub, NAME)["files"] == 4


def test_one_gguf_file_by_name_or_by_quantization(hub: Hub) -> None:
    files = {f"m-{quant}.gguf": quant.encode() * 3000 for quant in ("Q4_K_M", "Q4_K_S", "Q8_0")}
    hub.repo("org/quants", {**files, "README.md": b"card", "config.json": b"{}"})
    for wanted in ("org/quants:m-Q8_0.gguf", "org/quants/m-Q8_0.gguf", "org/quants:q8_0"):
        told = pulled(hub, wanted)
        assert Path(told["path"]).name == "m-Q8_0.gguf"
        assert names(Path(told["path"]).parent) == {"m-Q8_0.gguf", "README.md"}
    program = (
        "from engines import gguf_sources\n"
        "print(gguf_sources.resolve('m', 'org/quants/m-Q8_0.gguf', print))"
    )
    done = hub.run("-c", program, HF_HUB_OFFLINE="1")
    assert done.stdout.strip() == told["path"], done.stderr
    done = hub.roundhouse("pull", "org/quants")
    assert done.returncode == 2
    assert "several GGUF files; name one" in done.stderr
    assert "m-Q4_K_S.gguf" in done.stderr
    done = hub.roundhouse("pull", "org/quants:Q5_0")
    assert done.returncode == 2
    assert "no GGUF file or quantization 'Q5_0'; there are" in done.stderr


def test_a_revision(hub: Hub) -> None:
    commit = "a" * 40
    hub.repo(NAME, FILES, commit=commit)
    assert Path(pulled(hub, f"{NAME}@{commit}")["path"]).name == commit
    done = hub.roundhouse("pull", f"{NAME}@nowhere")
    assert done.returncode == 2
    assert "has no revision 'nowhere'" in done.stderr


@pytest.mark.parametrize(
    ("name", "settings", "token", "words"),
    [
        ("org/gated", {"gated": "friend"}, "", ["is gated", "accept its terms at", "HF_TOKEN"]),
        ("org/gated", {"gated": "friend"}, "stranger", ["is gated", "the token in use has no"]),
        ("org/private", {"private": "friend"}, "", ["no model 'org/private'", "set HF_TOKEN"]),
        ("org/private", {"private": "friend"}, "stranger", ["the token in use cannot see it"]),
        ("no/where", None, "", ["the hub has no model 'no/where'"]),
    ],
)
def test_refusals_say_what_to_do(
    hub: Hub, name: str, settings: dict[str, str] | None, token: str, words: list[str]
) -> None:
    if settings:
        hub.repo(name, FILES, **settings)
    done = hub.roundhouse("pull", name, **({"HF_TOKEN": token} if token else {}))
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert "stranger" not in done.stderr


def test_a_token_opens_a_gated_model(hub: Hub) -> None:
    hub.repo("org/gated", FILES, gated="friend")
    assert pulled(hub, "org/gated", HF_TOKEN="friend")["files"] == 4
    assert any(row["authorized"] for row in hub.requests())
    assert [row["authorized"] for row in hub.fetched("org/gated")] == [False]  # another host


def test_no_hub(hub: Hub) -> None:
    done = hub.roundhouse("pull", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr
    done = hub.roundhouse("pull", NAME, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr


_SMALL_DISK = """
import shutil, sys
usage = shutil.disk_usage("/")._replace(free=int(sys.argv.pop(1)))
shutil.disk_usage = lambda path: usage
import cli.main
cli.main.main()
"""


def test_a_disk_that_is_too_small_is_told_before(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    done = hub.run("-c", _SMALL_DISK, str(2 << 20), "pull", NAME)
    assert done.returncode == 1
    assert f"{NAME} needs 3 MiB more in {hub.home / 'hub'}, where 2 MiB are free" in done.stderr
    assert "roundhouse rm" in done.stderr
    assert hub.fetched(NAME) == []


def test_without_a_terminal_there_are_plain_lines(hub: Hub) -> None:
    hub.repo(NAME, FILES)
    done = hub.roundhouse("pull", NAME)
    assert done.stderr == "roundhouse: pulling org/tiny: 4 file(s), 3 MiB\n"
    assert done.stdout.startswith("org/tiny: 3 MiB, 3 MiB fetched; ")
    assert "\x1b" not in done.stderr + done.stdout


def test_what_is_no_model(hub: Hub) -> None:
    for name, word in (("nothing", "names no model"), ("http://x/v1", "nothing to pull")):
        done = hub.roundhouse("pull", name)
        assert (done.returncode, word in done.stderr) == (2, True), done.stderr


def test_a_name_of_the_config(hub: Hub, tmp_path: Path) -> None:
    hub.repo(NAME, FILES)
    file = tmp_path / "box.yaml"
    file.write_text(f"models: {{mine: {{source: {NAME}, aliases: [other]}}}}\n")
    assert pulled(hub, "other", "--config", str(file))["source"] == NAME


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
