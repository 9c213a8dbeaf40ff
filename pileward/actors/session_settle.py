"""Actions of the session machine when the record is there, or will not come: bill, refund, close.

What a record costs and what goes back is decided in one transaction by the settlement service; here is only
when, and what people are told of the result.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from pileward.actors.effects import (
    NOTHING,
    Clear,
    Disarm,
    Effects,
    Persist,
    Raise,
    Reload,
    Reply,
    ShowSession,
    TellRefunds,
)
from pileward.actors.session_order import ACCEPTED, moment
from pileward.actors.session_state import DecisionAsked, RecordArrived, RefundMovedOn, Session, Written
from pileward.messages.charging import EnergyOfRate, RecordFacts, SessionState
from pileward.messages.charging_writes import (
    CancelSession,
    DecideHeld,
    Decision,
    FailStart,
    MoveSession,
    RecordUnmatched,
    SessionMoved,
    Settled,
    SettleRecord,
    SettleSession,
    StartFailedDone,
)
from pileward.messages.sessions import RefundsWaiting
from pileward.values import Rate, Severity

S = SessionState
Step = tuple[Session, Effects]

_WARNINGS: Final = {
    "amount_differs": ("桩上报金额与平台计算不符", "the pile's amount differs from ours"),
    "record_after_start_failed": (
        "启动失败的订单收到了充电记录",
        "a record came for an order that never started",
    ),
    "different_record": ("同一订单收到不同的充电记录", "another record came for an order already settled"),
}


# --- guards ---------------------------------------------------------------------------------------------


def is_settlement(_: Session, event: Written, *_now: int) -> bool:
    """The write that was committed is the bill."""
    return isinstance(event.result, Settled)


def is_earlier(_: Session, event: Written, *_now: int) -> bool:
    """A write from before the settlement, done as expected."""
    return isinstance(event.result, SessionMoved) and event.result.is_done


def is_last(_: Session, event: RefundMovedOn, *_now: int) -> bool:
    """Nothing more goes back."""
    return event.moved.is_last


def went_wrong(session: Session, event: Written, *_now: int) -> bool:
    """The row was elsewhere than this actor believed: what is durable counts."""
    result = event.result
    if isinstance(result, RecordUnmatched):
        return True
    if isinstance(result, SessionMoved | StartFailedDone):
        return not result.is_done
    return False


# --- settling -------------------------------------------------------------------------------------------


def by_record(session: Session, event: RecordArrived, now: int) -> Step:
    """The record is durable and confirmed: bill it."""
    ended = tuple(
        Disarm(name)
        for name in ("answer", "charging", "last_look", "stop", "stop_watch", "record", "provisional")
    )
    gun_no = session.row.gun_no
    return replace(session, detail="settling"), (
        Persist(SettleRecord(event.result.first_id, moment(now))),
        *ended,
        Clear("record_missing", gun_no),
        Clear("stop_failed", gun_no),
        ShowSession(),
    )


def miss_record(session: Session, _: Any, __: int) -> Step:
    """The record is late: tell somebody, settle nothing (YKC 1.6, 8.6)."""
    zh, en = "充电已结束，30 秒内未收到交易记录", "the charge ended and its record did not come within 30 s"
    return replace(session, detail="record_missing"), (
        Raise("record_missing", Severity.FAULT, zh, en, session.row.gun_no),
        ShowSession(),
    )


def provisionally(session: Session, _: Any, now: int) -> Step:
    """No record for a day: bill by the last live values, for a person to approve."""
    row = session.row
    energies = tuple(
        EnergyOfRate(rate, energy)
        for rate, energy in zip(Rate, session.rate_energy_e4_kwh, strict=True)
        if energy
    )
    facts = RecordFacts(
        energies=energies,
        energy_e4_kwh=row.energy_e4_kwh,
        pile_amount_e4_yuan=row.live_amount_e4_yuan or None,
        started_at=row.started_at,
        ended_at=row.ended_at or row.live_at,
        stop_reason="no_record",
    )
    return replace(session, detail="provisional"), (
        Persist(SettleSession(session.serial, None, facts, moment(now))),
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
        settled_at=moment(now),
    )
    effects: Effects = tuple(
        Raise(code, Severity.WARNING, *_WARNINGS.get(code, (code, code)), row.gun_no)
        for code in settled.warnings
    )
    if settled.is_held:
        zh, en = f"订单待人工处理：{settled.reason}", f"an order waits for a person: {settled.reason}"
        effects += (Raise("session_held", Severity.WARNING, zh, en, row.gun_no),)
    else:
        effects += (Clear("session_held", row.gun_no),)
    if settled.out_refund_no is not None:
        effects += (TellRefunds(RefundsWaiting()),)
    return replace(session, row=row, detail=settled.reason if settled.is_held else ""), (
        *effects,
        ShowSession(),
    )


def tell_refunds(session: Session, event: Written, _: int) -> Step:
    """A failed start has put everything into the outbox; without money it is closed at once."""
    result = event.result
    if not isinstance(result, StartFailedDone):
        return session, NOTHING
    row = replace(session.row, refund_fen=result.refund_fen)
    session = replace(session, row=row)
    if result.out_refund_no is not None:
        return session, (TellRefunds(RefundsWaiting()), ShowSession())
    return session, (Reload(),)


def start_over(session: Session, event: Written, _: int) -> Step:
    """What is durable is not what this actor believed: begin again from the row."""
    assert isinstance(event.write, MoveSession | CancelSession | FailStart | SettleRecord), event.write
    return session, (Reload(),)


def show(session: Session, _: Any, __: int) -> Step:
    """A refund moved; the driver sees how far it is."""
    return session, (ShowSession(),)


def close(session: Session, _: Any, now: int) -> Step:
    """Everything is done: the last fen is where it belongs."""
    row = replace(session.row, closed_at=moment(now))
    return replace(session, row=row, detail=""), (ShowSession(),)
