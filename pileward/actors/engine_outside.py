"""The world outside the engine's loop: other threads, and Thespian's blocking calls.

Actors run in one thread, the loop's. Whoever stands in another one is served here: calls are carried over to
the loop's thread, and answers come back through a queue that a thread may wait at. When there was no loop
that runs, the engine has one of its own, in a thread that ends with the process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from thespian.actors import ActorAddress, ActorSystemFailure
from thespian.system import isInternalActorSystemMessage

from pileward.actors.engine_ask import AskError
from pileward.actors.engine_cell import MAILBOX_LIMIT, Cell
from pileward.actors.engine_gates import OutsideGate

if TYPE_CHECKING:
    from pileward.actors.engine import Engine

#: Seconds that the engine's own thread is given to end.
_END_S: Final = 5.0
#: Seconds after which a thread that waits for the loop looks whether the loop still runs.
_LOOK_S: Final = 1.0

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Outside:
    """The loop that an engine runs on, and the ways into its thread."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop | None) -> None:
        self._engine = engine
        self._thread: threading.Thread | None = None
        self._thread_id = threading.get_ident()
        if loop is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run_loop, name="pileward-engine", daemon=True)
        self.loop = loop
        self._is_stopped = False
        self._main: PrivateContext | None = None

    def start(self) -> None:
        """Start the engine's own thread, if it has one."""
        if self._thread is not None:
            started = threading.Event()
            self.loop.call_soon(started.set)
            self._thread.start()
            started.wait()

    def stop(self) -> None:
        """End the engine's own thread, if it has one."""
        self._is_stopped = True
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            if not self.is_here():
                self._thread.join(_END_S)

    def is_here(self) -> bool:
        """Whether the calling thread is the loop's."""
        return threading.get_ident() == self._thread_id

    def call(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call a function in the loop's thread and wait for its result."""
        if self.is_here():
            return function(*args, **kwargs)
        if self._is_stopped:
            raise ActorSystemFailure("the engine was shut down")
        done: concurrent.futures.Future[_R] = concurrent.futures.Future()

        def carry() -> None:
            try:
                done.set_result(function(*args, **kwargs))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(carry)
        while not concurrent.futures.wait([done], timeout=_LOOK_S).done:
            if self._thread is not None and not self._thread.is_alive():
                raise ActorSystemFailure("the engine was shut down")
        return done.result()

    def call_soon(self, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call a function in the loop's thread, some time soon; never, if the engine was shut down."""
        with contextlib.suppress(RuntimeError):  # the loop was closed in this very moment
            if not self._is_stopped:
                self.loop.call_soon_threadsafe(functools.partial(function, *args, **kwargs))

    @property
    def main(self) -> PrivateContext:
        """The end outside of whoever has no private one; made when first used."""
        if self._main is None:
            self._main = PrivateContext(self._engine)
        return self._main

    def clone(self) -> PrivateContext:
        """An end outside for one thread."""
        return PrivateContext(self._engine)

    def tell(self, address: ActorAddress, message: Any) -> None:
        """`Engine.tell` from another thread: answers can be listened for."""
        self.main.tell(address, message)

    def _run_loop(self) -> None:
        self._thread_id = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()


class PrivateContext:
    """An end outside the engine with an inbox of its own, for one thread.

    Thespian calls it a private context.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cell = Cell(engine, 0, PrivateContext, None)
        self._cell.gate = OutsideGate(self._accept)

    def tell(self, address: ActorAddress, message: Any) -> None:
        """Send a message; what is answered waits to be listened for."""
        outside = self._engine.outside
        if outside.is_here():
            self._cell.actor_send(address, message)
        else:
            outside.call_soon(self._hand_in, self._engine.local(address), message)

    def ask(self, address: ActorAddress, message: Any, timeout: timedelta | float | None = None) -> Any:
        """Send a message and wait for the next one that comes; None when none came in time.

        The time, in real seconds, counts from when the loop has taken the message: a thread cannot put more
        into the engine than the engine takes.
        """
        self._refuse_loop_thread()
        self._engine.outside.call(self._hand_in, address, message)
        return self.listen(timeout)

    def listen(self, timeout: timedelta | float | None = None) -> Any:
        """Wait for the next message, in real seconds; None when none came in time."""
        self._refuse_loop_thread()
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                message = self._inbox.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
            if not isInternalActorSystemMessage(message):
                return message

    def newPrimaryActor(self, *args: Any) -> Cell:
        """See `Engine.newPrimaryActor`."""
        return self._engine.newPrimaryActor(*args)

    def external_clone(self) -> PrivateContext:
        """Another such end."""
        return self._engine.external_clone()

    def exit_context(self) -> None:
        """Done: what is still sent here is a dead letter."""
        self._cell.gate = self._engine.gone

    def shutdown(self) -> None:
        """See `Engine.shutdown`."""
        self._engine.shutdown()

    def _hand_in(self, address: ActorAddress, message: Any) -> None:
        self._cell.actor_send(address, message)
        self._engine.run_unless_behind()

    def _accept(self, message: Any) -> None:
        if isinstance(message, AskError):
            return  # what an `ask_async` would raise; here it is silence, as with Thespian
        if self._inbox.qsize() >= MAILBOX_LIMIT:
            self._inbox.get_nowait()  # nobody listens: the oldest goes
        self._inbox.put(message)

    def _refuse_loop_thread(self) -> None:
        if self._engine.outside.is_here():
            raise RuntimeError("ask and listen would block the loop that is to answer: use ask_async")
