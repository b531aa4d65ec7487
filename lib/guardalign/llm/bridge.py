"""Asynchronous work for synchronous callers, in a thread of its own: notebooks already run an event loop in theirs."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any, TypeVar

T = TypeVar("T")
WAITING = 256


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def iterate(stream: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of ``stream()`` as they come. Leaving the loop early, or Ctrl-C, cancels what is still running."""
    items: queue.Queue[Any] = queue.Queue(WAITING)
    loop = asyncio.new_event_loop()
    pump = loop.create_task(_pump(stream, items))
    thread = threading.Thread(target=_run, args=(loop, pump, items), name="llm", daemon=True)
    thread.start()
    try:
        while not isinstance(item := items.get(), _End):
            yield item
    finally:
        _leave(loop, pump, thread, items)
    if item.error is not None:
        raise item.error


async def _pump(stream: Callable[[], AsyncGenerator[T, None]], items: queue.Queue[Any]) -> None:
    async with aclosing(stream()) as source:
        async for item in source:
            while items.full():
                await asyncio.sleep(0.005)
            items.put_nowait(item)


def _run(loop: asyncio.AbstractEventLoop, pump: asyncio.Task[None], items: queue.Queue[Any]) -> None:
    end = _End()
    try:
        loop.run_until_complete(pump)
    except asyncio.CancelledError:
        end = _End()
    except BaseException as error:
        end = _End(error)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        items.put(end)


def _leave(
    loop: asyncio.AbstractEventLoop, pump: asyncio.Task[None], thread: threading.Thread, items: queue.Queue[Any]
) -> None:
    with suppress(RuntimeError):  # the loop has ended and closed by itself
        loop.call_soon_threadsafe(pump.cancel)
    while thread.is_alive():
        with suppress(queue.Empty):
            items.get_nowait()  # so that the last item finds room
        thread.join(0.01)
