"""Lesson 13: a handler never waits; it sends, and arms a timer.

Elsewhere a handler waited for a call to its own peer, whose answer it should have handled: a deadlock.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pileward
from pileward.actors.engine import Cell, Engine
from pileward.actors.supervised import Supervised, TimerFired
from pileward.clock import ManualClock

ROOT = Path(pileward.__file__).parent
FILES = sorted(
    path
    for folder in ("actors", "gateway")
    for path in (ROOT / folder).glob("*.py")
    if not path.name.startswith("engine")
)
WAITS = re.compile(
    r"(engine|system|asys)\.ask|ask_async|\.listen|run_until_complete|future\.result|task\.result"
    r"|thread\.join|\.acquire|\.recv|select\.select|sleep"
)
"""Calls that wait for somebody else."""


def plain_functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions that are no coroutines: all handlers, and what they call."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_handler_calls_what_waits(path: Path) -> None:
    for function in plain_functions(ast.parse(path.read_text())):
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                where = f"{path.name}:{node.lineno}"
                assert not WAITS.search(called), f"{where} {function.name} waits: {called}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_handler_is_a_coroutine(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AsyncFunctionDef):
            assert node.name not in ("receiveMessage", "started"), f"{path.name}:{node.lineno}"


class Caller(Supervised):
    """Asks its peer, who asks back before it answers: by messages and a timer, so nobody waits."""

    def __init__(self, requirements: object = None) -> None:
        self.asker: object = None
        self.answers: list[str] = []

    def receiveMessage(self, message: object, sender: object) -> None:
        match message:
            case ("begin", peer):
                self.send(peer, "what is your name?")
                self.arm("no answer", 10)
            case "what is your name?":
                self.asker = sender
                self.send(sender, "who asks?")
            case "who asks?":
                self.send(sender, "it is me")
            case "it is me":
                self.send(self.asker, "Pile")
            case TimerFired(name):
                self.answers.append(name)
            case str(answer):
                self.disarm("no answer")
                self.answers.append(answer)


async def test_a_peer_that_asks_back_is_no_deadlock() -> None:
    clock = ManualClock()
    engine = Engine(clock=clock)
    first, second = engine.create(Caller), engine.create(Caller)
    engine.deliver(first, ("begin", second))
    while engine.waiting:
        engine.run()
    clock.advance(60)
    assert isinstance(first, Cell)
    assert isinstance(first.instance, Caller)
    assert first.instance.answers == ["Pile"]
    engine.shutdown()
