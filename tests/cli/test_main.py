"""The command as a user types it: exit codes, messages, and that --help is light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"ray", "vllm", "torch", "transformers", "fastapi", "aiohttp", "pydantic"}


def roundhouse(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=60)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, cli.main\n"
        "try: cli.main.app(['--help'])\n"
        f"except SystemExit: print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.splitlines()[-1] == "HEAVY []", told.stderr
    assert "serve" in told.stdout


@pytest.mark.parametrize(
    "words",
    [("list",), ("ps", "--json"), ("status",), ("stop",), ("ps", "--port", "8123")],
    ids=" ".join,
)
def test_nothing_runs(words: tuple[str, ...]) -> None:
    done = roundhouse(*words)
    assert done.returncode == 1
    where = " on port 8123" if "8123" in words else ""
    assert done.stderr == (
        f"roundhouse: no Roundhouse runs{where}; start one with `roundhouse serve`\n"
    )
    assert done.stdout == ""


def test_a_bad_config_is_wrong_use(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {a: {source: embedded:smollm2}}\nserver: {prt: 1}\n")
    for words in (("config", "validate", str(file)), ("serve", "--config", str(file))):
        done = roundhouse(*words)
        assert done.returncode == 2
        assert f"{file}:2: server.prt: unknown key; did you mean 'port'?" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_argument_of_the_engine_that_there_is_not(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {a: {source: embedded:smollm2, engine_args: {max_num_seq: 1}}}\n")
    done = roundhouse("config", "validate", str(file))
    assert done.returncode == 2
    assert "models.a.engine_args.max_num_seq" in done.stderr
    assert "'max_num_seqs'" in done.stderr


def test_a_good_config(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {a: {source: embedded:smollm2}}\n")
    done = roundhouse("config", "validate", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}: valid; 1 model(s): a\n")


def test_what_is_shown_of_a_config_hides_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {a: {source: x/y}}\nserver: {api_keys: [sk-very-secret]}\n")
    done = roundhouse("config", "show", "--config", str(file), "--json")
    shown = json.loads(done.stdout)
    assert shown["server"]["api_keys"] == ["(hidden)"]
    assert shown["server"]["drain_timeout"] == "30s"
    assert "very-secret" not in done.stdout + done.stderr


def test_model_and_config_exclude_each_other(tmp_path: Path) -> None:
    done = roundhouse("serve", "--model", "a/b", "--config", str(tmp_path / "box.yaml"))
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


def test_version_and_doctor_speak_json() -> None:
    assert json.loads(roundhouse("version", "--json").stdout)["ray"].startswith("2.")
    done = roundhouse("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert {"python", "vllm", "gpu", "memory", "disk", "model"} <= set(findings)
    assert done.returncode == int(any(f["level"] == "fail" for f in findings.values()))


def test_the_schema_is_json() -> None:
    schema = json.loads(roundhouse("config", "schema").stdout)
    assert schema["additionalProperties"] is False
    assert "drain_timeout" in schema["$defs"]["ServerConfig"]["properties"]
