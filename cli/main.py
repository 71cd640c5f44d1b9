"""The `roundhouse` command. Verbs are thin: each calls a function that a test can call.

Heavy imports stay inside the verbs, so that `--help` is there at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import RoundhouseError

app = typer.Typer(
    name="roundhouse",
    help="The engine shed for local LLMs: one OpenAI-compatible endpoint over a box's engines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Check, show and describe the config.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file.")]
PortOption = Annotated[
    int | None, typer.Option("--port", "-p", help="Which Roundhouse, when several run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]


@app.command()
def serve(
    config: ConfigOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Serve this model (hub id, folder, embedded:smollm2)."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port to listen on.")] = None,
) -> None:
    """Bring up the endpoint and stay in the foreground."""
    from cli.serve import serve as run

    run(config, tuple(model or ()), host, port)


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="Name of a served model, or a source to serve.")],
    prompt: Annotated[list[str] | None, typer.Argument(help="One question; else a chat.")] = None,
    port: PortOption = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is deterministic.")] = None,
) -> None:
    """Chat with a model in the terminal; starts it when nothing serves it yet."""
    from cli.chat import Settings, chat

    chat(model, " ".join(prompt or ()), port, Settings(system, max_tokens, temperature))


@app.command("list")
def list_models(
    available: Annotated[
        bool, typer.Option("--available", help="What this disk has, served or not.")
    ] = False,
    config: ConfigOption = None,
    port: PortOption = None,
    json: JsonOption = False,
) -> None:
    """The models that the endpoint serves; with --available those on this disk."""
    if available:
        from cli.available import available as show_available

        show_available(config, json)
        return
    from cli.listing import list_models as show

    show(port, json)


@app.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="Hub id, folder, .gguf file, name of the config.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """What a model is and is good for, and where each of that was read."""
    from cli.show import show

    show(model, config, json)


@app.command()
def pull(
    model: Annotated[
        str, typer.Argument(help="owner/name, with @revision, with :file.gguf or :Q4_K_M.")
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Fetch a model into the hub's cache; goes on where an earlier pull was cut off."""
    from cli.pull import pull as fetch

    fetch(model, config, json)


