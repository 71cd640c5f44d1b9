"""Writes router/classify/learned.tsv: `make train-classifier`. Needs scikit-learn.

Trains on prompts that were written for this project (benchmarks/data/routing_training.jsonl) and
on nothing else. First every source is left out once and asked about with what the others taught:
that is how the table will do on prompts that it has not seen.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from benchmarks.routing_set import CHAT, TRAINING, Prompt, load
from router.classify import TASKS, Conversation, Rules, read
from router.classify.classifier import classify
from router.classify.learned import SCALE, TABLE, Table, length_of, pieces_of, table_of, unpacked
from router.classify.learned import read as read_table
from router.classify.rules import PATTERNS_FILE
from router.classify.rules import load as load_rules
from router.classify.view import view_of

_LEAST_PROMPTS = 2  # a piece of one prompt tells of that prompt
_STRENGTH = 30.0  # of the fit, against regularisation
_LEAST_WEIGHT = 3.0  # of a piece's largest; the rest is left out of the table
_GROUP = 250  # verdicts of like lead, whose share of right ones is a point of the calibration
_HEAD = "# piece\trarity\t" + "\t".join(TASKS) + "\t(hundredths; see router/classify/learned.py)"


@dataclass(frozen=True)
class Example:
    prompt: Prompt
    conversation: Conversation
    pieces: set[str]


def examples_of(prompts: Iterable[Prompt], rules: Rules) -> list[Example]:
    found = []
    for prompt in prompts:
        said = read(CHAT, prompt.body())
        if said is not None and not said.before:  # a follow-up's words are not its task's
            found.append(Example(prompt, said, pieces_of(view_of(said.text, said, rules.slips))))
    return found


def fitted(examples: Sequence[Example]) -> Table:
    """Fits, leaves out the pieces that say little, and fits again without them."""
    seen = Counter(piece for example in examples for piece in example.pieces)
    known = sorted(piece for piece, n in seen.items() if n >= _LEAST_PROMPTS)
    rarity = {piece: math.log(len(examples) / seen[piece]) + 1 for piece in known}
    first = _fit(examples, rarity)
    telling = {
        piece: rarity[piece]
        for piece, row in first.pieces.items()
        if max(map(abs, unpacked(row)[1:])) >= _LEAST_WEIGHT
    }
    return _fit(examples, telling)


def _fit(examples: Sequence[Example], rarity: dict[str, float]) -> Table:
    columns = {piece: at for at, piece in enumerate(rarity)}
    labels = [TASKS.index(example.prompt.task) for example in examples]
    model = LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-3, class_weight="balanced")
    model.fit(_matrix(examples, columns, rarity), labels)
    weights = model.coef_.T
    pieces = {
        piece: (rare, *(rare * weights[at]))
        for (piece, rare), at in zip(rarity.items(), columns.values(), strict=True)
    }
    return table_of(model.intercept_, pieces)


def _matrix(
    examples: Sequence[Example], columns: dict[str, int], rarity: dict[str, float]
) -> csr_matrix:
    rows, at, values = [], [], []
    for number, example in enumerate(examples):
        met = [piece for piece in example.pieces if piece in columns]
        norm = length_of(round(SCALE * rarity[piece]) for piece in met) / SCALE
        rows += [number] * len(met)
        at += [columns[piece] for piece in met]
        values += [rarity[piece] / norm for piece in met]
    return csr_matrix((values, (rows, at)), shape=(len(examples), len(columns)))


def write(table: Table, path: Path) -> None:
    lines = [_HEAD, _line("bias:", (0.0, *table.bias))]
    lines += [_line(piece, unpacked(row)) for piece, row in sorted(table.pieces.items())]
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)  # whoever reads meanwhile has the old one, whole


def _line(piece: str, row: Sequence[float]) -> str:
    return "\t".join((piece, *(str(round(SCALE * each)) for each in row)))


def asked(examples: Sequence[Example], rules: Rules) -> list[tuple[float, bool]]:
    """(lead over the next task, whether right) of each."""
    found = []
    for example in examples:
        verdict = classify(example.conversation, rules)
        first, second = sorted(verdict.scores.values(), reverse=True)[:2]
        found.append((first - second, verdict.task == example.prompt.task))
    return found


def share_right(verdicts: Sequence[tuple[float, bool]]) -> float:
    return sum(is_right for _, is_right in verdicts) / len(verdicts)


def calibration(verdicts: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """(mean lead, share right) of groups of equal size: the points for patterns.yaml."""
    ranked = sorted(verdicts)
    groups = [ranked[at : at + _GROUP] for at in range(0, len(ranked), _GROUP)]
    return [(sum(lead for lead, _ in g) / len(g), share_right(g)) for g in groups]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=Path, default=TRAINING)
    parser.add_argument("--held-out-only", action="store_true", help="write nothing")
    wanted = parser.parse_args()
    rules = load_rules(PATTERNS_FILE)
    examples = examples_of(load(wanted.set), rules)
    all_verdicts: list[tuple[float, bool]] = []
    for source in sorted({str(example.prompt.source) for example in examples}):
        others = [e for e in examples if e.prompt.source != source]
        own = [e for e in examples if e.prompt.source == source]
        verdicts = asked(own, replace(rules, learned=fitted(others)))
        all_verdicts += verdicts
        print(
            f"{source}: {len(own)} prompts, patterns alone {share_right(asked(own, rules)):.3f}, "
            f"with what the other sources taught {share_right(verdicts):.3f}",
            flush=True,
        )
    print(f"all: {share_right(all_verdicts):.3f}; [lead, share right]:")
    print(", ".join(f"[{lead:.1f}, {share:.2f}]" for lead, share in calibration(all_verdicts)))
    if not wanted.held_out_only:
        write(fitted(examples), TABLE)
        print(f"{TABLE}: {len(read_table(TABLE).pieces)} pieces of {len(examples)} prompts")


if __name__ == "__main__":
    main()
