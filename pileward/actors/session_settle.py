"""Actions of the session machine when the record is there, or will not come: bill, refund, close.

What a record costs and what goes back is decided in one transaction by the settlement service; here is only
when, and what people are told of the result.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from pileward.actors.effects import (
    Clear,
    Disarm,
    Effects,
    Note,
    Persist,
    Raise,
    Reload,
    Reply,
    ShowSession,
    TellRefunds,
)
from pileward.actors.session_order import ACCEPTED, moment
from pileward.actors.session_state import DecisionAsked, RecordArrived, RefundMovedOn, Session, Written
from pileward.messages.charging import SessionState
from pileward.messages.charging_writes import (
    DecideHeld,
    Decision,
    RecordUnmatched,
    SessionMoved,
    Settled,
    SettleRecord,
    SettleSession,
    StartFailedDone,
)
from pileward.messages.sessions import RefundsWaiting
from pileward.services.billing import provisional_facts
from pileward.values import Severity

S = SessionState
Step = tuple[Session, Effects]

_DECISIONS: Final = frozenset(str(decision) for decision in Decision)
_WARNINGS: Final = {
    "amount_differs": ("桩上报金额与平台计算不符", "the pile's amount differs from ours"),
    "rates_do_not_add_up": ("分时电量之和与总电量不符", "the energies by rate do not add up to the total"),
    "rate_out_of_time": ("电量落在不该有的时段", "energy in a rate that was not in force"),
    "meter_runs_backwards": ("电表止码小于起码", "the meter ran backwards"),
    "meter_differs": ("电表读数与电量不符", "the meter readings differ from the energy"),
    "deep_valley": ("记录含深谷时段，按谷计费", "a deep valley rate was billed as valley"),
    "record_after_start_failed": (
        "启动失败的订单收到了充电记录",
        "a record came for an order that never started",
    ),
    "provisional_corrected": ("迟到的记录更正了暂估账单", "a late record corrected a provisional bill"),
    "different_record": ("同一订单收到不同的充电记录", "another record came for an order already settled"),
}
"""What is odd about a bill, by its code: alarms of the gun, each until a bill comes that is clean of it."""


# --- guards ---------------------------------------------------------------------------------------------


def is_undone(result: Any) -> bool:
    """Whether a write came back with "the row is elsewhere": then nobody may be told what depended on it."""
    if isinstance(result, SessionMoved | StartFailedDone):
        return not result.is_done
    return isinstance(result, RecordUnmatched)


def went_wrong(_: Session, event: Written, *_now: int) -> bool:
    """The row was elsewhere than this actor believed."""
    return is_undone(event.result)


def is_repeated(_: Session, event: Written, *_now: int) -> bool:
    """The bill was written before, and may have been corrected since."""
    return isinstance(event.result, Settled) and not event.result.is_first


def is_settlement(_: Session, event: Written, *_now: int) -> bool:
    """The write that was committed is a bill."""
    return isinstance(event.result, Settled)


def is_refunded(_: Session, event: Written, *_now: int) -> bool:
    """All the money of a failed start is in the outbox."""
    return isinstance(event.result, StartFailedDone) and event.result.out_refund_no is not None


def is_penniless(_: Session, event: Written, *_now: int) -> bool:
    """A start failed for which nothing had been paid: it is over."""
    return isinstance(event.result, StartFailedDone)


def is_last(_: Session, event: RefundMovedOn, *_now: int) -> bool:
    """Nothing more goes back."""
    return event.moved.is_last


def is_decision(_: Session, event: DecisionAsked, *_now: int) -> bool:
    """The decision is one of those that there are."""
    return event.decision in _DECISIONS


# --- settling -------------------------------------------------------------------------------------------


def by_record(session: Session, event: RecordArrived, now: int) -> Step:
    """The record is durable and confirmed: bill it."""
    gun_no = session.row.gun_no
    return replace(session, detail="settling", is_giving_up=False), (
        Persist(SettleRecord(event.result.first_id, moment(now))),
        *_TIMERS_OFF,
        *(Clear(kind, gun_no) for kind in _ENDED_ALARMS),
        ShowSession(),
    )


_TIMERS_OFF: Final = tuple(
    Disarm(name)
    for name in (
        "pay",
        "start_by",
        "answer",
        "charging",
        "last_look",
        "live",
        "stop",
        "stop_watch",
        "record",
        "provisional",
    )
)
_ENDED_ALARMS: Final = ("record_missing", "stop_failed", "charging_after_end")
"""What a record puts an end to."""


def settle_too(session: Session, event: RecordArrived, now: int) -> Step:
    """A record came while something else is being settled: it is next, and the services compare."""
    return session, (Persist(SettleRecord(event.result.first_id, moment(now))),)


def leave_to_services(session: Session, event: RecordArrived, now: int) -> Step:
    """The order is over and its actor about to exit: nothing of a late record depends on it."""
    return session, (Note(SettleRecord(event.result.first_id, moment(now))),)


def miss_record(session: Session, _: Any, __: int) -> Step:
    """The record is late: tell somebody, settle nothing (YKC 1.6, 8.6)."""
    zh, en = "充电已结束，30 秒内未收到交易记录", "the charge ended and its record did not come within 30 s"
    return replace(session, detail="record_missing"), (
        Raise("record_missing", Severity.FAULT, zh, en, session.row.gun_no),
        ShowSession(),
    )


def provisionally(session: Session, _: Any, now: int) -> Step:
    """No record for a day: bill by the last live values, for a person to approve."""
    facts = provisional_facts(session.row)
    return replace(session, detail="provisional"), (
        Persist(SettleSession(session.serial, None, facts, moment(now))),
        *_TIMERS_OFF,
        ShowSession(),
    )


def decide(session: Session, event: DecisionAsked, now: int) -> Step:
    """A person ends the hold."""
    write = DecideHeld(session.serial, Decision(event.decision), event.actor, moment(now), event.note)
    return replace(session, detail="settling"), (
        Persist(write),
        Reply(event.command_id, ACCEPTED),
        ShowSession(),
    )


def take_result(session: Session, event: Written, now: int) -> Step:
    """The bill is durable: its rest is in the outbox, or a person has to look, or all is done."""
    settled: Settled = event.result
    row = replace(
        session.row,
        state=settled.state,
        bill=settled.bill or session.row.bill,
        refund_fen=settled.refund_fen,
        debt_fen=settled.debt_fen,
        excess_fen=settled.excess_fen,
        is_held=settled.is_held,
        held_reason=settled.reason if settled.is_held else "",
        is_provisional=settled.is_provisional,
        deadline_at=None,
        deadline_kind="",
        settled_at=moment(now),
    )
    found = {*settled.warnings, settled.reason}
    effects: Effects = tuple(
        Raise(code, Severity.WARNING, *words, row.gun_no) if code in found else Clear(code, row.gun_no)
        for code, words in _WARNINGS.items()
    )
    if settled.is_held:
        zh, en = f"订单待人工处理：{settled.reason}", f"an order waits for a person: {settled.reason}"
        effects += (Raise("session_held", Severity.WARNING, zh, en, row.gun_no),)
    else:
        effects += (Clear("session_held", row.gun_no),)
    if settled.out_refund_no is not None:
        effects += (TellRefunds(RefundsWaiting()),)
    detail = settled.reason if settled.is_held else ""
    return replace(session, row=row, detail=detail), (*effects, ShowSession())


def tell_refunds(session: Session, event: Written, _: int) -> Step:
    """A failed start has put everything into the outbox."""
    row = replace(session.row, refund_fen=event.result.refund_fen)
    return replace(session, row=row), (TellRefunds(RefundsWaiting()), ShowSession())


def look_for_refunds(session: Session, _: Any, __: int) -> Step:
    """The actor began again while money is on its way back: that may not have been told."""
    return session, (TellRefunds(RefundsWaiting()),)


def start_over(session: Session, _: Any, __: int) -> Step:
    """What is durable is not what this actor believed: begin again from the row."""
    return session, (Reload(),)


def show(session: Session, _: Any, __: int) -> Step:
    """A refund moved; the driver sees how far it is."""
    return session, (ShowSession(),)


def close(session: Session, _: Any, now: int) -> Step:
    """Everything is done: the last fen is where it belongs."""
    row = replace(session.row, closed_at=moment(now))
    over = Clear("charging_after_end", row.gun_no)
    return replace(session, row=row, detail=""), (over, ShowSession())
