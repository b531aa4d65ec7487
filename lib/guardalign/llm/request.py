"""Requests and outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

from guardalign.llm.endpoint import Endpoint


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """One question. ``reply`` is the record the reply must be (None: free text), ``check`` says what is wrong with it.

    ``check`` gets the parsed reply (or the text) and returns a reason ("kind: details") or None.
    ``id`` is the caller's own and no part of the key, so equal questions are asked once. ``prompt`` is the name and
    version of the prompt file.
    """

    id: str
    messages: tuple[Message, ...]
    reply: type[BaseModel] | None = None
    check: Callable[[Any], str | None] | None = None
    prompt: str = ""

    def body(self, endpoint: Endpoint, ask: int = 0) -> dict[str, Any]:
        """The JSON body of the call."""
        messages = [{"role": message.role, "content": proper(message.content)} for message in self.messages]
        body = endpoint.sampling(ask) | {"messages": messages}
        if self.reply and endpoint.reply_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif self.reply and endpoint.reply_format == "json_schema":
            named = {"name": self.reply.__name__, "strict": True, "schema": schema(self.reply)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def record(self, endpoint: Endpoint, ask: int = 0) -> dict[str, Any]:
        """What a store keeps of the call."""
        return {"base_url": endpoint.base_url, "prompt": self.prompt, "body": self.body(endpoint, ask)}

    def key(self, endpoint: Endpoint) -> str:
        """64 hex digits of SHA-256 over everything that could change the reply: endpoint, prompt, messages, schema."""
        parts = {
            "endpoint": endpoint.identity(),
            "prompt": self.prompt,
            "messages": [[message.role, message.content] for message in self.messages],
            "schema": schema(self.reply) if self.reply else None,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def proper(text: str) -> str:
    """``text`` with a question mark for every lone surrogate, which UTF-8 cannot express."""
    return text.encode("utf-8", "replace").decode()


@cache
def schema(reply: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a reply, as strict structured outputs require it: no defaults, no further properties."""
    return reply.model_json_schema()


@dataclass(frozen=True)
class Usage:
    """Tokens of one call: ``cached`` of the prompt's were served from the provider's prompt cache."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


NO_TOKENS = Usage()


@dataclass(frozen=True)
class Outcome:
    """What became of one request: exactly one of ``value`` and ``invalid`` (why not, "kind: details") is set.

    ``finished`` is false if the reply was cut off at the token limit; ``tokens`` is the reply's length. ``calls``,
    ``usage`` and ``cost`` count what this run did for it: nothing if the reply was ``stored``.
    """

    request: Request
    value: Any = None
    invalid: str | None = None
    finished: bool = True
    tokens: int = 0
    stored: bool = False
    calls: int = 0
    usage: Usage = NO_TOKENS
    cost: float = 0.0
