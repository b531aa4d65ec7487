"""Chat completions by the openai SDK, which retries transient errors. Every try is paced, timed and in the ledger."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any

import httpx2
import openai

from guardalign.errors import GuardalignError
from guardalign.llm.budget import Ledger, Price, Spent
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.request import NO_TOKENS, Usage, proper
from guardalign.llm.store import Delivered

PERMANENT = {
    401: "the key is not accepted",
    402: "the account has no credit",
    403: "access is denied",
    404: "no such model or address",
}
PERMANENT_CODES = ("insufficient_quota", "model_not_found")
REFUSED, SILENT = 3, 10
"""So many requests in a row without a reply end the run: refused for a reason that affects all requests, or for any."""
MOST_TOKENS = 10**9
"""Of one reply: larger counts reported by a server are not plausible."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds of the SDK's own back-off before the first retry and at most; it doubles with each."""
UNREADABLE = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)


class NoReply(Exception):
    """This request got no reply, for a reason of its own; the message begins with the kind."""


class _Http(openai.DefaultAsyncHttpxClient):
    """The SDK's HTTP client with ``guard`` around each try."""

    def __init__(self, guard: Callable[..., Awaitable[httpx2.Response]], seconds: float) -> None:
        super().__init__(timeout=openai.Timeout(seconds))
        self._guard = guard

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        return await self._guard(request, partial(super().send, request, **options))


