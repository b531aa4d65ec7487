"""The Batch API's endpoints, on top of the misbehaving server: files, batches, and results that come in any order."""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any

from misbehaving_server import Server, completion, send, send_bytes


class BatchServer(Server):
    """Ends a batch after ``polls`` looks at it. ``spoils(custom_id)`` names what happens to a line: "missing",
    "error", "twice", "cut" (no JSON line), "junk" (unusable content), or None. ``ends``: the status batches end in."""

    def __init__(self, *arguments: Any, polls: int = 2, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.polls = polls
        self.ends = "completed"
        self.spoils = lambda name: None
        self.die_after_create = False
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.made_lines: list[str] = []

    async def route(
        self, method: str, path: str, headers: dict[str, str], content: bytes, writer: asyncio.StreamWriter
    ) -> None:
        bare = path.split("?")[0].removeprefix("/v1")
        if (method, bare) == ("POST", "/files"):
            await send(writer, 200, self._upload(headers, content))
        elif (method, bare) == ("POST", "/batches"):
            made = self._create(json.loads(content))
            if self.die_after_create:
                writer.transport.abort()
                raise ConnectionResetError
            await send(writer, 200, made)
        elif (method, bare) == ("GET", "/batches"):
            await send(writer, 200, {"object": "list", "data": list(self.batches.values()), "has_more": False})
        elif method == "GET" and bare.removeprefix("/batches/") in self.batches:
            await send(writer, 200, self._look(bare.removeprefix("/batches/")))
        elif method == "GET" and bare.startswith("/files/"):
            await send_bytes(writer, 200, self.files[bare.split("/")[2]])
        else:
            await super().route(method, path, headers, content, writer)

    def _upload(self, headers: dict[str, str], content: bytes) -> dict[str, Any]:
        boundary = b"--" + re.search(r"boundary=(\S+)", headers["content-type"])[1].encode()
        parts = [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in content.split(boundary)]
        (data,) = [body for head, _, body in parts if b"filename=" in head]
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return {"id": name, "object": "file", "bytes": len(data), "created_at": 1, "filename": "x", "purpose": "batch"}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "status": "in_progress",
            "created_at": 1,
            "metadata": asked["metadata"],
            "looks": 0,
        }
        self.batches[made["id"]] = made
        return made

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        batch["looks"] += 1
        if batch["looks"] == self.polls:
            batch["status"] = self.ends
            good, bad = self._work(self.files[batch["input_file_id"]])
            self.files |= {f"out-{name}": good, f"err-{name}": bad}
            batch |= {"output_file_id": f"out-{name}", "error_file_id": f"err-{name}" if bad else None}
        return batch

    def _work(self, content: bytes) -> tuple[bytes, bytes]:
        good, bad = [], []
        for line in map(json.loads, content.decode().split("\n")):
            name, body = line["custom_id"], line["body"]
            spoilt = self.spoils(name)
            if spoilt == "error":
                answer = {"error": {"message": "context too long"}}
                bad.append(json.dumps({"custom_id": name, "response": {"status_code": 400, "body": answer}}))
            if spoilt in ("error", "missing"):
                continue
            self.made_lines.append(name)
            self.bodies.append(body)
            made = completion(body, "?" if spoilt == "junk" else self.answer(body), "stop", None)
            self.tokens += made["usage"]["total_tokens"]
            line = {"id": "1", "custom_id": name, "response": {"status_code": 200, "body": made}, "error": None}
            row = json.dumps(line, ensure_ascii=False)
            good += [row[: len(row) // 2]] if spoilt == "cut" else [row] * (2 if spoilt == "twice" else 1)
        good.append(json.dumps({"custom_id": "somebody-else", "response": {"status_code": 200, "body": {}}}))
        random.Random(3).shuffle(good)
        return "\n".join(good).encode(), "\n".join(bad).encode()
