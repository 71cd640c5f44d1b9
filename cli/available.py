"""`roundhouse list --available`: the models on this disk, whether anything serves them or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.listing import print_json, print_table
from common.units import format_bytes
from engines.profiles import local
from engines.profiles.local import LocalModel
from engines.profiles.look import look


def available(config: Path | None, as_json: bool) -> None:
    rows = [_row(model) for model in local.models(model_dirs(config))]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print("no model is on this disk; `roundhouse pull MODEL` fetches one")
        return
    print_table(
        ("MODEL", "WHERE", "FORMAT", "QUANTIZATION", "CONTEXT", "SIZE"),
        ([_cell(row[key]) for key in _SHOWN] + [format_bytes(row["bytes"])] for row in rows),
    )


_SHOWN = ("source", "where", "format", "quantization", "max_model_len")


def model_dirs(config: Path | None) -> tuple[str, ...]:
    """Of the config, or of the environment where no file is given."""
    from cli.serve import load_config

    return load_config(config, (), None, None).model_dirs


def _row(model: LocalModel) -> dict[str, Any]:
    known = look(model.path)
    return {
        "source": model.source,
        "where": model.where,
        "format": known.get("format"),
        "quantization": known.get("quantization"),
        "params": known.get("params"),
        "max_model_len": known.get("max_model_len"),
        "bytes": model.n_bytes,
        "path": str(model.path),
    }


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
