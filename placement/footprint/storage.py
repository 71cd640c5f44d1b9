"""Bytes of one tensor as it is stored: plain, or packed with its scales and zero points."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from placement.footprint.settings import Settings
from placement.footprint.tensors import Tensor
from placement.models.facts import ModelFacts, Quantization, Scheme
from placement.models.schemes import NONE, named

_ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2, "float": 4, "half": 2}
# From here on vLLM spreads the doubly quantized scales of bitsandbytes out at load.
_BNB_FLAT_SCALES = (0, 9, 0)
_BNB_NESTED = Scheme(4, group=64, scale_bytes=1)
_HOPPER = (9, 0)


@dataclass(frozen=True)
class Padding:
    """Multiples that an expert's intermediate size and hidden size are padded to.

    `inputs` is what the inner side of either matrix is padded to on top.
    """

    intermediate: int
    hidden: int
    inputs: int = 1

    def pad(self, tensor: Tensor) -> Tensor:
        """w13 gives two intermediate sizes and takes the hidden one; w2 the other way round."""
        up = tensor.name.endswith("gate_proj")
        rows = 2 * _up(tensor.rows // 2, self.intermediate) if up else _up(tensor.rows, self.hidden)
        inner = _up(tensor.columns, self.hidden if up else self.intermediate)
        return replace(tensor, rows=rows, columns=_up(inner, self.inputs))


# vllm/model_executor/layers/fused_moe/oracle/mxfp4.py; Triton's layout for Hopper pads the inputs.
MARLIN = Padding(128, 256)
TRITON = Padding(64, 1, inputs=256)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class Storage:
    """The dtype and the quantization that a start would use.

    `padding` is of MXFP4 experts, whose kernels want multiples of some size.
    """

    itemsize: int
    quantization: Quantization | None
    padding: Padding | None = None

    @property
    def triton_experts(self) -> bool:
        return self.padding == TRITON

    def quantizes(self, tensor: Tensor) -> bool:
        return self._scheme(tensor) is not None

    def sizes(self, tensor: Tensor) -> list[int]:
        """Bytes of each tensor that this one becomes."""
        scheme = self._scheme(tensor)
        if scheme is None:
            return [tensor.params * (tensor.itemsize or self.itemsize)]
        padded = tensor.kind == "experts" and self.padding
        return packed(padded.pad(tensor) if padded else tensor, scheme)

    def _scheme(self, tensor: Tensor) -> Scheme | None:
        if self.quantization is None:
            return None
        return scheme_of(self.quantization, tensor.name, tensor.kind)


def storage_of(
    facts: ModelFacts, settings: Settings, capability: tuple[int, int] | None = None
) -> Storage:
    """Without a GPU's compute capability, a Hopper is assumed."""
    quantization = in_use(facts, settings)
    padding = None
    if quantization and "mxfp4" in quantization.method:
        padding = TRITON if (capability or _HOPPER)[0] == _HOPPER[0] else MARLIN
    return Storage(itemsize_of(facts, settings), quantization, padding)


def itemsize_of(facts: ModelFacts, settings: Settings) -> int:
    """vLLM's "auto" takes the checkpoint's dtype, but halves float32."""
    if settings.dtype in _ITEMSIZE:
        return _ITEMSIZE[settings.dtype]
    return 2


def in_use(facts: ModelFacts, settings: Settings) -> Quantization | None:
    """The checkpoint's quantization, else the one that is asked for at run time."""
    found = facts.quantization
    if found is None and (settings.quantization or "").lower() not in NONE:
        found = named(settings.quantization, hint=facts.name)
    if found and found.method in {"bitsandbytes", "bnb"} and _nested(settings):
        return Quantization(found.method, _BNB_NESTED.bits, found.unquantized, scheme=_BNB_NESTED)
    return found


def _nested(settings: Settings) -> bool:
    version = settings.vllm_version
    return version is not None and version < _BNB_FLAT_SCALES


def packed(tensor: Tensor, scheme: Scheme) -> list[int]:
    """Weights, scales and zero points of a quantized tensor."""
    rows, columns = tensor.rows, tensor.columns
    groups = -(-columns // scheme.group) if scheme.group else 1
    blocks = -(-rows // scheme.block_rows) if scheme.block_rows else 1
    scales = groups * blocks * tensor.copies
    sizes = [
        int(rows * columns * scheme.weight_bits / 8) * tensor.copies,
        scales * scheme.scale_bytes,
    ]
    if scheme.zero_bits:
        sizes.append(int(scales * scheme.zero_bits / 8))
    return sizes


@lru_cache(maxsize=4096)
def scheme_of(quantization: Quantization, name: str, kind: str) -> Scheme | None:
    """How a module is stored; None where it keeps the model's dtype."""
    if kind not in {"linear", "experts", "lm_head"}:
        return None
    if kind == "lm_head" and not quantization.lm_head:
        return None
    if kind == "linear" and quantization.experts_only:
        return None
    for pattern, scheme in quantization.overrides:
        if matches(pattern, name):
            return scheme
    if any(matches(pattern, name) for pattern in quantization.unquantized):
        return None
    if quantization.only and not any(matches(pattern, name) for pattern in quantization.only):
        return None
    return quantization.scheme


def matches(pattern: str, name: str) -> bool:
    """Whether a rule of a quantization config means this module.

    A rule is a name or a part of one, a pattern with stars, or a regular expression after "re:".
    Prefixes before "layers" differ between a file and the engine and are not compared.
    """
    if pattern.startswith("re:"):
        return any(re.match(pattern[3:], each) for each in _aliases(name))
    if "*" in pattern:
        return any(
            fnmatchcase(each, pattern) or fnmatchcase(each, f"{pattern}.*")
            for each in _aliases(name)
        )
    wanted = f".{_tail(pattern)}."
    return any(wanted in f".{each}." for each in _aliases(name))


@lru_cache(maxsize=4096)
def _aliases(name: str) -> tuple[str, ...]:
    """A fused tensor stands for the modules that it was made from."""
    tail = _tail(name)
    forms = [name, tail, f"model.{tail}", f"model.language_model.{tail}", f"language_model.{name}"]
    for one, others in _FUSED.items():
        if name.endswith(one):
            forms += [form.replace(one, other) for form in (name, tail) for other in others]
    return tuple(forms)


_FUSED = {
    "q_proj": ("qkv_proj",),
    "gate_proj": ("gate_up_proj", "up_proj"),
    ".mlp.gate": (".block_sparse_moe.gate", ".mlp.router", ".feed_forward.router"),
}


def _tail(name: str) -> str:
    at = name.find("layers.")
    return name[at:] if at > 0 else name
