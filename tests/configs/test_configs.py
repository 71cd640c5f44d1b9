"""The files in configs/: each loads, the example names every key, the schema is the code's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from common import config_file
from common.config import (
    Config,
    EngineDefaults,
    LifecycleConfig,
    ModelConfig,
    PlacementConfig,
    RetryConfig,
    RouterConfig,
    ServerConfig,
)
from common.ensemble_section import BudgetConfig, EnsembleLimits
from common.ensembles_config import CascadeConfig, CompareConfig, VoteConfig
from common.ensembles_judged import BestOfConfig, CheckConfig, FuseConfig
from common.remote_config import PriceConfig, RemoteConfig
from engines import registry

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_loads(path: Path) -> None:
    config = config_file.load(path)
    for name, model in config.models.items():
        if kind := registry.OWNED.get(config.engine_of(name)):
            kind.check(name, model.engine_args)


def test_the_schema_beside_them_is_that_of_the_code() -> None:
    """`roundhouse config schema > configs/schema.json` puts it right."""
    assert json.loads((CONFIGS / "schema.json").read_text()) == Config.model_json_schema()


@pytest.mark.parametrize(
    ("section", "place"),
    [
        (Config, ()),
        (ServerConfig, ("server",)),
        (EngineDefaults, ("defaults",)),
        (LifecycleConfig, ("lifecycle",)),
        (ModelConfig, ("models", "smollm2")),
        (PlacementConfig, ("models", "smollm2", "placement")),
        (RemoteConfig, ("models", "claude", "remote")),
        (PriceConfig, ("models", "claude", "price")),
        (RouterConfig, ("router",)),
        (RetryConfig, ("router", "retry")),
        (EnsembleLimits, ("router", "ensembles")),
        (VoteConfig, ("ensembles", "five")),
        (CascadeConfig, ("ensembles", "frugal")),
        (CompareConfig, ("ensembles", "both")),
        (FuseConfig, ("ensembles", "council")),
        (BestOfConfig, ("ensembles", "tested")),
        (CheckConfig, ("ensembles", "tested", "check")),
        (BudgetConfig, ("ensembles", "frugal", "budget")),
    ],
)
def test_the_example_names_every_key(section: type[BaseModel], place: tuple[str, ...]) -> None:
    example = CONFIGS / "example.yaml"
    text = example.read_text()
    value: Any = config_file.read_document(example).data
    for part in place:
        value = value[part]
    keys = {field.alias or name for name, field in section.model_fields.items()}
    commented = {key for key in keys if f"# {key}:" in text}
    assert keys == set(value) | commented
