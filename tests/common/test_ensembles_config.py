"""`ensembles:` in a file: what is right, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import config_file
from common.ensembles_config import CompareConfig
from common.errors import ConfigError

MODELS = """\
models:
  small: {source: a/b, aliases: [tiny]}
  large: {source: c/d}
"""


def load(tmp_path: Path, text: str) -> config_file.Config:
    file = tmp_path / "c.yaml"
    file.write_text(MODELS + text, encoding="utf-8")
    return config_file.load(file)


def test_aliases_are_members_too(tmp_path: Path) -> None:
    config = load(tmp_path, "ensembles: {x: {kind: compare, members: [tiny, large], deadline: 1m}}")
    assert config.ensembles == {"x": CompareConfig(members=("tiny", "large"), deadline_s=60)}


def test_there_are_none_by_default(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config.ensembles == {}
    assert config.router.ensembles.max_requests == 16


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("{members: [small]}", "x: kind is missing (allowed: vote, cascade, compare"),
        ("{kind: blend}", "x: input tag 'blend' found using 'kind' does not match any of the"),
        ("{kind: vote, sample: 3}", "x.sample: unknown key; did you mean 'samples'? (allowed: ki"),
        ("{kind: compare, samples: 3}", "x.samples: unknown key (allowed: kind, members, quorum"),
        ("{kind: vote, samples: 99}", "x.samples: input should be less than or equal to 64"),
        ("{kind: vote, budget: {token: 1}}", "x.budget.token: unknown key; did you mean 'tokens'"),
        ("{kind: vote, members: [nobody]}", "x.members: no model 'nobody'; there are: small, la"),
        ("{kind: vote, deadline: soon}", "x.deadline: 'soon' is not a duration"),
        ("{kind: cascade, members: [small]}", "x.members: a cascade needs at least two"),
        ("{kind: cascade, threshold: 1}", "x.threshold: only confidence margin and mean_logprob"),
    ],
)
def test_each_problem_is_told_where_it_is(tmp_path: Path, keys: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"ensembles:\n  y: {{kind: vote}}\n  x: {keys}\n")
    assert f"c.yaml:6: ensembles.{told}" in str(raised.value)


def test_the_limit_holds_for_the_config_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"up to 3 answers .* more than 2 \(router.ensembles"):
        load(
            tmp_path,
            "router: {ensembles: {max_requests: 2}}\n"
            "ensembles: {x: {kind: vote, members: [small], samples: 3}}\n",
        )
