"""`roundhouse config`: validate, show, schema."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from common import config_file
from common.config import Config
from engines import registry
from router.classify import own_patterns


def validate(path: Path) -> None:
    """Raises ConfigError; prints one line when all is well."""
    config = config_file.load(path, checks=(own_patterns.problems,))
    for name, model in config.models.items():
        if kind := registry.OWNED.get(config.engine_of(name)):
            kind.check(name, model.engine_args)
    print(f"{path}: valid; {len(config.models)} model(s): {', '.join(config.models)}")


def show(path: Path | None, as_json: bool) -> None:
    from cli.serve import load_config

    config = load_config(path, (), None, None)
    data = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["server"]["api_keys"] = ["(hidden)"] * len(config.server.api_keys)
    for model in data["models"].values():
        if headers := (model.get("remote") or {}).get("headers"):
            model["remote"]["headers"] = dict.fromkeys(headers, "(hidden)")
    print(json.dumps(data, indent=2) if as_json else yaml.safe_dump(data, sort_keys=False), end="")


def schema() -> None:
    print(json.dumps(Config.model_json_schema(by_alias=True), indent=2))
