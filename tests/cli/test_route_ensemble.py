"""`roundhouse route --model`: an ensemble's plan and price, before it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.route_ensemble import route_ensemble
from cli.source import ALONE, Source
from common.errors import BadRequestError, ModelNotFoundError, UsageError
from common.instance import Instance

CONFIG = """\
models:
  small: {source: "http://127.0.0.1:9/v1", engine: openai, price: {input: 1.0, output: 2.0}}
  large: {source: "http://127.0.0.1:9/v1", engine: openai, price: {input: 10.0, output: 20.0}}
  local: {source: org/local, aliases: [own]}
ensembles:
  council: {kind: vote, members: [small, large], soft_deadline: 20s}
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "box.yaml"
    path.write_text(CONFIG)
    return Source(path, offline=True)


def plan(source: Source, model: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    route_ensemble("What is 9 + 9?", model, source, max_tokens=1000, as_json=True)
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_the_price_is_that_of_the_dearest(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    told = plan(source, "ensemble:council", capsys)
    assert told["requests_at_most"] == 2
    assert told["output_tokens_at_most"] == 2000
    prompt = told["prompt_tokens"]
    assert isinstance(prompt, int)
    assert told["cost_usd_at_most"] == pytest.approx(2 * (prompt * 10 + 1000 * 20) / 1e6)


def test_a_later_step_may_read_all_earlier_answers(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    told = plan(source, "cascade:small>large", capsys)
    requests, prompt = told["requests_at_most"], told["prompt_tokens"]
    assert isinstance(requests, int)
    assert isinstance(prompt, int)
    longest = prompt + (requests - 1) * 1000
    assert told["cost_usd_at_most"] == pytest.approx(requests * (longest * 10 + 20000) / 1e6)


def test_an_unknown_price_stays_unknown(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(source, "ensemble:vote:small+own", capsys)["cost_usd_at_most"] is None


def test_people_read_a_table(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    route_ensemble("What is it?", "ensemble:council", source, max_tokens=None, as_json=False)
    told = capsys.readouterr().out
    assert told.startswith(f"{ALONE}\nensemble:council: vote, at most 2 answers\n")
    assert "no max_tokens given, so no bound" in told
    assert "takes what is there after 20 s" in told
    assert "small" in told


def test_the_model_that_auto_takes_is_named(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    (member,) = plan(source, "ensemble:vote:3", capsys)["members"]  # type: ignore[misc]
    assert member["model"] in ("small", "large", "local")
    assert member["samples"] == 3


def test_what_runs_is_asked(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    told = plan(Source(), "ensemble:vote:3:m", capsys)
    assert told["asked"] == instance.url
    assert told["requests_at_most"] == 3


@pytest.mark.parametrize(
    ("prompt", "model", "error"),
    [
        ("", "ensemble:council", UsageError),
        ("hi", "small", UsageError),
        ("hi", "ensemble:none", ModelNotFoundError),
        ("hi", "cascade:small", BadRequestError),
    ],
)
def test_what_cannot_be(source: Source, prompt: str, model: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        route_ensemble(prompt, model, source, max_tokens=None, as_json=False)