class Transport:
    """The connection to one endpoint, for one event loop. Use as an asynchronous context manager."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger, price: Price | None) -> None:
        self.endpoint = endpoint
        self.ledger = ledger
        self._price = price
        self._next_request = self._next_tokens = 0.0
        self._without_reply = self._replies = 0
        self._stopped: GuardalignError | None = None

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        if "client" in vars(self):
            await self.client.close()

    @cached_property
    def client(self) -> openai.AsyncOpenAI:
        """The SDK's client. Raises EndpointError if there is no key."""
        url, version = self.endpoint.base_url, self.endpoint.api_version
        settings: dict[str, Any] = {
            "api_key": self.endpoint.key(),
            "max_retries": self.endpoint.retries,
            "http_client": _Http(self._try, self.endpoint.timeout_seconds),
        }
        if version:
            return openai.AsyncAzureOpenAI(azure_endpoint=url, api_version=version, **settings)
        return openai.AsyncOpenAI(base_url=url, **settings)

    async def send(self, body: dict[str, Any], name: str) -> Delivered:
        """The reply to ``body``. ``name`` shows the server which calls are the same one (Idempotency-Key).

        Raises NoReply; EndpointError and BudgetReached, which end the run; GuardalignError if the disk is full.
        """
        create = self.client.chat.completions.with_raw_response.create
        try:
            answer = await create(**body, extra_headers={"Idempotency-Key": name})
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APIConnectionError as error:
            raise self._no_reply(f"no reply: {_kind(error.__cause__)}", SILENT) from None
        self._without_reply, self._replies = 0, self._replies + 1
        return answer.http_response.extensions["delivered"]

    async def _try(self, request: httpx2.Request, send: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
        if not request.url.path.endswith("/chat/completions"):
            return await send()
        if self._stopped:
            raise self._stopped
        await self._wait_for_turn(len(request.content) // 4)
        most = self.worst_case(len(request.content))
        try:
            call = await self.ledger.reserve(most)
        except GuardalignError as error:
            self._stopped = error
            raise
        spent: Spent | None = None
        try:
            async with asyncio.timeout(self.endpoint.total_seconds):
                response = await send()
            if response.is_success:
                reply = self.read(json.loads(response.content))
                response.extensions["delivered"] = reply
                spent = reply.spent if reply.usage.total else most
            else:
                spent = Spent()
                # The SDK takes any positive Retry-After for its own back-off, which counts from the tries before.
                tries = int(request.headers.get("x-stainless-retry-count", 0))
                if _asked_to_wait(response.headers) < min(FIRST_WAIT * 2**tries, LONGEST_WAIT):
                    for name in ("retry-after", "retry-after-ms"):
                        response.headers.pop(name, None)
                if "insufficient_quota" in response.text:  # its status is a rate limit's, but waiting does not help
                    response.headers["x-should-retry"] = "false"
            return response
        except TimeoutError:
            raise httpx2.ReadTimeout("no whole reply in time", request=request) from None
        except UNREADABLE:
            raise httpx2.DecodingError("unreadable response", request=request) from None
        finally:
            self.ledger.settle(call, spent)

    async def _wait_for_turn(self, tokens: int) -> None:
        """Wait until a call of ``tokens`` may be sent: calls are spaced evenly, within both rate limits."""
        now = time.monotonic()
        start = max(now, self._next_request, self._next_tokens)
        self._next_request = start + 60 / (self.endpoint.requests_per_minute or math.inf)
        self._next_tokens = start + tokens * 60 / (self.endpoint.tokens_per_minute or math.inf)
        await asyncio.sleep(start - now)

    def read(self, data: Any) -> Delivered:
        """A chat completion as JSON → what was delivered. Raises one of UNREADABLE if it is none."""
        choice = data["choices"][0]
        message, usage = choice["message"], _usage(data.get("usage"))
        content, refusal = message.get("content") or "", message.get("refusal")
        return Delivered(
            text=self.redacted(str(content)),
            finish=str(choice.get("finish_reason") or "stop"),
            refusal=self.redacted(str(refusal)) if refusal else None,
            usage=usage,
            cost=self._price.of(usage) if self._price else None,
        )

    def redacted(self, text: str) -> str:
        """``text`` as proper Unicode and without the key, whatever the server put into it."""
        key = self.endpoint.key()
        return proper(text).replace(key, "[key]") if len(key) > 6 else proper(text)

    def worst_case(self, size: int, calls: int = 1) -> Spent:
        """The most that ``calls`` with bodies of ``size`` bytes in all can cost: no token is shorter than a byte."""
        usage = Usage(size, 0, calls * self.endpoint.max_tokens)
        return Spent(usage.total, self._price.of(usage) if self._price else 0.0)

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, message = error.status_code, self.redacted(str(error.message))[:500]
        cause = PERMANENT.get(status) or (error.code in PERMANENT_CODES and str(error.code).replace("_", " "))
        if cause:
            return self._no_reply(f"refused by the server: {cause}. It says: {message}", REFUSED)
        if status in (408, 409, 429) or status >= 500:
            wait = error.response.headers.get("retry-after")
            return self._no_reply(f"no reply: {message}{f' (Retry-After: {wait[:40]})' if wait else ''}", SILENT)
        if "response_format" in message:
            self._stopped = EndpointError(
                f"The server takes no response_format; set `reply_format: text`. It says: {message}"
            )
            return self._stopped
        # The reason may be specific to the request (too long, filtered) unless no request has ever succeeded.
        return self._no_reply(f"refused by the server: {message}", SILENT if not self._replies else math.inf)

    def _no_reply(self, reason: str, limit: float) -> Exception:
        """NoReply, or what ends the run after ``limit`` requests in a row without a reply."""
        self._without_reply += 1
        if self._without_reply < limit:
            return NoReply(reason)
        self._stopped = EndpointError(
            f"{self.endpoint.base_url}, model {self.endpoint.model}: {self._without_reply} requests in a row got no "
            f"reply; the last: {reason}. Every reply so far is stored; run again to resume."
        )
        return self._stopped


def _asked_to_wait(headers: httpx2.Headers) -> float:
    """The seconds that a response asks to wait (in any of Retry-After's forms); 0 if it asks for none."""
    with suppress(KeyError, ValueError):
        return float(headers["retry-after-ms"]) / 1000
    with suppress(KeyError, ValueError):
        return float(headers["retry-after"])
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    return 0.0


def _kind(error: BaseException | None) -> str:
    """What became of a call without a response."""
    if isinstance(error, httpx2.DecodingError):
        return "unreadable response"
    return "time-out" if isinstance(error, httpx2.TimeoutException) else "connection lost"


def _usage(reported: Any) -> Usage:
    """The usage that a server reports; none if it is not plausible, so that the worst case counts."""
    with suppress(AttributeError, TypeError, ValueError, OverflowError):
        details = reported.get("prompt_tokens_details") or {}
        counts = [reported.get("prompt_tokens"), details.get("cached_tokens"), reported.get("completion_tokens")]
        if all(0 <= (count or 0) < MOST_TOKENS for count in counts):
            return Usage(*(int(count or 0) for count in counts))
    return NO_TOKENS
