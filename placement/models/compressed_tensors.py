"""compressed-tensors: groups of modules, each with a scheme of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.models.facts import Quantization, Scheme
from placement.models.schemes import INT8, MXFP4, MXFP8, NVFP4, flat, made

Config = Mapping[str, Any]


def compressed(section: Config, method: str) -> Quantization:
    """compressed-tensors: groups of modules, each with a scheme of its own."""
    groups = [g for g in (section.get("config_groups") or {}).values() if isinstance(g, Mapping)]
    rules: list[tuple[str, Scheme | None]] = []
    for group in groups:
        scheme = _group_scheme(group, section)
        rules += [(str(target), scheme) for target in group.get("targets") or ["Linear"]]
    whole = next((scheme for target, scheme in rules if target == "Linear"), None)
    named_rules = tuple(rule for rule in rules if rule[0] != "Linear")
    fallback = next((scheme for _, scheme in rules if scheme), INT8)
    skipped = tuple(flat(section.get("ignore")))
    if whole is None and named_rules:
        skipped = (*skipped, "*")  # only what a rule names is quantized
    lm_head = any("lm_head" in target for target, _ in named_rules)
    return made(
        method, whole or fallback, unquantized=skipped, lm_head=lm_head, overrides=named_rules
    )


def _group_scheme(group: Config, section: Config) -> Scheme | None:
    weights = group.get("weights")
    if not isinstance(weights, Mapping):
        return None
    form = str(group.get("format") or section.get("format") or "")
    bits = float(weights.get("num_bits") or 8)
    if "mxfp4" in form or (bits == 4 and weights.get("scale_dtype") == "torch.uint8"):
        return MXFP4
    if "nvfp4" in form or (bits == 4 and weights.get("type") == "float"):
        return NVFP4
    if "mxfp8" in form:
        return MXFP8
    return _plain_group(weights, bits)


def _plain_group(weights: Config, bits: float) -> Scheme:
    strategy = weights.get("strategy") or ("group" if weights.get("group_size") else "tensor")
    block = weights.get("block_structure")
    if strategy == "block" and isinstance(block, list | tuple):
        return Scheme(bits, group=int(block[1]), block_rows=int(block[0]))
    if strategy == "group":
        zero = 0.0 if weights.get("symmetric", True) else bits
        group = int(weights.get("group_size") or 128)
        return Scheme(bits, group=max(0, group), scale_bytes=2, zero_bits=zero)
    return Scheme(bits, block_rows=0 if strategy == "tensor" else 1)
