"""From an actor's class, given as such or by name, to what its constructor wants."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from thespian.actors import ThespianGeneration
from thespian.system.utilis import actualActorClass

#: What the engine can hand to a constructor, where it has a parameter of that name.
OFFERED: Final = ("capabilities", "requirements")

_accepted: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def own_capabilities() -> dict[str, Any]:
    """What every Thespian system says of itself, for the capability checks of actors."""
    return {
        "Python Version": tuple(sys.version_info),
        "Thespian Generation": ThespianGeneration,
        "Thespian Version": str(time.time_ns() // 1_000_000),
        "Thespian ActorSystem Name": "pileward",
        "Thespian ActorSystem Version": 1,
        "Thespian Watch Supported": False,
        "AllowRemoteActorSources": "No",
    }


def find_class(kind: type | str, loader: Callable[[str, str], type] | None) -> type:
    """The class itself, or the one that `package.module.Class` names, in loaded sources if there is a loader.

    Raises InvalidActorSpecification for a name without a module, ImportError or AttributeError for one not
    found.
    """
    return kind if isinstance(kind, type) else actualActorClass(kind, loader)


def is_capable(kind: type, capabilities: dict[str, Any], requirements: Any) -> bool:
    """Whether the actor's own check, if it has one, finds what it needs."""
    check = getattr(kind, "actorSystemCapabilityCheck", None)
    return check is None or bool(check(capabilities, {} if requirements is None else requirements))


def accepted_arguments(kind: type) -> tuple[str, ...]:
    """Those of `OFFERED` that the constructor of `kind` has a parameter for."""
    known = _accepted.get(kind)
    if known is None:
        constructor: Any = kind.__init__  # type: ignore[misc] # read only, of whatever class it is
        spec = inspect.getfullargspec(constructor)
        names = {*spec.args, *spec.kwonlyargs}
        known = _accepted[kind] = tuple(name for name in OFFERED if name in names)
    return known
