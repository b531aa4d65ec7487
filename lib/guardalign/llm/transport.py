"""One call to the server, sent until it is answered: time-outs, faults, back-off, limits, and the books of each try."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import ssl
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import certifi

from guardalign.llm.budget import Budget, BudgetReached, Ledger, Price, Spent
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.pacing import Pacer, backoff, retry_after
from guardalign.llm.request import Usage
from guardalign.llm.store import Delivered

# The openai package takes a second to import and every notebook imports this one: whoever calls a server waits for it.
if TYPE_CHECKING:
    import openai

HOPELESS = {401: "the key is not accepted", 403: "access is denied", 404: "no such model or address"}
PASSING = (408, 409, 425, 429)
DEAD_AFTER = 10
"""So many requests in a row that used up all their tries: the endpoint has stopped answering."""


class NoReply(Exception):
    """This request got no reply, for a reason of its own; the message begins with the kind."""


class Fault(Exception):
    """One try failed in a way that passes. ``pause`` is what the server asked for, in seconds."""

    def __init__(self, kind: str, pause: float | None = None) -> None:
        super().__init__(kind)
        self.pause = pause


class Purse:
    """Lets calls leave only while their worst case fits the budget, and keeps the ledger."""

    def __init__(self, budget: Budget, ledger: Ledger) -> None:
        self.budget = budget
        self.ledger = ledger
        self._run = os.urandom(6).hex()
        self._numbers = itertools.count()
        self._flying = 0
        self._settled = asyncio.Condition()

    async def reserve(self, most: Spent) -> str:
        """Enter a call that may cost ``most``. Raises BudgetReached if it cannot fit when all others have ended."""
        async with self._settled:
            while not self.budget.allows(self.ledger.most + most):
                if self._flying == 0:
                    raise BudgetReached(self._message())
                await self._settled.wait()
            self._flying += 1
        call = f"{self._run}.{next(self._numbers)}"
        self.ledger.write("asked", call, most)
        return call

    async def close(self, call: str, spent: Spent) -> None:
        """End a call that this or an earlier run entered."""
        self.ledger.write("paid" if spent.tokens or spent.cost else "free", call, spent)
        async with self._settled:
            self._flying = max(0, self._flying - 1)
            self._settled.notify_all()

    async def settle(self, call: str, spent: Spent | None) -> None:
        """End a call: it cost ``spent``; None where that is not known."""
        if spent is not None:
            self.ledger.write("paid" if spent.tokens or spent.cost else "free", call, spent)
        async with self._settled:
            self._flying -= 1
            self._settled.notify_all()

    def _message(self) -> str:
        known, lost = self.ledger.known, self.ledger.open_calls
        more = f", and {lost} calls without a known end may have cost ${self.ledger.uncertain.cost:.4f} more"
        return (
            f"The next call could pass the budget of {self.budget}: ${known.cost:.4f} and {known.tokens} tokens are "
            f"spent{more if lost else ''}. What was paid is stored; raise `max_cost` or `max_total_tokens` to go on."
        )


class Transport:
    """The connection to one endpoint, for one event loop. Use as an asynchronous context manager."""

    def __init__(self, endpoint: Endpoint, purse: Purse, price: Price | None, faults: Counter[str]) -> None:
        self.endpoint = endpoint
        self.purse = purse
        self.faults = faults
        self.stopping = False
        self.client = connect(endpoint)
        self._key = endpoint.key()
        self._price = price
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._pacer = Pacer(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._given_up = 0

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def send(self, body: str, name: str, size: int) -> Delivered:
        """The reply to ``body``, which is JSON.

        ``name`` tells the server which calls are the same one sent again (Idempotency-Key); ``size`` is the messages'
        length in bytes, the most tokens they can be. Raises NoReply, EndpointError, BudgetReached.
        """
        for tries in itertools.count():
            try:
                async with self._slots:
                    reply = await self._in_turn(body, name, size)
            except Fault as fault:
                self.faults[str(fault)] += 1
                if tries >= self.endpoint.retries or self.stopping:
                    self._count_failure(fault)
                    raise NoReply(f"no reply: {fault}, {tries + 1} tries") from None
                await self._rest(fault, tries)
            else:
                self._given_up = 0
                return reply
        raise AssertionError("unreachable")

    async def _in_turn(self, body: str, name: str, size: int) -> Delivered:
        await self._pacer.turn(size // 4)
        if self.stopping:
            raise EndpointError("no new calls: an earlier one has ended the run")
        try:
            return await self._try(body, name, size)
        except (BudgetReached, EndpointError):
            self.stopping = True
            raise

    async def _rest(self, fault: Fault, tries: int) -> None:
        if fault.pause is not None:
            self._pacer.pause(fault.pause)
        else:
            await asyncio.sleep(backoff(tries, self.endpoint.backoff_seconds, self.endpoint.backoff_max_seconds))

    def _count_failure(self, fault: Fault) -> None:
        self._given_up += 1
        if self._given_up >= DEAD_AFTER:
            self.stopping = True
            raise EndpointError(
                f"{self.endpoint.base_url} has stopped answering: {self._given_up} requests in a row used up their "
                f"tries, the last with {fault}. Everything paid for is stored; run again when the server is back."
            )

    async def _try(self, body: str, name: str, size: int) -> Delivered:
        import openai

        most = self.most(size)
        call = await self.purse.reserve(most)
        spent: Spent | None = None
        try:
            reply = await self._post(body, name)
            spent = Spent(reply.usage.total, reply.cost or 0.0) if reply.usage.total else most
            return reply
        except openai.APIStatusError as error:
            spent = Spent()
            raise self._refusal(error) from None
        except (openai.APIConnectionError, TimeoutError) as error:
            raise Fault("time-out" if _ran_out(error) else "connection lost") from None
        finally:
            await self.purse.settle(call, spent)

    async def _post(self, body: str, name: str) -> Delivered:
        # Azure's client looks for the model in the body, so it needs it as an object.
        sent = json.loads(body) if self.endpoint.api_version else body.encode("utf-8", "replace")
        try:
            async with asyncio.timeout(self.endpoint.total_seconds):
                data = await self.client.post(
                    "/chat/completions", body=sent, cast_to=object, options={"headers": {"Idempotency-Key": name}}
                )
            return self.read(data)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise Fault("unreadable response") from None

    def read(self, data: Any) -> Delivered:
        """A chat completion as JSON → what was delivered. Raises KeyError and its like where it is none."""
        choice = data["choices"][0]
        message, used = choice["message"], data.get("usage") or {}
        details = used.get("prompt_tokens_details") or {}
        usage = Usage(
            int(used.get("prompt_tokens") or 0),
            int(details.get("cached_tokens") or 0),
            int(used.get("completion_tokens") or 0),
        )
        content, refusal = message.get("content") or "", message.get("refusal")
        return Delivered(
            text=self.hide(str(content)),
            finish=str(choice.get("finish_reason") or "stop"),
            refusal=self.hide(str(refusal)) if refusal else None,
            usage=usage,
            cost=self._price.of(usage) if self._price else None,
        )

    def hide(self, text: str) -> str:
        """``text`` as proper Unicode and without the key, whatever the server put into it."""
        proper = text.encode("utf-8", "replace").decode()
        return proper.replace(self._key, "[key]") if len(self._key) > 6 else proper

    def most(self, size: int, calls: int = 1) -> Spent:
        """The most that ``calls`` with ``size`` bytes of messages in all can cost."""
        usage = Usage(size, 0, calls * self.endpoint.max_tokens)
        return Spent(usage.total, self._price.of(usage) if self._price else 0.0)

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, said = error.status_code, self.hide(str(error.message))[:500]
        spent_up = getattr(error, "code", None) == "insufficient_quota"
        if (status in PASSING or status >= 500) and not spent_up:
            return Fault(str(status), retry_after(dict(error.response.headers)))
        if status in HOPELESS or spent_up:
            why = "the account's quota is used up" if spent_up else HOPELESS[status]
            return EndpointError(
                f"{self.endpoint.base_url}, model {self.endpoint.model}: {why}. The server says: {said}"
            )
        if "response_format" in said:
            return EndpointError(f"The server takes no response_format; set `reply_format: text`. It says: {said}")
        return NoReply(f"refused by the server: {status} {said}")


def _ran_out(error: BaseException | None) -> bool:
    """Whether a time-out is behind ``error``: openai calls a connection that the server closed by that name too."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    return error is not None


def connect(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """The openai package's client, without its own retries: they could not be counted or held back together."""
    import openai

    timeout = openai.Timeout(endpoint.timeout_seconds)
    # aiohttp takes half of httpx's time a call, and looks after many connections without searching them all.
    carrier = openai.DefaultAioHttpClient(verify=certificates(), timeout=timeout)
    key, base = endpoint.key(), endpoint.base_url
    if endpoint.api_version:
        return openai.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=base, api_version=endpoint.api_version, max_retries=0, http_client=carrier
        )
    return openai.AsyncOpenAI(api_key=key, base_url=base, max_retries=0, http_client=carrier)


@cache
def certificates() -> ssl.SSLContext:
    """The certificates that every connection trusts; reading them takes longer than a call, so they are read once."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
