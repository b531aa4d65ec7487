"""When the next call may leave: the account's rate limits, and pauses the server asked for."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = 600.0


class Pacer:
    """Spaces calls evenly so that neither limit is passed; a pause holds all calls, for limits are the account's."""

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock = clock
        self._next_request = self._next_tokens = self._paused_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a call of ``tokens`` may leave."""
        now = self._clock()
        start = max(now, self._next_request, self._next_tokens)
        self._next_request = start + self._seconds_per_request
        self._next_tokens = start + tokens * self._seconds_per_token
        if start > now:
            await asyncio.sleep(start - now)
        while (pause := self._paused_until - self._clock()) > 0:
            await asyncio.sleep(pause)

    def pause(self, seconds: float) -> None:
        """Let no call leave for ``seconds``."""
        self._paused_until = max(self._paused_until, self._clock() + min(seconds, LONGEST_PAUSE))


def backoff(fault: int, first: float, most: float) -> float:
    """Seconds before try number ``fault`` + 2: exponential with full jitter, never under half of ``first``."""
    return max(first / 2, random.uniform(0, min(most, first * 2**fault)))


def retry_after(headers: dict[str, str]) -> float | None:
    """The seconds that a server's ``retry-after-ms`` or ``Retry-After`` (seconds or a date) asks to wait, if any."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None or (seconds := _number(value)) is not None:
        return seconds if value else None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is None or 0 <= number < float("inf") else None
