"""Transaction records on their way to the platform: sent, repeated, confirmed, and sometimes sent once more.

A record goes out at once, is repeated every 30 s and three times at most, and then waits for the next login;
only its confirmation (or the platform's word that it is illegal) takes it out of the memory (YKC 1.6, 0x3B).
An echo is a record that will go out later as if it had never been confirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pileward.codecs.ykc.table import BY_CLASS, Frame
from pileward.simulator.habits import QUEUED_RECORDS_MAX
from pileward.simulator.memory import StoredRecord
from pileward.simulator.orders import Phase

if TYPE_CHECKING:
    from pileward.simulator.pile import SimPile

TIMER: Final = "records"
"""The next repeat of whatever is not confirmed."""
ECHO: Final = "echo:"


def keep(pile: SimPile, record: Frame, now: float) -> None:
    """Store a record, and send it if there is a line."""
    _add(pile, _stored(record), now)


def keep_echo(pile: SimPile, record: Frame, at: float) -> None:
    """Send a record at `at` as if it had never been confirmed."""
    stored = _stored(record)
    pile.memory.echoes.append(stored)
    pile.is_dirty = True
    pile.timers.arm(ECHO + stored.trade_no, at)


def send_echoes(pile: SimPile, now: float, trade_no: str | None = None) -> None:
    """Let what was kept go out: of one number, or all."""
    due = [each for each in pile.memory.echoes if trade_no in (None, each.trade_no)]
    pile.memory.echoes = [each for each in pile.memory.echoes if each not in due]
    for stored in due:
        _add(pile, stored, now)


def begin(pile: SimPile, now: float) -> None:
    """After a login everything that is not confirmed goes out again."""
    for record in pile.memory.records:
        record.times_sent = 0
    repeat(pile, now)


def repeat(pile: SimPile, now: float) -> None:
    """Send each unconfirmed record, three times more at most; what is left waits for the next login."""
    most = pile.habits.record_repeats
    for record in pile.memory.records:
        if record.times_sent <= most:
            _send(pile, record)
    if any(record.times_sent <= most for record in pile.memory.records):
        pile.timers.arm(TIMER, now + pile.habits.record_retry_s)


def answered(pile: SimPile, trade_no: str, is_legal: bool) -> None:
    """The platform has the record (or will never take it): forget it."""
    records = pile.memory.records
    kept = [record for record in records if record.trade_no != trade_no]
    if len(kept) < len(records):
        pile.tally.events["record_confirmed" if is_legal else "record_refused"] += 1
        pile.memory.records = kept
        pile.is_dirty = True


def _add(pile: SimPile, stored: StoredRecord, now: float) -> None:
    pile.memory.records.append(stored)
    del pile.memory.records[:-QUEUED_RECORDS_MAX]
    pile.is_dirty = True
    if pile.phase is Phase.ONLINE:
        _send(pile, stored)
        pile.timers.arm(TIMER, now + pile.habits.record_retry_s)


def _send(pile: SimPile, record: StoredRecord) -> None:
    record.times_sent += 1
    pile.write_body(record.frame_type, record.body)


def _stored(record: Frame) -> StoredRecord:
    layout = BY_CLASS[type(record)]
    trade_no: str = getattr(record, "trade_no")  # noqa: B009 - every record has one
    return StoredRecord(trade_no, layout.kind.code, layout.encode(record))
