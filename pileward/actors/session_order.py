"""Actions of the session machine before a charge runs: payment, start, giving up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from pileward.actors.effects import (
    NOTHING,
    Arm,
    Disarm,
    Effects,
    Persist,
    Raise,
    Reload,
    Reply,
    ShowSession,
    TellPayments,
)
from pileward.actors.session_state import (
    ANSWER_WITHIN_S,
    CANCELLED,
    CHARGING_WITHIN_S,
    LAST_LOOK_S,
    NOT_PLUGGED,
    PAY_WITHIN_S,
    RETURN_WITHIN_S,
    START_REFUSALS,
    START_WITHIN_S,
    TOLD_WITHIN_S,
    CancelAsked,
    FundedBy,
    Session,
    StartAsked,
    StopAsked,
)
from pileward.messages.charging import PaymentVerdict, SessionState
from pileward.messages.charging_writes import CancelSession, FailStart, MoveSession
from pileward.messages.commands import Outcome
from pileward.messages.downlinks import ReadTelemetry, RemoteStart, RemoteStop
from pileward.messages.sessions import ClosePayment
from pileward.messages.uplinks import StartAnswer
from pileward.values import ResultStatus, Severity

Step = tuple[Session, Effects]

ACCEPTED: Final = Outcome(ResultStatus.ACCEPTED)
FOR_NOW: Final = frozenset(("tariff_pending", "store_busy"))
"""Reasons against a start that pass by themselves: the order stays, the driver may ask again."""

_REFUSALS: Final = {
    "not_funded": "订单未支付，请先完成支付 / the order is not paid yet",
    "not_charging": "当前没有在充电 / nothing is charging",
    "already_started": "订单已启动，可在充电页停止 / it has been started: stop it instead",
    "order_over": "订单已结束，请重新下单 / the order is over: make a new one",
    "cancelled": "订单正在取消 / the order is being cancelled",
    "unknown_decision": "未知的处理方式 / there is no such decision",
    "not_held": "订单没有被冻结 / the order is not held",
    "tariff_pending": "充电桩正在更新电价，请稍后再试 / the pile is getting its tariff: try again soon",
    "pile_offline": "充电桩离线，款项将全额退回 / the pile is offline: all money goes back",
    "gun_fault": "充电枪故障，款项将全额退回 / the gun is faulty: all money goes back",
    "gun_busy": "充电枪被占用，款项将全额退回 / the gun is taken: all money goes back",
}


def moment(now: int) -> datetime:
    """Epoch milliseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(now / 1000, UTC)


def refused(reason: str) -> Outcome:
    """A refusal with its words."""
    return Outcome(ResultStatus.REJECTED, reason, _REFUSALS.get(reason, ""))


# --- guards ---------------------------------------------------------------------------------------------


def is_paid(_: Session, event: FundedBy, *_now: int) -> bool:
    """The money funds this very order."""
    confirmed = event.confirmed
    return confirmed.verdict is PaymentVerdict.PAID and confirmed.session_state is SessionState.FUNDED


def is_moved(_: Session, event: FundedBy, *_now: int) -> bool:
    """The money has put the order into another state than one of the two that are waited for here."""
    return event.confirmed.session_state not in (None, SessionState.CREATED)


def is_paid_cancelled(session: Session, event: FundedBy, *_now: int) -> bool:
    """It was paid after the driver had given it up."""
    return session.is_cancelled and is_paid(session, event)


def is_refused_for_now(_: Session, event: StartAsked, *_now: int) -> bool:
    """The pile cannot start at this moment, but soon."""
    return event.refusal in FOR_NOW


def is_refused(_: Session, event: StartAsked, *_now: int) -> bool:
    """The pile cannot start this order."""
    return bool(event.refusal)


def is_accepting(_: Session, event: StartAnswer, *_now: int) -> bool:
    """0x33 says that it starts."""
    return event.is_accepted


