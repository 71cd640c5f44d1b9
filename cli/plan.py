"""`roundhouse plan`: what would run where, why, and what would make the rest fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cli.listing import print_json
from cli.serve import load_config
from common.config import Config
from common.errors import ConfigError, UsageError
from common.units import GIB
from engines import gguf_sources, registry
from engines.hub.reference import parse
from placement.calibration import store as calibration_store
from placement.calibration.calibration import Calibration
from placement.calibration.measurement import Row, rows
from placement.inventory import catalogue, look, snapshot
from placement.inventory.inventory import Inventory
from placement.models.facts import ModelFacts
from placement.models.load import load
from placement.plan import planner as planning
from placement.plan.capacity import capacity
from placement.plan.demand import Demand
from placement.plan.planner import Plan
from placement.plan.speed import DEFAULT_WORKLOAD, Workload
from placement.plan.timetable import timetable
from placement.report import as_json, capacity_table, explain, page, table
from placement.report import starts as starts_table


@dataclass(frozen=True)
class Question:
    """What the command line asks. `users` is set for a question of capacity."""

    models: tuple[str, ...] = ()
    config: Path | None = None
    gpus: tuple[str, ...] = ()
    inventory: Path | None = None
    users: int | None = None
    workload: Workload = DEFAULT_WORKLOAD


def plan(question: Question, *, explained: bool, json: bool, html: Path | None) -> int:
    """Prints the plan; exit code 1 when something found no place."""
    config = load_config(question.config, question.models, None, None)
    inventory = _inventory(question)
    if question.users is not None:
        return _capacity(question, config, inventory, json)
    calibration = calibration_store.load()
    turns = timetable(
        list(_demands(config)),
        partial(_make, config, inventory, question.workload, calibration),
        pinned=[name for name, model in config.models.items() if model.pinned],
        last=[name for name, model in config.models.items() if model.load == "on_demand"],
    )
    made = turns.as_plan
    starts = _last_starts(made, calibration)
    if html:
        _write(html, page.html(made, starts))
    if json:
        print_json(as_json.to_json(made, starts, turns.guests))
    elif explained:
        print("\n".join(explain.lines(made, starts)))
    else:
        print("\n".join([*table.lines(made), *starts_table.lines(starts)]))
    if turns.guests and not json:
        print("\n".join(["", *turns.guest_lines()]))
    return 1 if made.refusals else 0


def _make(
    config: Config,
    inventory: Inventory,
    workload: Workload,
    calibration: Calibration,
    demands: Sequence[Demand],
    beside: Mapping[str, int],
) -> Plan:
    return planning.make(
        demands,
        inventory,
        workload=workload,
        calibration=calibration,
        beside=beside,
        **_limits(config),
    )


def _last_starts(made: Plan, calibration: Calibration) -> dict[str, list[Row]]:
    """By replica: what was predicted for its last start under the same conditions, and reported."""
    found = {}
    for placed in made.placements:
        footprint = placed.footprint
        last = calibration.last(footprint.facts, footprint.settings, footprint.device)
        if last:
            found[placed.replica] = rows(last.predicted, last.reported)
    return found


def _capacity(question: Question, config: Config, inventory: Inventory, json: bool) -> int:
    asked = list(_demands(config))
    if len(asked) != 1:
        raise UsageError(f"--capacity asks about one model, not {len(asked)}")
    answer = capacity(
        asked[0],
        question.users or 1,
        question.workload,
        inventory,
        calibration=calibration_store.load(),
        **_limits(config),
    )
    if json:
        print_json(capacity_table.to_json(answer))
    else:
        print("\n".join(capacity_table.lines(answer)))
    return 0


def _limits(config: Config) -> dict[str, Any]:
    return {
        "reserve_bytes": int(config.gpu.reserve_gib * GIB),
        "devices": None if config.gpu.devices == "all" else config.gpu.devices,
    }


def _demands(config: Config) -> Iterator[Demand]:
    """Only what describes a model is read; its weights stay where they are."""
    for name, model in config.models.items():
        if config.engine_of(name) in registry.OWNED:
            kind = registry.OWNED[config.engine_of(name)]
            yield kind.demand(name, model, _facts(kind, name, str(model.source)))


def _facts(kind: registry.Kind, name: str, source: str) -> ModelFacts:
    asked = None if Path(source).expanduser().exists() else parse(source)
    if asked and asked.wanted:
        return gguf_sources.facts(name, asked)
    return load(_readable(kind, name, source))


def _readable(kind: registry.Kind, name: str, source: str) -> str:
    if not source.startswith("embedded:"):
        return source
    return str(kind.resolve(name, source, lambda text: print(text, file=sys.stderr)))


def _inventory(question: Question) -> Inventory:
    if question.gpus and question.inventory:
        raise UsageError("--gpu and --inventory exclude each other")
    if question.inventory:
        return snapshot.load(question.inventory)
    if question.gpus:
        return catalogue.boxed([_card(text) for text in question.gpus])
    return look.look()


def _card(text: str) -> tuple[str, int]:
    """From "RTX 4090:2" to the card's name and how many of it."""
    name, colon, number = text.rpartition(":")
    if not colon:
        return text, 1
    if not number.isdigit():
        raise UsageError(f'--gpu {text!r}: write NAME or NAME:COUNT, such as "RTX 4090:2"')
    return name, int(number)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html: cannot write {file}: {error.strerror}") from None
    print(f"wrote {file}", file=sys.stderr)
