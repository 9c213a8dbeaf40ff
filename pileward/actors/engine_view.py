"""What can be seen of an actor from outside, for whoever looks inside a running process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pileward.actors.engine_cell import Cell
from pileward.actors.supervised import Supervised

if TYPE_CHECKING:
    from pileward.actors.engine import Engine


class ActorInfo(msgspec.Struct, frozen=True):
    """One living actor. `age_s` is in clock seconds; `detail` is what its `inspect` says."""

    path: str
    actor_class: str
    state: str
    global_name: str | None
    mailbox_depth: int
    handled: int
    failures: int
    restarts: int
    is_quarantined: bool
    last_error: str
    age_s: float
    timers: int
    children: int
    detail: dict[str, Any]


def describe(engine: Engine, cell: Cell) -> ActorInfo | None:
    """Everything there is to see of an actor.

    None when it has exited. A failing `inspect` shows as detail.
    """
    if cell.gate is engine.gone:
        return None
    detail: dict[str, Any] = {}
    if isinstance(cell.instance, Supervised):
        try:
            detail = cell.instance.inspect()
        except Exception as error:
            detail = {"inspect_failed": f"{type(error).__name__}: {error}"}
    troubles = cell.troubles
    is_quarantined = cell.number in engine.failures.quarantined
    return ActorInfo(
        path=cell.path,
        actor_class=cell.kind.__name__,
        state="quarantined" if is_quarantined else str(detail.get("state", "")),
        global_name=cell.global_name,
        mailbox_depth=cell.depth,
        handled=cell.handled - (troubles.restarts if troubles else 0),  # a restart counts as a step
        failures=troubles.failures if troubles else 0,
        restarts=troubles.restarts if troubles else 0,
        is_quarantined=is_quarantined,
        last_error=troubles.last_error if troubles else "",
        age_s=engine.clock.monotonic() - cell.born,
        timers=len(cell.timers) if cell.timers else 0,
        children=len(cell.children) if cell.children else 0,
        detail=detail,
    )


def find(root: Cell, path: str) -> Cell | None:
    """Go down from the root along a path such as `/Fleet~1/Pile~7`; only the numbers count."""
    cell = root
    for part in filter(None, path.split("/")):
        number = part.rpartition("~")[2]
        child = (cell.children or {}).get(int(number)) if number.isascii() and number.isdigit() else None
        if child is None:
            return None
        cell = child
    return None if cell is root else cell