def is_unplugged(session: Session, event: StartAnswer, *_now: int) -> bool:
    """0x33 says that no vehicle is plugged in yet: not final."""
    return event.reason == NOT_PLUGGED and not session.is_giving_up


def is_accepted(session: Session, _: Any, *_now: int) -> bool:
    """The pile has said that it starts."""
    return session.is_accepted


def is_cancelled(session: Session, _: Any, *_now: int) -> bool:
    """The driver has given the order up."""
    return session.is_cancelled


def is_giving_up(session: Session, _: Any, *_now: int) -> bool:
    """The start is being taken back."""
    return session.is_giving_up


def is_away(session: Session, _: Any, *_now: int) -> bool:
    """The pile is not online."""
    return not session.is_pile_online


def may_return(session: Session, _: Any, *_now: int) -> bool:
    """The pile is away, and its return has not been waited for yet."""
    return not session.is_pile_online and not session.has_waited


def stays_away(session: Session, _: Any, *_now: int) -> bool:
    """The pile is away though its return was waited for."""
    return not session.is_pile_online and session.has_waited


# --- paying ---------------------------------------------------------------------------------------------


def fund(session: Session, event: FundedBy, now: int) -> Step:
    """The order is paid; the write that said so has moved the row as well."""
    row = replace(session.row, paid_fen=session.row.prepaid_fen, funded_at=moment(now))
    return replace(session, row=row, detail=""), (
        Disarm("pay"),
        Arm("start_by", START_WITHIN_S),
        ShowSession(),
    )


def return_all_cancelled(session: Session, event: FundedBy, now: int) -> Step:
    """Paid although it had been given up: everything goes back."""
    row = replace(session.row, paid_fen=session.row.prepaid_fen, funded_at=moment(now))
    return _fail(replace(session, row=row), CANCELLED, now)


def take_trouble(session: Session, event: FundedBy, _: int) -> Step:
    """Money arrived that is not what was ordered: what is durable of the order counts."""
    effects = (Reload(),)
    if event.confirmed.verdict is not PaymentVerdict.MISMATCH:
        return session, effects
    reason = event.confirmed.reason
    zh, en = f"支付与订单不符：{reason}", f"the payment is not the one that was ordered: {reason}"
    return session, (Raise("session_held", Severity.FAULT, zh, en, session.row.gun_no), *effects)


def close_payment(session: Session, _: Any, __: int) -> Step:
    """It is not wanted any more: close it at the provider, who may still say that it was paid."""
    return session, (TellPayments(ClosePayment(session.row.out_trade_no)), Arm("pay", PAY_WITHIN_S))


def cancel_unpaid(session: Session, _: Any, now: int) -> Step:
    """Closed at the provider: nothing was paid, nothing is owed."""
    reason = CANCELLED if session.is_cancelled else "unpaid"
    row = replace(session.row, start_failure=reason)
    return replace(session, row=row, detail=reason), (
        Persist(CancelSession(session.serial, reason, moment(now))),
        Disarm("pay"),
        ShowSession(),
    )


def cancel_asked(session: Session, event: CancelAsked, now: int) -> Step:
    """The driver gives up an unpaid order: close the payment first, it may be paid at this very moment."""
    session, write = _cancelled(session, SessionState.CREATED, now)
    return session, (
        Persist(write),
        TellPayments(ClosePayment(session.row.out_trade_no)),
        Reply(event.command_id, ACCEPTED),
        ShowSession(),
    )


def cancel_again(session: Session, event: CancelAsked, _: int) -> Step:
    """Given up already: close the payment once more, in case that was lost."""
    closing = TellPayments(ClosePayment(session.row.out_trade_no))
    return session, (closing, Reply(event.command_id, ACCEPTED))


def _cancelled(session: Session, state: SessionState, now: int) -> tuple[Session, MoveSession]:
    """The wish of the driver, durable without a change of state."""
    row = replace(session.row, start_failure=CANCELLED)
    changes = {"start_failure": CANCELLED}
    write = MoveSession(session.serial, frozenset((state,)), state, moment(now), changes)
    return replace(session, row=row, detail="cancelling"), write


