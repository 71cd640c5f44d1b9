"""The configs for named hardware: `model: auto` sends each task to the role that is for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from common import config_file
from common.config import Config
from router.candidates import of_profiles, profiles_of
from router.choice import Candidate, Needs, choose

CONFIGS = Path(__file__).parents[2] / "configs"
ROLES = {"code": "coder", "math": "reasoner", "analysis": "reasoner", "general": "general"}


def as_it_starts(config: Config) -> list[Candidate]:
    """Models on demand are not loaded yet, and loading takes half a minute."""
    return [
        replace(each, loaded=False, load_s=30.0)
        if config.models[each.name].load == "on_demand"
        else each
        for each in of_profiles(profiles_of(config).values())
    ]


@pytest.mark.parametrize("name", ["rtx-4090", "4x-rtx-5090", "rtx-pro-6000", "m3-pro-36gb"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_each_task_has_its_model(name: str, language: str) -> None:
    config = config_file.load(CONFIGS / f"{name}.yaml")
    found = {}
    for task in ROLES:
        verdict = SimpleNamespace(task=task, confidence=1.0, language=language)
        found[task] = choose(verdict, Needs(prompt_tokens=200), as_it_starts(config)).model
    assert found == ROLES
