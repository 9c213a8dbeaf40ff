"""The page about the state machines of piles and guns, printed from their tables.

    python -m pileward.actors.diagrams          writes docs/state-machines.md

Diagrams show the ways between states; what happens inside a state stands in the table below each. The words
about timers and alarms are written down here, because no table has them; a test holds their names against
the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from pileward.actors import gun_machine, pile_machine
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_sessions import RELEASE_S, SETTLE_AGAIN_S
from pileward.actors.pile_state import (
    ATTEMPTS_MAX,
    CLOCK_TOLERANCE_S,
    READ_GRACE_S,
    RECORD_WITHIN_S,
    REPLY_WITHIN_S,
    TARIFF_GRACE_S,
    TARIFF_RETRY_S,
    PileStatus,
)
from pileward.messages.faults import FAULTS
from pileward.services.pile_configs import PileSettings

PAGE: Final = Path("docs/state-machines.md")
_SILENT_S: Final = PileSettings().offline_after_s


class TimerWords(NamedTuple):
    """One named timer of a pile actor."""

    name: str
    length: str
    meaning: str


class AlarmWords(NamedTuple):
    """One kind of alarm about a pile or a gun."""

    kind: str
    about: str
    meaning: str
    ends: str


TIMERS: Final = (
    TimerWords("admission", "what admission says", "a login waits its turn after a mass reconnection"),
    TimerWords(
        "silence",
        f"`offline_after_s` ({_SILENT_S} s), later what is left of it",
        "look whether the pile or a gun has been silent for too long",
    ),
    TimerWords(
        "tariff",
        f"{TARIFF_GRACE_S:g} s after a login or while a gun is busy, {TARIFF_RETRY_S:g} s after a refusal",
        "look whether the pile holds its tariff, push it if not",
    ),
    TimerWords("clock", "`time_sync_s` (a day)", "set the pile's clock again"),
    TimerWords("read", f"{READ_GRACE_S:g} s after a login", "ask the guns that have not reported yet"),
    TimerWords(
        "absence",
        f"`offline_after_s` ({_SILENT_S} s) after the pile went, four times that after a start",
        "the pile stays away: alarm",
    ),
    TimerWords("record:*gun*", f"{RECORD_WITHIN_S:g} s", "a charge has ended, its record should be here"),
    TimerWords(
        "reply:*kind*",
        f"{REPLY_WITHIN_S:g} s",
        f"the pile has not answered a command of this kind: repeat, {ATTEMPTS_MAX} times in all",
    ),
    TimerWords(
        "unsettled",
        f"{SETTLE_AGAIN_S:g} s",
        "the store did not take the settlement of a record: offer it again",
    ),
    TimerWords(
        "release:*order*",
        f"{RELEASE_S:g} s",
        "an order whose actor failed too often begins again from its row",
    ),
    TimerWords("next_tariff", "until then", "the next version of the tariff comes into force: load the pile"),
)
"""Every timer of a pile actor, in the order of a pile's life."""

ALARMS: Final = (
    AlarmWords("offline", "pile", "a registered pile is away, and not only to reconnect", "its next login"),
    AlarmWords(
        "login_mismatch",
        "pile",
        "kind or number of guns are not what was registered",
        "a login that agrees, or a correction by staff",
    ),
    AlarmWords(
        "clock_unset",
        "pile",
        f"no answer to setting its clock, {ATTEMPTS_MAX} times",
        "an answer to the next setting",
    ),
    AlarmWords(
        "clock_drift",
        "pile",
        f"its clock is more than {CLOCK_TOLERANCE_S:g} s off right after it was set, or no date",
        "a setting that it follows",
    ),
    AlarmWords("no_tariff", "pile", "no tariff is configured: it must not charge", "a tariff that it holds"),
    AlarmWords(
        "tariff_failed",
        "pile",
        "it refused the pushed tariff or did not answer; tried again every few minutes",
        "a tariff that it holds",
    ),
    AlarmWords(
        "gun_silent",
        "gun",
        "one gun sends nothing while the pile lives",
        "its next sign of life, or a new login",
    ),
    AlarmWords(
        "record_missing",
        "gun",
        f"a charge ended and its record did not come within {RECORD_WITHIN_S:g} s",
        "the record",
    ),
    AlarmWords(
        "record_differs",
        "gun",
        "a record came again under the same number with other content; the first one counts",
        "a person",
    ),
    AlarmWords(
        "record_unconfirmed",
        "pile",
        "the store was too busy to take a record; the pile keeps and repeats it",
        "the next record that is stored",
    ),
    AlarmWords(
        "fault:*code*",
        "gun",
        "a hardware fault that the pile reports; the codes are " + ", ".join(f"`{code}`" for code in FAULTS),
        "a report without it",
    ),
    AlarmWords(
        "session_quarantined",
        "gun",
        "the actor of an order failed again and again; it rests for a while",
        "its next beginning",
    ),
    AlarmWords(
        "quarantined",
        "pile",
        "the pile's actor failed again and again and is out of use",
        "release by staff, or a new start of the server",
    ),
)
"""Every kind of alarm that a pile actor or the fleet raises; all end as well when the pile is retired."""


def page() -> str:
    """The whole page."""
    return "\n".join((*_head(), *_pile(), *_gun(), *_timers(), *_alarms()))


def main(root: Path = Path(__file__).parents[2]) -> None:
    """Write the page."""
    (root / PAGE).write_text(page(), encoding="utf-8")


