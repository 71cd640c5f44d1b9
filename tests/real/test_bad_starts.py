"""Starts that cannot work: one message that says why, the right exit code, and nothing left."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines import gguf_sources
from placement.inventory import look
from tests.real.serving import Completed, environment, free_port, run, small, wait_gone

pytestmark = pytest.mark.engine

_AT_ONCE_S = 20
_CUT_OFF_BYTES = 50 << 20  # the head, which a plan reads, and half of the weights
_PROGRESS = re.compile(r"roundhouse: (\[|plan: |starting |fetching )")


def serve(folder: Path, text: str, *flags: str, **variables: str) -> Completed:
    """What `roundhouse serve` has to say about a config, in one message, and with nothing left."""
    file = folder / "roundhouse.yaml"
    file.write_text(text)
    began = time.monotonic()
    done = run(
        *("serve", "--config", str(file), *flags),
        env=environment(folder / "state") | variables,
        timeout_s=120,
    )
    print(f"exit code {done.returncode} after {time.monotonic() - began:.1f} s\n{done.stderr}")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    wait_gone(folder / "state")
    return done


def one_model(**model: Any) -> str:
    server = {"port": free_port()}
    return yaml.safe_dump({"version": 1, "server": server, "models": {"m": model}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  m:\n    sauce: x", r":3: models.m.sauce: unknown key; did you mean 'source'"),
        ("models:\n  m: {source: x}\nserver:\n  port: none", r":4: server.port: .*, not 'none'"),
        ("models: {m: {source: 'embedded:gpt4'}}", "no embedded model 'gpt4'.* smollm2"),
        ("models: {m: {source: /no/such/folder}}", "'/no/such/folder' is no folder on this disk"),
        (
            "models: {m: {source: 'embedded:smollm2', engine_args: {max_num_seq: 4}}}",
            "models.m.engine_args.max_num_seq: .*did you mean 'max_num_seqs'",
        ),
        (
            "models: {m: {source: 'embedded:smollm2', engine_args: {block_size: banana}}}",
            "models.m.engine_args.block_size: 'banana' is no int",
        ),
        ("server: {host: 0.0.0.0}\nmodels: {m: {source: x}}", "api_keys must hold at least one"),
    ],
    ids=["key", "type", "embedded", "folder", "engine_args", "engine_args type", "host"],
)
def test_a_wrong_config(tmp_path: Path, text: str, message: str) -> None:
    began = time.monotonic()
    done = serve(tmp_path, text)
    assert time.monotonic() - began < _AT_ONCE_S
    assert done.returncode == 2
    assert_one_message(done, message)


def test_gpus_are_named_where_there_are_none(tmp_path: Path, tiny: Path) -> None:
    index = len(look.look().gpus)
    done = serve(tmp_path, one_model(**small(tiny), placement={"gpus": [index]}))
    assert done.returncode == 2
    assert_one_message(done, r"models.m.placement.gpus: (there is no GPU|names GPUs, but)")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    done = serve(tmp_path, one_model(source="nobody/has-this"), HF_ENDPOINT=nobody)
    assert time.monotonic() - began < _AT_ONCE_S
    assert done.returncode == 1
    assert_one_message(done, "models.m.source: nobody/has-this: the hub at .* cannot be reached")


def test_too_little_memory(tmp_path: Path, tiny: Path) -> None:
    model = small(tiny) | {"engine_args": {"kv_cache_memory_bytes": 999 << 30}}
    done = serve(tmp_path, one_model(**model))
    assert done.returncode == 1
    assert_one_message(done, r"not enough memory: \d+\.\d GiB needed.*KV cache 999.0 GiB")


def test_the_port_is_taken(tmp_path: Path, tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = serve(tmp_path, one_model(**small(tiny)), "--port", str(port))
    assert done.returncode == 1
    assert_one_message(done, f"cannot listen on 127.0.0.1:{port}: .*--port")


def test_an_engine_refuses_its_arguments(tmp_path: Path, tiny: Path) -> None:
    model = small(tiny)
    model["engine_args"]["seed"] = "banana"
    assert_did_not_load(serve(tmp_path, one_model(**model)), "seed.*banana")


def test_weights_that_do_not_load(tmp_path: Path) -> None:
    """Those that vLLM does not load are in test_serve_run.py."""
    file = tmp_path / "cut-off.gguf"
    with gguf_sources.resolve("m", "embedded:smollm2-gguf", print).open("rb") as whole:
        file.write_bytes(whole.read(_CUT_OFF_BYTES))
    assert_did_not_load(serve(tmp_path, one_model(source=str(file))), "not within the file bounds")


def assert_one_message(done: Completed, pattern: str) -> None:
    said = [line for line in done.stderr.splitlines() if line.startswith("roundhouse: ")]
    messages = [line for line in said if not _PROGRESS.match(line)]
    assert len(messages) == 1
    assert re.search(pattern, done.stderr)


def assert_did_not_load(done: Completed, reason: str) -> None:
    assert done.returncode == 1
    assert_one_message(done, f"m-0 did not start: .*{reason}.*\n  log: /.*m-0.log")
