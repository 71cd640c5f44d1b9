"""`roundhouse plan` for boxes that are described or faked, and for every kind of wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.plan import Question, plan
from common.errors import RoundhouseError, UsageError
from placement.inventory import snapshot
from placement.plan.speed import Workload
from tests.fakes import nvml
from tests.placement.boxes import box

ROOT = Path(__file__).parents[2]
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that holds no more than a model's description."""
    return folder(tmp_path / "llama", LLAMA_8B)


def folder(path: Path, config: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


def asked(question: Question, **options: Any) -> int:
    return plan(question, **({"explained": False, "json": False, "html": None} | options))


def told(question: Question, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    asked(question, json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_cards_that_are_not_here(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(Question(models=(str(model),), gpus=("RTX 5090:4",)), capsys)
    assert [replica["gpus"] for replica in found["replicas"]] == [["0"], ["1"], ["2"], ["3"]]
    assert found["refusals"] == []


def test_a_box_that_was_saved_elsewhere(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "box.json"
    saved.write_text(snapshot.dump(box(2, "H100", nvlink=True)))
    found = told(Question(models=(str(model),), inventory=saved), capsys)
    assert [replica["gpus"] for replica in found["replicas"]] == [["0"], ["1"]]


def test_what_does_not_fit_is_exit_code_1_with_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LLAMA_8B | {"hidden_size": 8192, "num_attention_heads": 64, "num_hidden_layers": 80}
    large = folder(tmp_path / "large", config | {"intermediate_size": 28672})
    assert asked(Question(models=(str(large),), gpus=("4090",))) == 1
    said = capsys.readouterr().out
    assert "needs" in said
    assert "would fit with" in said


def test_models_that_take_turns_are_told_and_are_no_failure(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "two.yaml"
    models = "\n".join(f"  {name}: {{source: {model}, max_model_len: 4096}}" for name in "ab")
    file.write_text(f"version: 1\nmodels:\n{models}\n")
    question = Question(config=file, gpus=("4090",))
    assert asked(question) == 0
    assert "b is loaded on demand, in place of a" in capsys.readouterr().out
    found = told(question, capsys)
    assert [replica["model"] for replica in found["replicas"]] == ["a"]
    (guest,) = found["on_demand"]
    assert (guest["model"], guest["instead_of"]) == ("b", ["a"])
    assert [replica["gpus"] for replica in guest["replicas"]] == [["0"]]


def test_explained_tells_every_term(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(Question(models=(str(model),), gpus=("4090",)), explained=True) == 0
    said = capsys.readouterr().out.lower()
    for term in ("weights", "activation", "cuda graphs", "kv cache", "predicted, not measured"):
        assert term in said


def test_a_page(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    assert asked(Question(models=(str(model),), gpus=("4090",)), html=page) == 0
    assert "<html" in page.read_text()


def test_capacity(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = Question(
        models=(str(model),), gpus=("H100",), users=20, workload=Workload(2000, 500)
    )
    assert asked(question) == 0
    assert "H100" in capsys.readouterr().out


@pytest.mark.parametrize("topology", nvml.TOPOLOGIES)
def test_every_box_that_a_driver_may_show(topology: str, model: Path, tmp_path: Path) -> None:
    variables = nvml.environment(nvml.build(tmp_path), topology)
    arguments = ("plan", str(model), "--explain", "--html", str(tmp_path / "plan.html"))
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}
    assert done.stdout
    assert (tmp_path / "plan.html").exists()


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (("RTX 9999",), "'RTX 9999' is not in the catalogue"),
        (("RTX 4090:x",), "NAME:COUNT"),
        (("RTX 4090:0",), "0 of it cannot be"),
    ],
)
def test_a_card_that_nobody_knows(model: Path, gpus: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(Question(models=(str(model),), gpus=gpus))


def test_two_boxes_at_once(model: Path, tmp_path: Path) -> None:
    both = Question(models=(str(model),), gpus=("4090",), inventory=tmp_path / "box.json")
    with pytest.raises(UsageError, match="exclude each other"):
        asked(both)


def test_a_config_json_without_what_is_needed(tmp_path: Path) -> None:
    poor = folder(tmp_path / "poor", {"architectures": ["LlamaForCausalLM"]})
    with pytest.raises(RoundhouseError, match="hidden_size"):
        asked(Question(models=(str(poor),), gpus=("4090",)))


def test_capacity_is_of_one_model(model: Path, tmp_path: Path) -> None:
    other = folder(tmp_path / "other", LLAMA_8B)
    with pytest.raises(UsageError, match="one model, not 2"):
        asked(Question(models=(str(model), str(other)), gpus=("4090",), users=5))