def _head() -> Iterator[str]:
    yield "# State machines of piles and guns"
    yield ""
    yield "Printed from the tables by `python -m pileward.actors.diagrams`; do not edit by hand. The tables"
    yield "are `pileward/actors/pile_machine.py` and `pileward/actors/gun_machine.py`; what performs them is"
    yield "told in [Actors](actors.md)."
    yield ""


# --- the pile -------------------------------------------------------------------------------------------


def _pile() -> Iterator[str]:
    yield "## A pile"
    yield ""
    yield from _diagram(
        PileStatus.UNKNOWN,
        (
            (rule.state, rule.target, _condition(rule.event.__name__, rule.guard))
            for rule in pile_machine.RULES
            if rule.state is not rule.target
        ),
    )
    yield "*In maintenance* is shown over Online, and *quarantined* is known to the fleet alone: neither is a"
    yield "state here."
    yield ""
    yield "Of several rows for one event the first whose condition holds is taken."
    yield ""
    yield "| in | on | if | what happens | go to |"
    yield "| --- | --- | --- | --- | --- |"
    for rule in sorted(pile_machine.RULES, key=lambda rule: list(PileStatus).index(rule.state)):
        guard = "" if rule.guard is pile_machine.always else f"`{rule.guard.__name__}`"
        target = "" if rule.target is rule.state else _word(rule.target)
        cells = (_word(rule.state), rule.event.__name__, guard, _purpose(rule.action), target)
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "Conditions: " + " ".join(
        f"`{guard.__name__}`: {_purpose(guard)}"
        for guard in dict.fromkeys(rule.guard for rule in pile_machine.RULES)
        if guard is not pile_machine.always
    )
    yield ""
    yield from _ignored(pile_machine.IGNORED, lambda event: event.__name__)


def _condition(event: str, guard: Any) -> str:
    return event if guard is pile_machine.always else f"{event}, {guard.__name__.replace('_', ' ')}"


# --- a gun ----------------------------------------------------------------------------------------------


def _gun() -> Iterator[str]:
    yield "## A gun, as its pile reports it"
    yield ""
    yield from _diagram(
        GunState.UNKNOWN,
        (
            (state, target, _event_word(event))
            for (state, event), target in gun_machine.RULES.items()
            if state is not target
        ),
    )
    shown = ", ".join(_word(state) for state in GunState if state not in gun_machine.REPORTED)
    yield f"{shown} are laid over these by what the platform knows: an order, a lock for maintenance."
    yield ""
    yield from _ignored(gun_machine.IGNORED, _event_word)


# --- words ----------------------------------------------------------------------------------------------


def _timers() -> Iterator[str]:
    yield "## Timers of a pile actor"
    yield ""
    yield "Named and numbered by the engine: one that is armed anew or stopped never fires late. All are in"
    yield "clock seconds."
    yield ""
    yield "| timer | after | meaning |"
    yield "| --- | --- | --- |"
    for timer in TIMERS:
        yield f"| `{timer.name}` | {timer.length} | {timer.meaning} |"
    yield ""


def _alarms() -> Iterator[str]:
    yield "## Alarms"
    yield ""
    yield "One alarm is open for each pile, gun and kind; the same trouble again changes nothing. All end"
    yield "when the pile is retired, those of a gun when the pile has it no more."
    yield ""
    yield "| kind | about | meaning | ends with |"
    yield "| --- | --- | --- | --- |"
    for alarm in ALARMS:
        yield f"| `{alarm.kind}` | {alarm.about} | {alarm.meaning} | {alarm.ends} |"
    yield ""


def _diagram(first: IntEnum, ways: Iterable[tuple[IntEnum, IntEnum, str]]) -> Iterator[str]:
    """Mermaid: one arrow from a state to another, with all that leads along it."""
    labels: dict[tuple[IntEnum, IntEnum], list[str]] = {}
    for state, target, label in ways:
        labels.setdefault((state, target), []).append(label)
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {_word(first)}"
    for (state, target), along in labels.items():
        yield f"    {_word(state)} --> {_word(target)} : {' / '.join(along)}"
    yield "```"
    yield ""


def _ignored(ignored: dict[Any, str], name: Callable[[Any], str]) -> Iterator[str]:
    """What changes nothing, by reason: the same events in several states are one row."""
    by_events: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    events: dict[tuple[str, IntEnum], list[str]] = {}
    for (state, event), reason in ignored.items():
        events.setdefault((reason, state), []).append(name(event))
    for (reason, state), found in events.items():
        by_events.setdefault((reason, tuple(found)), []).append(_word(state))
    yield "Everything else changes nothing, for a reason:"
    yield ""
    yield "| in | on | because |"
    yield "| --- | --- | --- |"
    for (reason, names), states in by_events.items():
        yield f"| {', '.join(states)} | {_names(names)} | {reason} |"
    yield ""


def _names(names: tuple[str, ...]) -> str:
    uplinks = tuple(kind.__name__ for kind in pile_machine.UPLINKS)
    return "every uplink" if names == uplinks else ", ".join(names)


def _purpose(function: Any) -> str:
    """The first line of what a rule's function says of itself."""
    text = " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())
    return text.replace("|", "\\|")


def _event_word(event: IntEnum) -> str:
    return event.name.lower().replace("_", " ")


def _word(state: IntEnum) -> str:
    return state.name.capitalize()


if __name__ == "__main__":
    main()