# --- starting -------------------------------------------------------------------------------------------


def start(session: Session, event: StartAsked, now: int) -> Step:
    """Store the start, then send the frame and answer the edge; the frame is never repeated."""
    row = session.row
    deadline = moment(now) + timedelta(seconds=CHARGING_WITHIN_S)
    changes = {"deadline_at": deadline, "deadline_kind": "charging"}
    write = MoveSession(
        session.serial, frozenset((SessionState.FUNDED,)), SessionState.STARTING, moment(now), changes
    )
    frame = RemoteStart(row.pile_code, None, row.gun_no, row.wire_number, balance_fen=cap_fen(session))
    session = replace(
        session,
        row=replace(row, deadline_at=deadline, deadline_kind="charging"),
        detail="start_sent",
        is_accepted=False,
        has_waited=False,
    )
    return session, (
        Persist(write),
        frame,
        Reply(event.command_id, ACCEPTED),
        Disarm("start_by"),
        Arm("answer", ANSWER_WITHIN_S),
        Arm("charging", CHARGING_WITHIN_S),
        ShowSession(),
    )


def cap_fen(session: Session) -> int:
    """What may be spent: the prepaid money, or less if the driver limited it."""
    limit = session.row.limit
    paid = session.row.paid_fen
    return min(paid, limit.value) if limit.kind == "money" and limit.value else paid


def note_accepted(session: Session, _: Any, __: int) -> Step:
    """The pile starts; charging has to be seen next."""
    return replace(session, is_accepted=True, detail="starting"), (Disarm("answer"), ShowSession())


def wait_for_plug(session: Session, _: Any, __: int) -> Step:
    """No vehicle yet: the pile waits a minute for it, and so does the order."""
    return replace(session, detail="waiting_plug"), (ShowSession(),)


def wait_for_return(session: Session, _: Any, __: int) -> Step:
    """The pile went away with the start and may be charging: give it time to come back."""
    timer = "last_look" if session.is_giving_up else "charging"
    session = replace(
        session, has_waited=True, detail=session.detail if session.is_giving_up else "pile_lost"
    )
    return session, (Arm(timer, RETURN_WITHIN_S), ShowSession())


def ask_what_became(session: Session, _: Any, __: int) -> Step:
    """The pile is back while its start is waited for: ask how the gun stands (YKC 1.6, 8.1)."""
    row = session.row
    session = replace(session, is_pile_online=True)
    effects = (ReadTelemetry(row.pile_code, None, row.gun_no), ShowSession())
    return session, (*effects, Arm("charging", TOLD_WITHIN_S)) if session.has_waited else effects


def look_once_more(session: Session, _: Any, __: int) -> Step:
    """Before giving up: ask the pile once more, and tell it to stop whatever it does."""
    if session.is_giving_up:
        return session, NOTHING
    detail = session.detail if session.detail in ("waiting_plug", "cancelling") else "no_answer"
    return _look(replace(session, is_giving_up=True, detail=detail))


def look_again(session: Session, _: Any, __: int) -> Step:
    """The pile is back while its start is being taken back: now it can hear that."""
    return _look(replace(session, is_pile_online=True))


def _look(session: Session) -> Step:
    row = session.row
    return session, (
        ReadTelemetry(row.pile_code, None, row.gun_no),
        RemoteStop(row.pile_code, None, row.gun_no, row.wire_number),
        Arm("last_look", LAST_LOOK_S),
        ShowSession(),
    )


def take_back(session: Session, event: StopAsked | CancelAsked, now: int) -> Step:
    """The driver changed their mind while it starts."""
    session, write = _cancelled(session, SessionState.STARTING, now)
    session, effects = look_once_more(session, event, now)
    return session, (Persist(write), *effects, Reply(event.command_id, ACCEPTED))


# --- all the money back ---------------------------------------------------------------------------------