@app.command()
def rm(
    model: Annotated[str, typer.Argument(help="As `list --available` names it.")],
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a model that was fetched, and say what that frees."""
    from cli.rm import rm as remove

    raise typer.Exit(remove(model, config, yes, json))


@app.command("load")
def load_model(
    model: Annotated[str, typer.Argument(help="As `list` names it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Until it is ready, or has failed.")] = False,
    keep_alive: Annotated[
        str | None, typer.Option("--keep-alive", help='This once: "10m", seconds, -1 for ever.')
    ] = None,
    port: PortOption = None,
    json: JsonOption = False,
) -> None:
    """Load a model now; idle ones make room for it."""
    from cli.life import load

    load(model, port, keep_alive, wait=wait, json=json)


@app.command("unload")
def unload_model(
    model: Annotated[str, typer.Argument(help="As `list` names it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Until its memory is free.")] = False,
    port: PortOption = None,
    json: JsonOption = False,
) -> None:
    """Free a model's memory when its last request is done; the next request loads it again."""
    from cli.life import unload

    unload(model, port, wait=wait, json=json)


@app.command()
def ps(port: PortOption = None, json: JsonOption = False) -> None:
    """Replicas: state, progress, process, load."""
    from cli.listing import ps as show

    show(port, json)


@app.command()
def status(port: PortOption = None, json: JsonOption = False) -> None:
    """Whether Roundhouse runs here, where, and whether it is ready."""
    from cli.listing import status as show

    raise typer.Exit(show(port, json))


@app.command()
def logs(
    model: Annotated[str, typer.Argument(help="Model, replica (model-0) or 'router'.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="From the end.")] = 100,
    port: PortOption = None,
) -> None:
    """What an engine printed, of a running or of the last Roundhouse."""
    from cli.logs import show_logs

    show_logs(model, follow, lines, port)


@app.command()
def stop(port: PortOption = None) -> None:
    """Drain and stop a running Roundhouse."""
    from cli.stop import stop as end

    end(port)


@app.command()
def gpus(
    inventory: Annotated[
        Path | None, typer.Option("--inventory", help="A file saved with --json, instead.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """What this box has: GPUs and their memory, links, cores. --json saves it for `plan`."""
    from cli.gpus import gpus as show

    show(json, inventory)


@app.command()
def plan(
    model: Annotated[
        list[str] | None, typer.Argument(help="Hub ids, folders, files; else the config's.")
    ] = None,
    config: ConfigOption = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", help='Plan for such cards instead: "RTX 4090:2"; may be repeated.'),
    ] = None,
    inventory: Annotated[
        Path | None, typer.Option("--inventory", help="Plan for the box of `gpus --json`.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Each term and its source.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with a bar a GPU.")
    ] = None,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="How many users, which card.")
    ] = False,
    users: Annotated[int, typer.Option(min=1, help="With --capacity: at once.")] = 10,
    input_tokens: Annotated[int, typer.Option(min=1, help="Of a request.")] = 1024,
    output_tokens: Annotated[int, typer.Option(min=1, help="Of its answer.")] = 256,
    case: Annotated[
        str | None, typer.Option("--case", help="JSON lines of single cases; - for stdin.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """What would run where, and why: GPUs, TP, PP, replicas, context, KV cache."""
    if case:
        from cli.case import run as answer

        raise typer.Exit(answer(case))
    from cli.plan import Question
    from cli.plan import plan as show
    from placement.plan.speed import Workload

    question = Question(
        models=tuple(model or ()),
        config=config,
        gpus=tuple(gpu or ()),
        inventory=inventory,
        users=users if capacity else None,
        workload=Workload(input_tokens, output_tokens),
    )
    raise typer.Exit(show(question, explained=explain, json=json, html=html))


@app.command()
def route(
    prompt: Annotated[list[str] | None, typer.Argument(help="What a client would say.")] = None,
    config: ConfigOption = None,
    port: PortOption = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Another Roundhouse; its key is read from ROUNDHOUSE_API_KEY."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="By the config alone, whatever runs.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="The score of each model at each task.")
    ] = False,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", help='By the config: lines of {"id", "text"}; - for stdin.'),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="An ensemble: what it would do, and its price at the most."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="With --model: of one answer.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Which model `auto` would choose for a prompt, and why; asks what runs, else the config."""
    from cli.source import Source

    source = Source(config, port, url, offline)
    if model:
        from cli.route_ensemble import route_ensemble

        said = " ".join(prompt or ())
        route_ensemble(said, model, source, max_tokens=max_tokens, as_json=json)
        return
    if table:
        from cli.route_table import table as show_table

        show_table(source, as_json=json)
        return
    from cli.route import route as show
    from cli.route import route_lines

    if jsonl:
        raise typer.Exit(route_lines(jsonl, config))
    show(" ".join(prompt or ()), source, as_json=json)


@app.command()
def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="OpenAI's batch format, or a list of prompts.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="JSON lines; gone on with where it is there.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Of a plain list; default: auto.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of a plain list: longest answer.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests at once; default: what the server takes.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(help="For one request with its retries, and for a server that is away.")
    ] = "10m",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed in earlier runs.")
    ] = False,
    port: PortOption = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Another endpoint; its key is read from ROUNDHOUSE_API_KEY."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer a file of requests; run again, it goes on where it was stopped."""
    from cli.batch.run import Wish, seconds
    from cli.batch.run import batch as answer

    timeout_s = seconds(timeout)
    wish = Wish(source, out, model, max_tokens, concurrency, timeout_s, port, url, retry_failed)
    raise typer.Exit(answer(wish, as_json=json))


@app.command()
def doctor(json: JsonOption = False) -> None:
    """What is wrong with this box, and the fix."""
    from cli.doctor import doctor as examine

    raise typer.Exit(examine(json))


@app.command()
def version(json: JsonOption = False) -> None:
    """Versions of Roundhouse and of what it rests on."""
    from cli.listing import version as show

    show(json)


@config_app.command("validate")
def config_validate(config: Annotated[Path, typer.Argument(help="YAML file.")]) -> None:
    """Check a file without starting anything."""
    from cli.config import validate

    validate(config)


@config_app.command("apply")
def config_apply(
    config: Annotated[Path | None, typer.Argument(help="Default: what `serve` reads.")] = None,
    port: PortOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Give a running server another config; only models that differ are touched."""
    from cli.apply import apply

    apply(config, port, dry_run=dry_run, as_json=json)


@config_app.command("show")
def config_show(config: ConfigOption = None, json: JsonOption = False) -> None:
    """The config as it would be used: file, environment and defaults; keys are hidden."""
    from cli.config import show

    show(config, json)


@config_app.command("schema")
def config_schema() -> None:
    """JSON schema of the config, for editors."""
    from cli.config import schema

    schema()


def main() -> None:
    """Errors of the tree become one message and an exit code; no traceback."""
    try:
        app()
    except RoundhouseError as error:
        print(f"roundhouse: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
