"""`roundhouse rm`: takes a model out of the hub's cache, or an embedded one off the disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from cli.client import Client
from cli.listing import print_json
from cli.named import Named, named, no_model
from common.errors import NotAnsweringError, UsageError
from common.instance import running
from common.units import format_bytes
from engines import embedded
from engines.hub import cache
from engines.hub.cache import Removal
from engines.hub.reference import parse


def rm(model: str, config: Path | None, yes: bool, as_json: bool) -> int:
    """Exit code 1 when the user says no. Raises UsageError for what is not here or is served."""
    wanted = named(model, config)
    if wanted.is_elsewhere:
        raise UsageError(f"{wanted.name} runs on {wanted.engine}, which has its models itself")
    doomed = _removal(wanted.source)
    refuse_served(wanted)
    if not yes and not _agreed(wanted.source, doomed):
        print("nothing was deleted", file=sys.stderr)
        return 1
    doomed.execute()
    if as_json:
        print_json({"source": wanted.source, "freed_bytes": doomed.n_bytes})
    else:
        print(f"{wanted.source}: deleted, {format_bytes(doomed.n_bytes)} freed")
    return 0


def refuse_served(wanted: Named) -> None:
    """Raises UsageError where a Roundhouse that runs here serves it."""
    asked = parse(wanted.source)
    ours = {wanted.name, wanted.source, *([asked.repo] if asked else [])}
    for instance in running():
        try:
            replicas = Client(instance).replicas()["replicas"]
        except NotAnsweringError:
            continue
        for replica in replicas:
            source = instance.sources.get(replica["model"], replica["model"])
            of_hub = parse(source)
            if ours & {source, replica["model"], *([of_hub.repo] if of_hub else [])}:
                raise UsageError(
                    f"{wanted.source} is served as {replica['model']!r} by the Roundhouse on port "
                    f"{instance.port}; `roundhouse stop -p {instance.port}` first"
                )


def _removal(source: str) -> Removal:
    if source.startswith("embedded:"):
        return _embedded(source.removeprefix("embedded:"))
    if Path(source).expanduser().exists():
        raise UsageError(f"{source} is a file or folder of your own; delete it yourself")
    asked = parse(source)
    if asked is None:
        raise no_model(source)
    return cache.removal(asked)


def _embedded(name: str) -> Removal:
    """Both forms of it: one is made of the other."""
    model = embedded.EMBEDDED.get(name.removesuffix("-gguf"))
    if model is None:
        raise UsageError(f"there is no embedded model {name!r}; see `roundhouse list --available`")
    folders = [embedded.models_dir() / each for each in (model.folder, model.gguf_folder)]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    if not files:
        raise UsageError(f"embedded:{name} is not on this disk")

    def execute() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    return Removal(sum(file.stat().st_size for file in files), tuple(folders), execute)


def _agreed(source: str, doomed: Removal) -> bool:
    """Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"{source}: nobody is here to ask; add --yes to delete it")
    for path in doomed.paths:
        print(f"  {path}", file=sys.stderr)
    answer = input(f"Delete {source} ({format_bytes(doomed.n_bytes)})? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}
