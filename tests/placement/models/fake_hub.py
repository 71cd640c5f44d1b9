"""A hub over HTTP, as far as metadata goes: files by name, ranges of them, and refusals."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RESOLVE = re.compile(r"^/(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<name>.+)$")
_COMMIT = "0" * 40
_REFUSED = {
    "gated/model": (403, "GatedRepo"),
    "private/model": (401, "RepoNotFound"),
    "broken/model": (500, None),
}


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of files under the folder given to `serve`; the log goes to a file beside it."""

    protocol_version = "HTTP/1.1"
    root: Path
    log: Path

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        match = _RESOLVE.match(self.path.partition("?")[0])
        repo = match["repo"] if match else "/".join(self.path.split("/")[3:5])
        if repo in _REFUSED:
            self.refuse(*_REFUSED[repo])
        elif not (self.root / repo).is_dir():
            self.refuse(404, "RepoNotFound")
        elif match is None:
            self.send(json.dumps({"id": repo, "siblings": []}).encode(), with_body=with_body)
        elif not (self.root / repo / match["name"]).is_file():
            self.refuse(404, "EntryNotFound")
        else:
            self.send((self.root / repo / match["name"]).read_bytes(), with_body=with_body)

    def send(self, content: bytes, *, with_body: bool) -> None:
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(content)
        if span:
            begin, end = int(span[1]), min(int(span[2] or whole), whole - 1)
            content = content[begin : end + 1]
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {begin}-{end}/{whole}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", _COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with self.log.open("a") as log:
            log.write(f"{self.command} {self.path} {len(content) if with_body else 0}\n")
        if with_body:
            self.wfile.write(content)

    def refuse(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


def main(root: str) -> None:
    Handler.root = Path(root)
    Handler.log = Path(root).with_suffix(".log")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
