"""A charge and what can happen to it, as plain values to test its machine with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from pileward.actors import effects as fx
from pileward.actors.session_machine import BMS, step
from pileward.actors.session_state import (
    AnswerDue,
    CancelAsked,
    ChargingDue,
    DecisionAsked,
    FundedBy,
    LastLookDue,
    LiveDue,
    PayDue,
    PaymentClosed,
    PileBack,
    PileLost,
    ProvisionalDue,
    RecordArrived,
    RecordDue,
    RefundMovedOn,
    Resumed,
    Session,
    Spending,
    StartAsked,
    StartByDue,
    StartUnsent,
    StopAsked,
    StopDue,
    StopWatchDue,
    Written,
    new_session,
)
from pileward.messages import uplinks as up
from pileward.messages.charging import Bill, PaymentVerdict, RefundStep, SessionRow, SessionState
from pileward.messages.charging_writes import (
    CancelSession,
    FailStart,
    MoveSession,
    PaymentConfirmed,
    RecordUnmatched,
    RefundMoved,
    SessionMoved,
    Settled,
    SettleRecord,
    StartFailedDone,
)
from pileward.messages.downlinks import Downlink
from pileward.services.records import RecordResult, RecordState
from pileward.values import Rate, RatePrice, ReportedStatus, TariffModel
from tests.piles import CODE, MOMENT, NOW, telemetry, uplink

S = SessionState
SERIAL: Final = "26030112050601000007"
WIRE: Final = f"{CODE}012603011205060007"
OTHER_WIRE: Final = f"{CODE}012603011305060008"
PAID_FEN: Final = 5_000
DRIVER_ID: Final = 7

TARIFF: Final = TariffModel(
    "0100",
    (
        RatePrice(120_000, 30_000),
        RatePrice(100_000, 30_000),
        RatePrice(70_000, 30_000),
        RatePrice(40_000, 30_000),
    ),
    (Rate.VALLEY,) * 14 + (Rate.PEAK,) * 22 + (Rate.FLAT,) * 12,
)
"""1.50, 1.30, 1.00 and 0.70 yuan/kWh; MOMENT (12:05 in China) is at the peak."""


def later(seconds: float) -> datetime:
    """A moment after MOMENT."""
    return MOMENT + timedelta(seconds=seconds)


def at(seconds: float) -> int:
    """The same as the machine counts it."""
    return NOW + round(seconds * 1000)


def order(**changes: Any) -> SessionRow:
    """An order of 50.00 yuan at gun 1, not paid yet."""
    plain = SessionRow(
        serial=SERIAL,
        operator_id=1,
        driver_id=DRIVER_ID,
        station_id=1,
        pile_code=CODE,
        gun_no=1,
        protocol="ykc",
        wire_number=WIRE,
        tariff=TARIFF,
        prepaid_fen=PAID_FEN,
        out_trade_no=f"P{SERIAL}-1",
        requested_at=MOMENT,
    )
    return replace(plain, **changes)


_PAID: Final = {"paid_fen": PAID_FEN, "funded_at": MOMENT}
_BEGUN: Final = {**_PAID, "started_at": MOMENT, "live_at": MOMENT}
_BILL: Final = Bill(energy_e4_kwh=100_000, electricity_fen=1_000, service_fen=300, total_fen=1_300, lines=())

ROWS: Final[dict[SessionState, dict[str, Any]]] = {
    S.CREATED: {},
    S.FUNDED: _PAID,
    S.STARTING: {**_PAID, "deadline_at": later(90), "deadline_kind": "charging"},
    S.CHARGING: _BEGUN,
    S.STOPPING: {**_BEGUN, "stop_reason": "remote"},
    S.AWAITING_RECORD: {**_BEGUN, "deadline_at": later(86_400), "deadline_kind": "provisional"},
    S.SETTLING: {**_BEGUN, "ended_at": MOMENT},
    S.REFUNDING: {**_BEGUN, "ended_at": MOMENT, "bill": _BILL, "refund_fen": 3_700},
    S.CLOSED: {**_BEGUN, "ended_at": MOMENT, "bill": _BILL, "refund_fen": 3_700},
    S.START_FAILED: {**_PAID, "start_failure": "no_start", "refund_fen": PAID_FEN},
    S.INTERRUPTED: {**_BEGUN, "deadline_at": later(86_400), "deadline_kind": "provisional"},
    S.DISPUTED: {**_BEGUN, "bill": _BILL, "is_held": True, "held_reason": "excess"},
    S.CANCELLED: {"start_failure": "unpaid"},
}
"""What a row has in each state, beside what every order has."""


def session(
    state: SessionState, *, is_online: bool = True, spending: Spending | None = None, **changes: Any
) -> Session:
    """A charge in a state; changes are those of its row."""
    row = order(**{"state": state, **ROWS[state], **changes})
    return new_session(row, is_pile_online=is_online, spending=spending or Spending())


def said(status: ReportedStatus = ReportedStatus.CHARGING, number: str = WIRE, **values: Any) -> up.Telemetry:
    """What the gun reports: 10 kWh so far, 37.8 kW, no money, unless told otherwise."""
    plain: dict[str, Any] = {"energy_e4_kwh": 100_000, "amount_e4_yuan": 0, "charged_s": 960}
    return telemetry(1, status, is_plugged=True, wire_number=number, **{**plain, **values})


def start_answer(reason: int = 0, number: str = WIRE) -> up.StartAnswer:
    """0x33: accepted, or refused for this reason."""
    return up.StartAnswer(CODE, 4, 1, number, is_accepted=reason == 0, reason=reason)


def stop_answer(reason: int = 0) -> up.StopAnswer:
    """0x35: accepted, or refused for this reason."""
    return up.StopAnswer(CODE, 5, 1, is_accepted=reason == 0, reason=reason)


def funded(
    verdict: PaymentVerdict = PaymentVerdict.PAID, state: SessionState | None = S.FUNDED, **more: Any
) -> FundedBy:
    """Money arrived."""
    return FundedBy(PaymentConfirmed(SERIAL, True, verdict, state, **more))


def record_arrived(first_id: int = 5) -> RecordArrived:
    """The record is durable."""
    return RecordArrived(None, RecordResult(RecordState.STORED, first_id, first_id))


def refund_moved(*, is_last: bool = False, step: RefundStep = RefundStep.SUCCEEDED) -> RefundMovedOn:
    """A refund is further on."""
    return RefundMovedOn(RefundMoved(SERIAL, True, step, is_last, S.CLOSED if is_last else S.REFUNDING))


def settled(state: SessionState = S.REFUNDING, **changes: Any) -> Written:
    """A bill of 13.00 yuan is durable."""
    plain = Settled(
        serial=SERIAL,
        is_first=True,
        state=state,
        bill=_BILL,
        out_refund_no=f"R{SERIAL}-1" if state is S.REFUNDING else None,
        refund_fen=3_700 if state is S.REFUNDING else 0,
        debt_fen=0,
        excess_fen=0,
        is_held=state is S.DISPUTED,
        reason="excess" if state is S.DISPUTED else "",
    )
    return Written(SettleRecord(5, MOMENT), replace(plain, **changes))


def moved(*, is_done: bool = True, state: SessionState = S.CHARGING) -> Written:
    """A move is durable, or found the row elsewhere."""
    return Written(MoveSession(SERIAL, frozenset(), state, MOMENT), SessionMoved(is_done, state))


def failed(out_refund_no: str | None = f"R{SERIAL}-1", *, is_done: bool = True) -> Written:
    """A failed start is durable."""
    result = StartFailedDone(is_done, S.START_FAILED, out_refund_no, PAID_FEN if out_refund_no else 0)
    return Written(FailStart(SERIAL, "no_start", MOMENT), result)


def every_event() -> list[Any]:
    """Events of every type that the machine knows, in all the forms that it tells apart."""
    statuses = (said(status, number) for status in ReportedStatus for number in (WIRE, OTHER_WIRE, ""))
    return [
        *(Resumed(), PaymentClosed(), StartUnsent(), PileLost("silent"), PileBack(), record_arrived()),
        *(StartAsked(1), StartAsked(1, "gun_fault"), StartAsked(1, "tariff_pending")),
        *(StopAsked(1, "user"), StopAsked(1, "operator"), CancelAsked(1)),
        *(DecisionAsked(1, "accept", "token:1", ""), DecisionAsked(1, "magic", "token:1", "")),
        *(funded(), funded(PaymentVerdict.DUPLICATE, S.CREATED)),
        *(funded(PaymentVerdict.MISMATCH, S.DISPUTED, reason="payer"), funded(state=S.CHARGING)),
        *(refund_moved(), refund_moved(is_last=True)),
        *(settled(), settled(S.CLOSED), settled(S.DISPUTED), settled(is_first=False)),
        *(moved(), moved(is_done=False), failed(), failed(None), failed(is_done=False)),
        Written(SettleRecord(5, MOMENT), RecordUnmatched(5)),
        Written(CancelSession(SERIAL, "unpaid", MOMENT), SessionMoved(True, S.CANCELLED)),
        *(PayDue(), StartByDue(), AnswerDue(), ChargingDue(), LastLookDue(), LiveDue()),
        *(StopDue(), StopWatchDue(), RecordDue(), ProvisionalDue()),
        *(start_answer(reason) for reason in range(7)),
        *(stop_answer(reason) for reason in range(4)),
        *statuses,
        said(energy_e4_kwh=9_000_000),
        *(uplink(kind, wire_number=WIRE) for kind in BMS),
    ]


def every_session() -> list[Session]:
    """Charges in every state, in all the forms that the machine tells apart."""
    found = []
    for state in S:
        for is_online in (True, False):
            plain = session(state, is_online=is_online)
            row = plain.row
            found += [
                plain,
                replace(plain, is_accepted=True, detail="starting"),
                replace(plain, is_giving_up=True, detail="no_answer"),
                replace(plain, has_waited=True),
                replace(plain, is_giving_up=True, has_waited=True),
                replace(plain, detail="waiting_plug"),
                replace(plain, stop_attempts=3, telemetry_ms=NOW - 1_000),
                replace(plain, row=replace(row, start_failure="cancelled")),
                replace(plain, row=replace(row, stop_reason="remote")),
                replace(plain, row=replace(row, is_provisional=True)),
            ]
    return found


def after(charge: Session, *events: Any, now: int = NOW) -> Session:
    """The charge after some events, whatever they brought about."""
    for event in events:
        charge, _ = step(charge, event, now)
    return charge


def words(effects: Any) -> str:
    """Effects in short: `=` a write that is waited for, `~` another one, `+` and `-` timers, `!` alarms."""
    return " ".join(filter(None, (_word(effect) for effect in effects)))


def _word(effect: Any) -> str:
    match effect:
        case fx.ShowSession():
            return ""
        case fx.Persist(write=write):
            return f"={_write(write)}"
        case fx.Note(write=write):
            return f"~{type(write).__name__}"
        case fx.Arm(timer=name, after_s=after_s):
            return f"+{name}:{after_s:g}"
        case fx.Disarm(timer=name):
            return f"-{name}"
        case fx.Reply(outcome=outcome):
            return f"reply:{outcome.reason or outcome.status}"
        case fx.Raise(kind=kind):
            return f"!{kind}"
        case fx.Clear(kind=kind):
            return f"ok:{kind}"
        case fx.TellPayments(message=message) | fx.TellRefunds(message=message):
            return type(message).__name__
        case Downlink() | fx.Reload():
            return type(effect).__name__
    raise AssertionError(effect)


def _write(write: Any) -> str:
    if isinstance(write, MoveSession):
        return write.state.name
    return type(write).__name__
