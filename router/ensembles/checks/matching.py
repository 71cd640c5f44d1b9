"""Patterns and schemas that came with a request can be made to take for ever, and Python cannot
stop in the middle of one: so this script tries them, started by `child`, within limits."""

from __future__ import annotations

import json
import re
import resource
import sys
from typing import Any

_REASON_CHARS = 300


def main() -> None:
    question = json.load(sys.stdin)
    for which, key in ((resource.RLIMIT_CPU, "cpu_s"), (resource.RLIMIT_AS, "memory_bytes")):
        most = question["limits"][key]
        resource.setrlimit(which, (most, most))
    try:
        error = _mismatch(question)
    except (RecursionError, MemoryError) as raised:
        error = f"cannot be checked: {type(raised).__name__}"
    json.dump({"error": error and error[:_REASON_CHARS]}, sys.stdout)


def _mismatch(question: dict[str, Any]) -> str | None:
    if "regex" in question:
        found = re.search(question["regex"], question["text"])
        return None if found else "the pattern is not found in it"
    return _invalid(question["json_schema"], question["value"])


def _invalid(schema: dict[str, Any], value: Any) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # A registry of its own, empty: the default one fetches what a schema refers to.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unknown:
        return f"its schema refers to what is not in it: {unknown.ref}"
    return None if error is None else f"{error.json_path}: {error.message}"


if __name__ == "__main__":
    main()