def fail_refused(session: Session, event: StartAnswer, now: int) -> Step:
    """0x33 refuses for good."""
    if session.is_cancelled:
        return _fail(session, CANCELLED, now)
    return _fail(session, START_REFUSALS.get(event.reason, f"refused_{event.reason}"), now)


def fail_unsent(session: Session, _: Any, now: int) -> Step:
    """The pile went away before its start frame was written: it cannot be charging."""
    return _fail(session, CANCELLED if session.is_cancelled else "pile_offline", now)


def fail_no_start(session: Session, _: Any, now: int) -> Step:
    """It never charged."""
    if session.is_cancelled:
        return _fail(session, CANCELLED, now)
    if not session.is_pile_online:
        return _fail(session, "pile_offline", now)
    if session.detail == "waiting_plug":
        return _fail(session, "not_plugged", now)
    return _fail(session, "no_start" if session.is_accepted else "no_answer", now)


def return_unstarted(session: Session, _: Any, now: int) -> Step:
    """Paid, and nobody started it, or it was given up while nobody ran."""
    return _fail(session, CANCELLED if session.is_cancelled else "not_started", now)


def cancel_paid(session: Session, event: CancelAsked, now: int) -> Step:
    """The driver gives up a paid order."""
    session, effects = _fail(session, CANCELLED, now)
    return session, (*effects, Reply(event.command_id, ACCEPTED))


def refuse_and_return(session: Session, event: StartAsked, now: int) -> Step:
    """The pile cannot start it: say why, and give everything back without being asked."""
    session, effects = _fail(session, event.refusal, now)
    return session, (*effects, Reply(event.command_id, refused(event.refusal)))


def _fail(session: Session, reason: str, now: int) -> Step:
    row = replace(session.row, start_failure=reason, deadline_at=None, deadline_kind="")
    session = replace(session, row=row, detail=reason, is_giving_up=False)
    ended = tuple(Disarm(name) for name in ("pay", "start_by", "answer", "charging", "last_look"))
    return session, (Persist(FailStart(session.serial, reason, moment(now))), *ended, ShowSession())


# --- refusals -------------------------------------------------------------------------------------------


def refuse_start(session: Session, event: StartAsked, _: int) -> Step:
    """Not at this moment; the order stays as it is."""
    return session, (Reply(event.command_id, refused(event.refusal)),)


def refuse_unfunded(session: Session, event: StartAsked, _: int) -> Step:
    """Nothing starts that is not paid, or given up."""
    return session, (Reply(event.command_id, refused(CANCELLED if session.is_cancelled else "not_funded")),)


def refuse_not_charging(session: Session, event: StopAsked, _: int) -> Step:
    """There is nothing to stop."""
    return session, (Reply(event.command_id, refused("not_charging")),)


def refuse_started(session: Session, event: StartAsked | CancelAsked, _: int) -> Step:
    """It has been started already."""
    return session, (Reply(event.command_id, refused("already_started")),)


def refuse_over(session: Session, event: StartAsked, _: int) -> Step:
    """The order is over."""
    return session, (Reply(event.command_id, refused("order_over")),)


def refuse_not_held(session: Session, event: Any, _: int) -> Step:
    """A person decides about held sessions only."""
    return session, (Reply(event.command_id, refused("not_held")),)


def refuse_unknown(session: Session, event: Any, _: int) -> Step:
    """There is no such decision."""
    return session, (Reply(event.command_id, refused("unknown_decision")),)


def accept_again(session: Session, event: StopAsked | CancelAsked, _: int) -> Step:
    """It is under way already: asking twice is no error."""
    return session, (Reply(event.command_id, ACCEPTED),)


# --- the pile comes and goes ----------------------------------------------------------------------------


def note_lost(session: Session, _: Any, __: int) -> Step:
    """The pile is away; deadlines decide what that means for the order."""
    return replace(session, is_pile_online=False), (ShowSession(),)


def note_back(session: Session, _: Any, __: int) -> Step:
    """The pile is back."""
    return replace(session, is_pile_online=True), (ShowSession(),)
