"""What the actors of one node share, made for a test; and stand-ins for whoever they speak with."""

from __future__ import annotations

from typing import Any

from pileward.actors.engine import Engine
from pileward.actors.frame_tail import FrameTail
from pileward.actors.surroundings import Admission, Surroundings
from pileward.livefeed.memory import MemoryBus
from pileward.metrics import Metrics
from tests.unit.engine_actors import Doer


def surroundings(engine: Engine, admission: Admission | None = None) -> Surroundings:
    """The shared parts of a node that has nothing yet."""
    return Surroundings(MemoryBus(), Metrics(), FrameTail(1), admission or Admission(), engine.turn)


def stand_in(engine: Engine) -> Any:
    """An actor that notes what it is sent, and sends what a test tells it to."""
    return engine.create(Doer)


def noted(address: Any, *kinds: type) -> list[Any]:
    """What a stand-in was sent; of these types, if some are named."""
    return [message for message in address.instance.seen if not kinds or isinstance(message, kinds)]


def speak(engine: Engine, sender: Any, to: Any, *messages: Any) -> None:
    """Have a stand-in send messages, in this order."""
    for message in messages:
        engine.tell(sender, lambda actor, _, message=message: actor.send(to, message))
