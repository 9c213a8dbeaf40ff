"""The life of one charge as a transition table, from its order to the last fen.

`step` is pure: `now` is epoch milliseconds (UTC), nothing else comes from outside. Every state that a restart
must know is in a write before anybody outside is told (`Persist`); how money moves is decided by the services
behind those writes, never here. Every pair of state and event has a rule or stands in `IGNORED`.

Sources: YKC 1.6, flows 8.2 to 8.7 and section 10; the order of the states is that of the design.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from pileward.actors import session_charge as charge
from pileward.actors import session_order as order
from pileward.actors import session_settle as settle
from pileward.actors.effects import NOTHING, Effects
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
    StartAsked,
    StartByDue,
    StartUnsent,
    StopAsked,
    StopDue,
    StopWatchDue,
    Written,
)
from pileward.messages import uplinks as up
from pileward.messages.charging import SessionState

S = SessionState
Step = tuple[Session, Effects]
Guard = Callable[[Session, Any, int], bool]
Action = Callable[[Session, Any, int], Step]


class Rule(NamedTuple):
    """One row: in this state, on this event, if the guard holds, do the action.

    `target` None: the action decides, among the states that `TARGETS` lists for it.
    """

    state: SessionState
    event: type
    guard: Guard
    action: Action
    target: SessionState | None


def always(_: Session, __: Any, *_now: int) -> bool:
    """The row holds without condition."""
    return True


def nothing(session: Session, _: Any, __: int) -> Step:
    """Decided: there is nothing to do."""
    return session, NOTHING


BMS: Final = (
    up.BmsHandshake,
    up.BmsConfig,
    up.BmsDemand,
    up.BmsInfo,
    up.BmsChargeEnd,
    up.BmsError,
    up.BmsAbort,
    up.ChargerAbort,
)

SETTLED: Final = frozenset((S.SETTLING, S.REFUNDING, S.CLOSED, S.DISPUTED))
"""Where the result of a settlement may find the order: two may be on their way, one behind the other."""

RULES: Final = (
    #    in            on              if                     do                        go to
    # ordered, not paid
    Rule(S.CREATED, FundedBy, order.is_paid_cancelled, order.return_all_cancelled, S.START_FAILED),
    Rule(S.CREATED, FundedBy, order.is_paid, order.fund, S.FUNDED),
    Rule(S.CREATED, FundedBy, order.is_moved, order.take_trouble, S.CREATED),
    Rule(S.CREATED, FundedBy, always, nothing, S.CREATED),
    Rule(S.CREATED, PayDue, always, order.close_payment, S.CREATED),
    Rule(S.CREATED, PaymentClosed, always, order.cancel_unpaid, S.CANCELLED),
    Rule(S.CREATED, CancelAsked, order.is_cancelled, order.cancel_again, S.CREATED),
    Rule(S.CREATED, CancelAsked, always, order.cancel_asked, S.CREATED),
    Rule(S.CREATED, StartAsked, always, order.refuse_unfunded, S.CREATED),
    Rule(S.CREATED, StopAsked, always, order.refuse_not_charging, S.CREATED),
    Rule(S.CREATED, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.CREATED, Resumed, order.is_cancelled, order.close_payment, S.CREATED),
    Rule(S.CREATED, Resumed, always, nothing, S.CREATED),
    # paid
    Rule(S.FUNDED, StartAsked, order.is_refused_for_now, order.refuse_start, S.FUNDED),
    Rule(S.FUNDED, StartAsked, order.is_refused, order.refuse_and_return, S.START_FAILED),
    Rule(S.FUNDED, StartAsked, always, order.start, S.STARTING),
    Rule(S.FUNDED, StartByDue, always, order.return_unstarted, S.START_FAILED),
    Rule(S.FUNDED, CancelAsked, always, order.cancel_paid, S.START_FAILED),
    Rule(S.FUNDED, StopAsked, always, order.refuse_not_charging, S.FUNDED),
    Rule(S.FUNDED, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.FUNDED, Resumed, order.is_cancelled, order.return_unstarted, S.START_FAILED),
    Rule(S.FUNDED, Resumed, always, nothing, S.FUNDED),
    # the start frame is out
    Rule(S.STARTING, StartUnsent, always, order.fail_unsent, S.START_FAILED),
    Rule(S.STARTING, up.StartAnswer, order.is_accepting, order.note_accepted, S.STARTING),
    Rule(S.STARTING, up.StartAnswer, order.is_unplugged, order.wait_for_plug, S.STARTING),
    Rule(S.STARTING, up.StartAnswer, always, order.fail_refused, S.START_FAILED),
    Rule(S.STARTING, up.Telemetry, charge.began_too_late, charge.begin_and_stop, S.STOPPING),
    Rule(S.STARTING, up.Telemetry, charge.began, charge.begin, S.CHARGING),
    Rule(S.STARTING, up.Telemetry, always, nothing, S.STARTING),
    Rule(S.STARTING, AnswerDue, order.is_accepted, nothing, S.STARTING),
    Rule(S.STARTING, AnswerDue, order.is_away, nothing, S.STARTING),
    Rule(S.STARTING, AnswerDue, always, order.look_once_more, S.STARTING),
    Rule(S.STARTING, ChargingDue, order.may_return, order.wait_for_return, S.STARTING),
    Rule(S.STARTING, ChargingDue, order.stays_away, order.fail_no_start, S.START_FAILED),
    Rule(S.STARTING, ChargingDue, always, order.look_once_more, S.STARTING),
    Rule(S.STARTING, LastLookDue, order.may_return, order.wait_for_return, S.STARTING),
    Rule(S.STARTING, LastLookDue, always, order.fail_no_start, S.START_FAILED),
    Rule(S.STARTING, StopAsked, always, order.take_back, S.STARTING),
    Rule(S.STARTING, CancelAsked, always, order.take_back, S.STARTING),
    Rule(S.STARTING, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.STARTING, PileBack, order.is_giving_up, order.look_again, S.STARTING),
    Rule(S.STARTING, PileBack, always, order.ask_what_became, S.STARTING),
    Rule(S.STARTING, Resumed, order.is_cancelled, order.look_once_more, S.STARTING),
    Rule(S.STARTING, Resumed, order.is_away, nothing, S.STARTING),
    Rule(S.STARTING, Resumed, always, order.ask_what_became, S.STARTING),
    # charging
    Rule(S.CHARGING, up.Telemetry, charge.is_ended, charge.await_record, S.AWAITING_RECORD),
    Rule(S.CHARGING, up.Telemetry, charge.is_other, nothing, S.CHARGING),
    Rule(S.CHARGING, up.Telemetry, charge.is_at_limit, charge.stop_at_limit, S.STOPPING),
    Rule(S.CHARGING, up.Telemetry, always, charge.meter, S.CHARGING),
    Rule(S.CHARGING, LiveDue, charge.is_quiet, charge.ask_quiet, S.CHARGING),
    Rule(S.CHARGING, LiveDue, always, charge.listen_on, S.CHARGING),
    Rule(S.CHARGING, StopAsked, always, charge.stop, S.STOPPING),
    Rule(S.CHARGING, CancelAsked, always, order.refuse_started, S.CHARGING),
    Rule(S.CHARGING, PileLost, always, charge.interrupt, S.INTERRUPTED),
    Rule(S.CHARGING, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.CHARGING, Resumed, order.is_away, charge.interrupt, S.INTERRUPTED),
    Rule(S.CHARGING, Resumed, always, charge.ask_after_return, S.CHARGING),
    # told to stop
    Rule(S.STOPPING, up.StopAnswer, charge.is_stopped, charge.watch_stop, S.STOPPING),
    Rule(S.STOPPING, up.StopAnswer, charge.was_not_charging, charge.await_record, S.AWAITING_RECORD),
    Rule(S.STOPPING, up.StopAnswer, always, nothing, S.STOPPING),
    Rule(S.STOPPING, StopDue, always, charge.stop_again, S.STOPPING),
    Rule(S.STOPPING, StopWatchDue, always, charge.stop_harder, S.STOPPING),
    Rule(S.STOPPING, up.Telemetry, charge.is_ended, charge.await_record, S.AWAITING_RECORD),
    Rule(S.STOPPING, up.Telemetry, charge.is_other, nothing, S.STOPPING),
    Rule(S.STOPPING, up.Telemetry, always, charge.meter, S.STOPPING),
    Rule(S.STOPPING, StopAsked, always, order.accept_again, S.STOPPING),
    Rule(S.STOPPING, CancelAsked, always, order.refuse_started, S.STOPPING),
    Rule(S.STOPPING, PileLost, always, charge.interrupt, S.INTERRUPTED),
    Rule(S.STOPPING, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.STOPPING, Resumed, order.is_away, charge.interrupt, S.INTERRUPTED),
    Rule(S.STOPPING, Resumed, always, charge.stop_anew, S.STOPPING),
    # the pile was lost while it charged
    Rule(S.INTERRUPTED, PileBack, always, charge.ask_after_return, S.INTERRUPTED),
    Rule(S.INTERRUPTED, LiveDue, charge.is_quiet, charge.ask_quiet, S.INTERRUPTED),
    Rule(S.INTERRUPTED, LiveDue, always, charge.listen_on, S.INTERRUPTED),
    Rule(S.INTERRUPTED, up.Telemetry, charge.is_ended, charge.await_record, S.AWAITING_RECORD),
    Rule(S.INTERRUPTED, up.Telemetry, charge.is_other, nothing, S.INTERRUPTED),
    Rule(S.INTERRUPTED, up.Telemetry, charge.wants_stop, charge.go_on_and_stop, S.STOPPING),
    Rule(S.INTERRUPTED, up.Telemetry, always, charge.go_on, S.CHARGING),
    Rule(S.INTERRUPTED, StopAsked, always, charge.stop_later, S.INTERRUPTED),
    Rule(S.INTERRUPTED, CancelAsked, always, order.refuse_started, S.INTERRUPTED),
    Rule(S.INTERRUPTED, ProvisionalDue, always, settle.provisionally, S.SETTLING),
    Rule(S.INTERRUPTED, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.INTERRUPTED, Resumed, order.is_away, nothing, S.INTERRUPTED),
    Rule(S.INTERRUPTED, Resumed, always, charge.ask_after_return, S.INTERRUPTED),
    # ended, the record is on its way
    Rule(S.AWAITING_RECORD, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.AWAITING_RECORD, RecordDue, always, settle.miss_record, S.AWAITING_RECORD),
    Rule(S.AWAITING_RECORD, ProvisionalDue, always, settle.provisionally, S.SETTLING),
    Rule(S.AWAITING_RECORD, up.Telemetry, charge.is_own_and_unwanted, charge.go_on_and_stop, S.STOPPING),
    Rule(S.AWAITING_RECORD, up.Telemetry, charge.is_own_charging, charge.go_on, S.CHARGING),
    Rule(S.AWAITING_RECORD, up.Telemetry, always, nothing, S.AWAITING_RECORD),
    Rule(S.AWAITING_RECORD, StopAsked, always, order.accept_again, S.AWAITING_RECORD),
    Rule(S.AWAITING_RECORD, CancelAsked, always, order.refuse_started, S.AWAITING_RECORD),
    Rule(S.AWAITING_RECORD, Resumed, always, charge.wait_for_record, S.AWAITING_RECORD),
    # the bill is being written; its result says where to go
    Rule(S.SETTLING, RecordArrived, always, settle.settle_too, S.SETTLING),
    Rule(S.SETTLING, StopAsked, always, order.accept_again, S.SETTLING),
    Rule(S.SETTLING, CancelAsked, always, order.refuse_started, S.SETTLING),
    # the rest is on its way back
    Rule(S.REFUNDING, RefundMovedOn, settle.is_last, settle.close, S.CLOSED),
    Rule(S.REFUNDING, RefundMovedOn, always, settle.show, S.REFUNDING),
    Rule(S.REFUNDING, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.REFUNDING, up.Telemetry, charge.is_own_and_provisional, charge.stop_runaway, S.REFUNDING),
    Rule(S.REFUNDING, up.Telemetry, always, nothing, S.REFUNDING),
    Rule(S.REFUNDING, StopAsked, always, order.accept_again, S.REFUNDING),
    Rule(S.REFUNDING, CancelAsked, always, order.refuse_started, S.REFUNDING),
    Rule(S.REFUNDING, Resumed, always, settle.look_for_refunds, S.REFUNDING),
    Rule(S.START_FAILED, RefundMovedOn, settle.is_last, settle.close, S.CLOSED),
    Rule(S.START_FAILED, RefundMovedOn, always, settle.show, S.START_FAILED),
    Rule(S.START_FAILED, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.START_FAILED, up.Telemetry, charge.is_own_charging, charge.stop_runaway, S.START_FAILED),
    Rule(S.START_FAILED, up.Telemetry, always, nothing, S.START_FAILED),
    Rule(S.START_FAILED, StopAsked, always, order.refuse_not_charging, S.START_FAILED),
    Rule(S.START_FAILED, CancelAsked, always, order.accept_again, S.START_FAILED),
    Rule(S.START_FAILED, StartAsked, always, order.refuse_over, S.START_FAILED),
    Rule(S.START_FAILED, Resumed, always, settle.look_for_refunds, S.START_FAILED),
    # held for a person
    Rule(S.DISPUTED, DecisionAsked, settle.is_decision, settle.decide, S.SETTLING),
    Rule(S.DISPUTED, DecisionAsked, always, order.refuse_unknown, S.DISPUTED),
    Rule(S.DISPUTED, RecordArrived, always, settle.by_record, S.SETTLING),
    Rule(S.DISPUTED, RefundMovedOn, always, settle.show, S.DISPUTED),
    Rule(S.DISPUTED, up.Telemetry, charge.is_own_and_provisional, charge.stop_runaway, S.DISPUTED),
    Rule(S.DISPUTED, up.Telemetry, always, nothing, S.DISPUTED),
    Rule(S.DISPUTED, StopAsked, always, order.refuse_not_charging, S.DISPUTED),
    Rule(S.DISPUTED, CancelAsked, always, order.refuse_started, S.DISPUTED),
    # over: the actor is about to exit
    Rule(S.CLOSED, StopAsked, always, order.refuse_not_charging, S.CLOSED),
    Rule(S.CLOSED, CancelAsked, always, order.refuse_started, S.CLOSED),
    Rule(S.CLOSED, StartAsked, always, order.refuse_over, S.CLOSED),
    Rule(S.CLOSED, RecordArrived, always, settle.leave_to_services, S.CLOSED),
    Rule(S.CANCELLED, StopAsked, always, order.refuse_not_charging, S.CANCELLED),
    Rule(S.CANCELLED, CancelAsked, always, order.accept_again, S.CANCELLED),
    Rule(S.CANCELLED, StartAsked, always, order.refuse_over, S.CANCELLED),
    Rule(S.CANCELLED, RecordArrived, always, settle.leave_to_services, S.CANCELLED),
    # wherever it says the same thing
    *(
        Rule(state, kind, always, charge.keep_fact, state)
        for state in (S.STARTING, S.CHARGING, S.STOPPING, S.INTERRUPTED, S.AWAITING_RECORD)
        for kind in BMS
    ),
    *(
        Rule(state, PileLost, always, order.note_lost, state)
        for state in S
        if state not in (S.CHARGING, S.STOPPING)
    ),
    *(
        Rule(state, PileBack, always, order.note_back, state)
        for state in S
        if state not in (S.STARTING, S.INTERRUPTED)
    ),
    *(Rule(state, Written, settle.went_wrong, settle.start_over, state) for state in S),
    *(Rule(state, Written, settle.is_repeated, settle.start_over, state) for state in SETTLED),
    *(Rule(state, Written, settle.is_settlement, settle.take_result, None) for state in SETTLED),
    Rule(S.START_FAILED, Written, settle.is_refunded, settle.tell_refunds, S.START_FAILED),
    Rule(S.START_FAILED, Written, settle.is_penniless, settle.start_over, S.START_FAILED),
    *(Rule(state, Written, always, nothing, state) for state in S),
    *(
        Rule(state, StartAsked, always, order.refuse_started, state)
        for state in (
            S.STARTING,
            S.CHARGING,
            S.STOPPING,
            S.INTERRUPTED,
            S.AWAITING_RECORD,
            S.SETTLING,
            S.REFUNDING,
            S.DISPUTED,
        )
    ),
    *(
        Rule(state, DecisionAsked, always, order.refuse_not_held, state)
        for state in S
        if state is not S.DISPUTED
    ),
)

TARGETS: Final = SETTLED - {S.SETTLING}
"""Where a settlement may lead."""

EVENTS: Final[tuple[type, ...]] = (
    *(Resumed, FundedBy, PaymentClosed, StartAsked, StopAsked, CancelAsked, DecisionAsked, StartUnsent),
    *(PileLost, PileBack, RecordArrived, RefundMovedOn, Written, PayDue, StartByDue, AnswerDue, ChargingDue),
    *(LastLookDue, LiveDue, StopDue, StopWatchDue, RecordDue, ProvisionalDue),
    *(up.StartAnswer, up.StopAnswer, up.Telemetry),
    *BMS,
)

_TIMER_ENDED = "the deadline ended with the state it belonged to"
_TIMERS = (
    PayDue,
    StartByDue,
    AnswerDue,
    ChargingDue,
    LastLookDue,
    LiveDue,
    StopDue,
    StopWatchDue,
    RecordDue,
    ProvisionalDue,
)
_DECIDED: Final = frozenset((rule.state, rule.event) for rule in RULES)

_REASONS: Final[dict[tuple[SessionState, type], str]] = {
    **{(state, kind): _TIMER_ENDED for state in S for kind in _TIMERS},
    **{(state, kind): "the vehicle speaks of a charge that is over" for state in S for kind in BMS},
    **{(state, FundedBy): "known: notification and query say the same twice" for state in S},
    **{(state, PaymentClosed): "the order is further on" for state in S},
    **{(state, RefundMovedOn): "nothing of this order is on its way back" for state in S},
    **{(state, up.StartAnswer): "a late or repeated answer; what the gun does counts" for state in S},
    **{(state, up.StopAnswer): "nothing was told to stop" for state in S},
    **{(state, up.Telemetry): "the gun's state, not this charge's" for state in S},
    **{(state, StartUnsent): "no start is waited for" for state in S},
    **{(state, Resumed): "nothing is under way" for state in S},
    (S.SETTLING, Resumed): "no row is ever in this state",
    (S.SETTLING, RefundMovedOn): "the result of the settlement says what is left to return",
}

IGNORED: Final = {pair: reason for pair, reason in _REASONS.items() if pair not in _DECIDED}

_BY_STATE: Final[dict[SessionState, dict[type, tuple[Rule, ...]]]] = {
    state: {
        event: tuple(rule for rule in RULES if rule.state is state and rule.event is event)
        for event in {rule.event for rule in RULES if rule.state is state}
    }
    for state in S
}


def step(session: Session, event: Any, now: int) -> Step:
    """Take one event; the whole machine. Ignored pairs change nothing; the shell counts them."""
    state = session.row.state
    for rule in _BY_STATE[state].get(type(event), ()):
        if rule.guard(session, event, now):
            after, effects = rule.action(session, event, now)
            if rule.target is None:
                assert after.row.state in TARGETS, after.row.state
            elif after.row.state is not rule.target:
                after = replace(after, row=replace(after.row, state=rule.target))
            return after, effects
    assert (state, type(event)) in IGNORED, f"no rule for {type(event).__name__} in {state.name}"
    return session, NOTHING


def is_decided(state: SessionState, event: type) -> bool:
    """Whether a rule, rather than a reason to ignore, answers to this pair."""
    return (state, event) in _DECIDED
