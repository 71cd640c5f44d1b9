"""How right the classifier is about a prompt's task, on our labelled prompts or on others.

`--set FILE.jsonl ...` takes other sets: fields text (or messages), lang, task and, where known,
source. docs/routing-labels.md says what the labels mean. The exit code is 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import goals
from benchmarks.routing_figures import accuracy, confusion
from benchmarks.routing_measure import Measured, measure, targets
from benchmarks.routing_report import document, show
from benchmarks.routing_set import HELD_OUT, OURS, load_all
from benchmarks.routing_svg import picture
from common.errors import UsageError
from router.classify import TASKS, default_rules


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        _check(args.plot)
        prompts = load_all(args.set)
    except UsageError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    measured = measure(prompts, default_rules())
    name = " and ".join(path.name for path in args.set)
    if args.out:
        _write(args.out, json.dumps(document(measured, name), indent=1) + "\n")
    if args.plot:
        _write(args.plot, _picture(measured))
    show(measured, name)
    missed = (target.name for target in targets(measured) if not target.reached)
    return goals.exit_code(missed, strict=args.strict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument(
        "--set", type=Path, nargs="+", default=[OURS, HELD_OUT], help="other labelled JSONL files"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, help="draw the confusion matrix as an .svg file")
    goals.add_strict(parser)
    return parser


def _check(plot: Path | None) -> None:
    if plot is not None and plot.suffix != ".svg":
        raise UsageError(f"--plot {plot}: the picture is an SVG; name a file that ends in .svg")


def _picture(measured: Measured) -> str:
    share = accuracy(measured.answers)
    title = f"{share.passed} of {share.rows} prompts right ({share.value:.1%})"
    return picture(TASKS, confusion(measured.answers), title)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
