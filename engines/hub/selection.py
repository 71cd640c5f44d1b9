"""Which files of a repository an engine needs: one form of the weights, and what describes them.

Pure: names and sizes in, names and sizes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from common.errors import UsageError
from common.units import format_bytes

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")
# F16, BF16, Q4_0, Q4_K_M, IQ2_XXS, TQ1_0, MXFP4, with UD- where a publisher made it by layer.
_QUANT = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|BF16|F16|F32|MXFP4\w*))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_DESCRIBING = {".json", ".txt", ".model", ".jinja", ".py", ".tiktoken"}
_CARDS = re.compile(r"(README\.md|LICEN[CS]E.*|NOTICE.*|USE_POLICY\.md)$", re.IGNORECASE)
# Other forms of the same model, and the same weights as their authors' own code reads them.
_OTHER_FORMS = {"original", "onnx", "openvino", "coreml", "metal", "gguf", "mlx"}
_PROJECTOR = "mmproj"


@dataclass(frozen=True)
class RemoteFile:
    """`sha256` is known of what the hub keeps as large files."""

    path: str
    n_bytes: int
    sha256: str | None = None

    @property
    def name(self) -> PurePosixPath:
        return PurePosixPath(self.path)

    @property
    def quant(self) -> str | None:
        """The last such word of a GGUF file's name, or else of its folder."""
        for text in (_SPLIT.sub("", self.name.stem), self.name.parent.name):
            if found := _QUANT.findall(text):
                return str(found[-1]).upper()
        return None


def select(files: Sequence[RemoteFile], wanted: str | None = None) -> tuple[RemoteFile, ...]:
    """Weights and what goes with them. Raises UsageError where that is not clear."""
    ggufs = [file for file in files if file.name.suffix == ".gguf"]
    if wanted:
        return (*_wanted(ggufs, wanted), *_cards(files))
    weights = _safetensors(files)
    if not weights and ggufs:
        return (*_only(ggufs), *_cards(files))
    weights = weights or [file for file in files if _is_pytorch(file)]
    if not weights:
        raise UsageError(
            "it holds no weights that an engine here reads (safetensors, GGUF or pytorch_model.bin)"
        )
    return (*weights, *(file for file in files if _describes(file)), *_cards(files))


def weights_of(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    return [file for file in files if file.name.suffix in {".safetensors", ".gguf", ".bin"}]


def _safetensors(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Those beside config.json; Mistral's `consolidated` ones only where there are no others."""
    found = [f for f in files if f.name.suffix == ".safetensors" and len(f.name.parts) == 1]
    usual = [file for file in found if not file.path.startswith("consolidated")]
    return usual or found


def _is_pytorch(file: RemoteFile) -> bool:
    return file.path.startswith("pytorch_model") and file.name.suffix == ".bin"


def _describes(file: RemoteFile) -> bool:
    named = file.name.suffix in _DESCRIBING or file.path.startswith(("tokenizer", "tekken"))
    if not named or _OTHER_FORMS & set(file.name.parts[:-1]):
        return False
    return not (file.path.endswith(".bin.index.json") or _CARDS.fullmatch(file.path))


def _cards(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    return [file for file in files if _CARDS.fullmatch(file.path)]


def _only(ggufs: Sequence[RemoteFile]) -> list[RemoteFile]:
    models = variants(file for file in ggufs if _PROJECTOR not in file.path)
    if len(models) != 1:
        raise UsageError(f"it holds several GGUF files; name one after a colon:\n{_listed(models)}")
    return next(iter(models.values()))


def _wanted(ggufs: Sequence[RemoteFile], wanted: str) -> list[RemoteFile]:
    """All parts of the file that is named, or of the only one of that quantization."""
    found = variants(ggufs)
    for variant, parts in found.items():
        if wanted in {variant, PurePosixPath(variant).name, *(part.path for part in parts)}:
            return parts
    same = {
        variant: parts
        for variant, parts in found.items()
        if parts[0].quant == wanted.upper() and _PROJECTOR not in variant
    }
    if len(same) == 1:
        return next(iter(same.values()))
    if same:
        raise UsageError(f"several of its files are {wanted}; name one:\n{_listed(same)}")
    told = f"there are:\n{_listed(found)}" if found else "it holds no GGUF file at all"
    raise UsageError(f"it has no GGUF file or quantization {wanted!r}; {told}")


def variants(ggufs: Iterable[RemoteFile]) -> dict[str, list[RemoteFile]]:
    """A large model is split into parts, which are one file to whoever names it."""
    found: dict[str, list[RemoteFile]] = {}
    for file in sorted(ggufs, key=lambda each: each.path):
        stem = _SPLIT.sub("", file.name.stem)
        found.setdefault(str(file.name.with_name(f"{stem}.gguf")), []).append(file)
    return found


def _listed(models: dict[str, list[RemoteFile]]) -> str:
    return "\n".join(
        f"  {variant} ({format_bytes(sum(part.n_bytes for part in parts))})"
        for variant, parts in models.items()
    )
