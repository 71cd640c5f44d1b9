"""`roundhouse config apply`: checks a config, plans what is new, hands it to the server."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

from cli.client import ask
from cli.listing import print_json, print_table
from cli.progress import say
from cli.serve import load_config, with_discovered
from common.config import Config
from common.errors import StartError, UsageError
from engines.changes import Changes, changes
from gateway.applying import refuse_fixed
from gateway.setup import Setup, in_force


def apply(path: Path | None, port: int | None, *, dry_run: bool, as_json: bool) -> None:
    """Raises UsageError for what is wrong or needs a restart, StartError for what cannot be."""
    instance, client = ask(port)
    running = in_force(instance.port, instance.token)
    if running is None:
        raise StartError(f"{instance.url} keeps no setup; restart it with `roundhouse serve`")
    config, path = _config(path, running)
    found = changes(running.config, config)
    if not dry_run:
        refuse_fixed(found, UsageError)
    setup = _planned(running, config, found)
    if not dry_run:
        setup = replace(setup, path=str(path.resolve()))
        setup.stage()
        try:
            client.apply(setup.id)
        finally:
            setup.unstage()
        sources = {name: model.sources[0] for name, model in config.models.items()}
        replace(instance, sources=sources).save()
    _tell(found, as_json, applied=not dry_run)


def _config(path: Path | None, running: Setup) -> tuple[Config, Path]:
    """Checked as `serve` does. Host and port that the file leaves open stay as they are."""
    if path is None and not running.path:
        raise UsageError("the server was started without a file: name one")
    path = path or Path(running.path)
    config = load_config(path, (), None, None)
    server, given = running.config.server, config.server.model_fields_set
    host = None if "host" in given else server.host
    port = None if "port" in given else server.port
    return with_discovered(load_config(path, (), host, port)), path


def _planned(running: Setup, config: Config, found: Changes) -> Setup:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import serve_app
    from placement.report.words import in_words

    setup = serve_app.replan(running, config, found, say)
    for placed in setup.plan.placements:
        if placed.model not in found.unchanged:
            say(f"plan: {in_words(placed)}")
    former = running.plan.guest_lines()
    for line in setup.plan.guest_lines():
        if line not in former:
            say(f"plan: {line}")
    return setup


def _tell(found: Changes, as_json: bool, *, applied: bool) -> None:
    told = asdict(found)
    if as_json:
        print_json({"applied": applied, **told})
        return
    kinds = ("added", "removed", "changed", "unchanged")
    rows = [(name, kind) for kind in kinds for name in told[kind]]
    print_table(("MODEL", "APPLIED" if applied else "WOULD BE"), rows)
    for key in found.settings:
        print(f"{key}: changed")
    for key in found.fixed:
        print(f"{key}: needs a restart")
    if applied and (found.added or found.changed):
        print("Models load in their turn: roundhouse ps")
