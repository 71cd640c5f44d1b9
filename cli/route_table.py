"""`roundhouse route --table`: how good each model is taken to be at each task, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.listing import print_json, print_table
from cli.source import Source
from common.config import Config
from router.candidates import profiles_of
from router.feedback.learning import Learning, limits
from router.feedback.store import Store


def table(source: Source, *, as_json: bool) -> None:
    client = source.client()
    scores = client.scores() if client else of_config(source.config)
    if as_json:
        print_json({"asked": client.url if client else None, "scores": scores})
        return
    print(f"asked {client.url}" if client else "by the config, and the ratings kept for its port")
    print_table(
        ("TASK", "MODEL", "PRIOR", "RATINGS", "SCORE", "95 %", "SOURCE"),
        (
            (
                each["task"],
                each["model"],
                f"{each['prior']:.3f}",
                f"{each['ratings']:.1f}",
                f"{each['score']:.3f}",
                f"{each['low']:.2f} to {each['high']:.2f}",
                f"{each['basis']}: {each['source']}",
            )
            for each in scores
        ),
    )


def of_config(config: Config) -> list[dict[str, Any]]:
    """As a router with this config would begin."""
    wanted = config.router.learning
    with _kept(config) as path:
        learning = Learning(Store(path, limits(wanted)), profiles_of(config).values(), wanted)
        try:
            return [asdict(entry) for entry in learning.table()]
        finally:
            learning.close()


@contextmanager
def _kept(config: Config) -> Iterator[Path]:
    """The file of ratings, or an empty one where there is none or the config wants none."""
    from gateway.feedback import store_path

    path = store_path(config)
    if config.router.learning.enabled and path.exists():
        yield path
        return
    with TemporaryDirectory(prefix="roundhouse-") as folder:
        yield Path(folder) / "feedback.db"
