"""A small server that answers as the Hugging Face hub does of models that are gated, missing, pickled, or run code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40
CONFIGS = {
    "org/pickled": {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1},
    "org/coded": {"model_type": "its_own", "auto_map": {"AutoConfig": "own.OwnConfig"}},
    "org/unknown": {"model_type": "of_next_year"},
}
REFUSED = {"org/gated": (403, "GatedRepo"), "org/gated-anonymous": (401, "GatedRepo")}


class Hub(BaseHTTPRequestHandler):
    """``/<repository>/resolve/<revision>/<file>`` and ``/api/models/<repository>``, nothing else."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/models").strip("/")
        repository, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
        if repository in REFUSED:
            return self._say(*REFUSED[repository])
        if repository not in CONFIGS:
            return self._say(401, "RepoNotFound")
        if self.path.startswith("/api/"):
            facts = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": []}
            return self._say(200, body=[] if "tree" in rest else facts)
        if rest[-1] == "config.json":
            return self._say(200, body=CONFIGS[repository])
        return self._say(404, "EntryNotFound")

    def _say(self, code: int, error: str = "", body: object = None) -> None:
        text = json.dumps(body).encode() if body is not None else b""
        self.send_response(code)
        for name, value in {"X-Error-Code": error, "X-Repo-Commit": COMMIT, "ETag": '"e"'}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """The server's address, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
