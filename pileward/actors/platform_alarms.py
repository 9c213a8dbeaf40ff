"""Alarms that concern no pile: opened and closed once, shown at once, durable by what is returned."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from pileward.actors.effects import Raise
from pileward.actors.surroundings import Surroundings
from pileward.logs import logger
from pileward.messages.events import AlarmChanged
from pileward.ports import ALARM_TOPIC
from pileward.services.alarms import CloseAlarm, OpenAlarm

PLATFORM: Final = ""
"""The pile code of alarms that concern no pile."""

log = logger(__name__)


def opened(around: Surroundings, alarm: Raise, now: datetime) -> OpenAlarm | None:
    """Open an alarm; returns what is to be written, None when it is open already."""
    known = around.alarms.setdefault(PLATFORM, set())
    if (alarm.kind, None) in known:
        return None
    known.add((alarm.kind, None))
    around.metrics.alarms_open += 1
    around.metrics.alarms_raised[alarm.kind] += 1
    log.warning("alarm", alarm=alarm.kind, text=alarm.text_en)
    text = f"{alarm.text_zh} / {alarm.text_en}"
    _show(around, AlarmChanged(PLATFORM, None, alarm.kind, alarm.severity.value, True, text, now))
    return OpenAlarm(PLATFORM, None, alarm.kind, alarm.severity, alarm.text_zh, alarm.text_en, now)


def closed(around: Surroundings, kind: str, now: datetime) -> CloseAlarm | None:
    """Close an alarm; returns what is to be written, None when it is not open."""
    known = around.alarms.get(PLATFORM, set())
    if (kind, None) not in known:
        return None
    known.discard((kind, None))
    around.metrics.alarms_open -= 1
    _show(around, AlarmChanged(PLATFORM, None, kind, "info", False, "", now))
    return CloseAlarm(PLATFORM, None, kind, now)


def _show(around: Surroundings, event: AlarmChanged) -> None:
    around.recent.append(event)
    if around.bus.has_subscribers(ALARM_TOPIC):
        around.bus.publish(ALARM_TOPIC, msgspec.json.encode(event))
