"""A model hub over HTTP, as far as its Python client uses one. Run as a program; prints its port.

`python hub.py FOLDER`: FOLDER/owner/name/ holds a repository's files. Beside them `.hub.json` may
set `gated` or `private` (a token that is let in), `commit`, and `faults` by file name:
`cut_after` (bytes, after which the connection breaks) or `status` (of a refusal), `times` of them,
`delay_s` a chunk, and `damaged` (other bytes than those that its checksum is of).

Files of LARGE bytes and more are kept as the hub keeps large files: by checksum, behind a redirect
to another host. Every request is written to FOLDER.log as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 4096
_CHUNK = 256 * 1024
_API = re.compile(r"^/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?$")
_TREE = re.compile(r"^/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)$")
_RESOLVE = re.compile(r"^/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)$")
_LARGE = re.compile(r"^/lfs/(?P<repo>[^/]+/[^/]+)/(?P<sha>[0-9a-f]{64})$")


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / ".hub.json"
        self.settings: dict[str, Any] = (
            json.loads(settings.read_text()) if settings.is_file() else {}
        )

    @property
    def commit(self) -> str:
        return str(self.settings.get("commit", "c" * 40))

    def files(self) -> list[Path]:
        return sorted(
            file for file in self.folder.rglob("*") if file.is_file() and file.name != ".hub.json"
        )

    def refusal(self, token: str) -> tuple[int, str] | None:
        """Whole repositories that are private look as if they were not there."""
        if self.settings.get("private") not in (None, token):
            return 401, "RepoNotFound"
        return None

    def gate(self, token: str) -> tuple[int, str] | None:
        """Of a gated one everything can be listed, and nothing fetched."""
        if self.settings.get("gated") not in (None, token):
            return (403 if token else 401), "GatedRepo"
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    log: Path
    lock = threading.Lock()
    faults: dict[str, int] = {}  # noqa: RUF012  # how often one was due, by file

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        match = _TREE.match(path) or _API.match(path) or _RESOLVE.match(path) or _LARGE.match(path)
        if match is None:
            return self.refuse(404, "")
        repo = Repository(self.root / match["repo"])
        parts = match.groupdict()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path.startswith("/lfs/"):
            return self.large(repo, parts["sha"], with_body=with_body)
        refusal = repo.refusal(token)
        if not repo.folder.is_dir():
            refusal = (401 if not token else 404), "RepoNotFound"
        if refusal is None and parts["revision"] not in (None, "main", repo.commit):
            refusal = 404, "RevisionNotFound"
        if refusal is None and "name" in parts:
            refusal = repo.gate(token)
        if refusal:
            return self.refuse(*refusal)
        if "name" in parts:
            return self.resolve(repo, parts["name"], with_body=with_body)
        told = self.tree(repo) if _TREE.match(path) else self.info(repo, match["repo"])
        return self.send(json.dumps(told).encode(), {}, with_body)

    def info(self, repo: Repository, name: str) -> dict[str, Any]:
        """`blobs=True` asks for sizes; without it the hub leaves them out."""
        siblings: list[dict[str, Any]] = []
        for file in repo.files():
            told: dict[str, Any] = {"rfilename": str(file.relative_to(repo.folder))}
            if "blobs=" in self.path:
                told |= {"size": file.stat().st_size, "blobId": _git_sha(file)}
                if file.stat().st_size >= LARGE:
                    size = file.stat().st_size
                    told["lfs"] = {"sha256": _sha256(file), "size": size, "pointerSize": 134}
            siblings.append(told)
        return {"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings}

    def tree(self, repo: Repository) -> list[dict[str, Any]]:
        """All in one page, with what lies in folders, whether that was asked for or not."""
        rows: list[dict[str, Any]] = []
        for file in repo.files():
            size = file.stat().st_size
            row = {"type": "file", "oid": _git_sha(file), "size": size}
            if size >= LARGE:
                row["lfs"] = {"oid": _sha256(file), "size": size, "pointerSize": 134}
            rows.append(row | {"path": str(file.relative_to(repo.folder))})
        return rows

    def resolve(self, repo: Repository, name: str, *, with_body: bool) -> None:
        file = repo.folder / name
        if not file.is_file():
            return self.refuse(404, "EntryNotFound", commit=repo.commit)
        headers = {"X-Repo-Commit": repo.commit}
        if file.stat().st_size < LARGE:
            headers |= {"ETag": f'"{_git_sha(file)}"'}
            return self.send(file.read_bytes(), headers, with_body)
        sha = _sha256(file)
        headers |= {
            "X-Linked-Etag": f'"{sha}"',
            "X-Linked-Size": str(file.stat().st_size),
            "Location": f"{self.elsewhere()}/lfs/{repo.folder.relative_to(self.root)}/{sha}",
        }
        self.note(302, 0)
        self.send_response(302)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def elsewhere(self) -> str:
        """Another host as far as clients can tell: they must not send it their token."""
        return f"http://localhost:{self.server.server_address[1]}"

    def large(self, repo: Repository, sha: str, *, with_body: bool) -> None:
        file = next(f for f in repo.files() if f.stat().st_size >= LARGE and _sha256(f) == sha)
        fault = repo.settings.get("faults", {}).get(file.name, {})
        if "status" in fault and self.due(fault, file.name):
            return self.refuse(int(fault["status"]), "")
        content = file.read_bytes()
        if fault.get("damaged"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self.send(content, {"ETag": f'"{sha}"'}, with_body, fault, file.name)

    def send(
        self,
        content: bytes,
        headers: dict[str, str],
        with_body: bool,
        fault: dict[str, Any] | None = None,
        name: str = "",
    ) -> None:
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(content)
        if span:
            begin, end = int(span[1]), min(int(span[2] or whole), whole - 1)
            content = content[begin : end + 1]
            headers = headers | {"Content-Range": f"bytes {begin}-{end}/{whole}"}
        self.note(206 if span else 200, len(content) if with_body else 0)
        self.send_response(206 if span else 200)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.body(content, fault or {}, name)

    def body(self, content: bytes, fault: dict[str, Any], name: str) -> None:
        if "cut_after" in fault and self.due(fault, name):
            content = content[: int(fault["cut_after"])]
            self.close_connection = True
        for at in range(0, len(content), _CHUNK):
            self.wfile.write(content[at : at + _CHUNK])
            self.wfile.flush()
            time.sleep(float(fault.get("delay_s", 0)))

    def due(self, fault: dict[str, Any], name: str) -> bool:
        """Whether this time the fault happens; it does `times` times."""
        with self.lock:
            so_far = self.faults.get(name, 0)
            self.faults[name] = so_far + 1
            return so_far < int(fault.get("times", 1))

    def refuse(self, status: int, code: str, commit: str = "") -> None:
        self.note(status, 0)
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def note(self, status: int, n_bytes: int) -> None:
        row = {
            "method": self.command,
            "path": self.path,
            "status": status,
            "range": self.headers.get("Range"),
            "authorized": "Authorization" in self.headers,
            "bytes": n_bytes,
        }
        with self.lock, self.log.open("a") as log:
            log.write(f"{json.dumps(row)}\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git_sha(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def main(root: str) -> None:
    Handler.root = Path(root)
    Handler.log = Path(root).with_suffix(".log")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
