"""The session's table: every pair decided, every row reached, steps pure; then each flow as aligned rows.

In the rows stand what happens, the state after it, and what is done about it: `=` a write that what follows
waits for, `~` another write, `+name:seconds` and `-name` timers, `!` an alarm, `ok:` its end.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from pileward.actors import session as shell
from pileward.actors.effects import Persist, Reload, Reply, ShowSession
from pileward.actors.session_machine import (
    _BY_STATE,
    BMS,
    EVENTS,
    IGNORED,
    RULES,
    TARGETS,
    Rule,
    always,
    is_decided,
    step,
)
from pileward.actors.session_order import cap_fen
from pileward.actors.session_state import (
    START_REFUSALS,
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
)
from pileward.http.words import START_FAILURES, STOP_REASONS, WAITING
from pileward.messages import uplinks as up
from pileward.messages.charging import ChargeLimit, LimitKind, PaymentVerdict, SessionState
from pileward.messages.charging_writes import (
    SESSION_COLUMNS,
    FailStart,
    KeepFact,
    MoveSession,
    OpenReview,
    SaveLive,
    SettleRecord,
    SettleSession,
)
from pileward.messages.downlinks import RemoteStart, RemoteStop
from pileward.values import Rate, ReportedStatus
from tests.orders import (
    OTHER_WIRE,
    PAID_FEN,
    SERIAL,
    WIRE,
    after,
    at,
    every_event,
    every_session,
    failed,
    funded,
    later,
    moved,
    record_arrived,
    refund_moved,
    said,
    session,
    settled,
    start_answer,
    stop_answer,
    words,
)
from tests.piles import CODE, MOMENT, NOW, of, uplink

S = SessionState
PAIRS = list(itertools.product(S, EVENTS))
STEPS = [
    (charge, event, *step(charge, event, NOW))
    for charge, event in itertools.product(every_session(), every_event())
]
"""Every charge and every event in all their forms: charge, event, the charge after it, what is done."""
IDLE, PLUGGED, FINISHED = ReportedStatus.IDLE, ReportedStatus.PLUGGED, ReportedStatus.FINISHED
FAULT, SILENT, UNKNOWN = ReportedStatus.FAULT, ReportedStatus.OFFLINE, ReportedStatus.UNKNOWN


def rules_of(state: SessionState, event: type) -> tuple[Rule, ...]:
    return _BY_STATE[state].get(event, ())


def story(charge: Session, *rows: tuple[Any, str, str], now: int = NOW) -> Session:
    """Let the events of some rows happen, one after the other, and compare each with its row."""
    for event, state, done in rows:
        charge, effects = step(charge, event, now)
        assert (charge.state.word, words(effects)) == (state, done), event
    return charge


# --- the table ------------------------------------------------------------------------------------------


def test_every_pair_has_exactly_one_decision() -> None:
    for state, event in PAIRS:
        assert bool(rules_of(state, event)) is not ((state, event) in IGNORED), (state, event)
        assert is_decided(state, event) is ((state, event) not in IGNORED)


def test_the_table_knows_no_other_pairs() -> None:
    assert {(rule.state, rule.event) for rule in RULES} | set(IGNORED) == set(PAIRS)
    assert all(reason.strip() for reason in IGNORED.values())
    assert len(set(RULES)) == len(RULES)


def test_no_event_falls_through_and_no_row_stands_behind_one_that_always_holds() -> None:
    for state, event in PAIRS:
        guards = [rule.guard for rule in rules_of(state, event)]
        assert always not in guards[:-1], (state, event)
        assert not guards or guards[-1] is always, (state, event)
        assert len(set(guards)) == len(guards), (state, event)


def test_every_row_is_reached() -> None:
    reached = set()
    for charge, event, _, __ in STEPS:
        rules = rules_of(charge.state, type(event))
        chosen = next((rule for rule in rules if rule.guard(charge, event, NOW)), None)
        if chosen is not None:
            reached.add(chosen)
    missed = [rule for rule in RULES if rule not in reached]
    assert missed == []


def test_samples_are_of_every_event() -> None:
    assert {type(event) for event in every_event()} == set(EVENTS)


def test_a_step_is_pure_and_goes_where_its_row_says() -> None:
    for charge, event, after_it, effects in STEPS:
        assert step(charge, event, NOW) == (after_it, effects)
        targets = {rule.target for rule in rules_of(charge.state, type(event))}
        if (charge.state, type(event)) in IGNORED:
            assert after_it is charge
            assert effects == ()
        elif after_it.state not in targets:
            assert None in targets
            assert after_it.state in TARGETS


def test_what_a_step_wants_can_be_performed() -> None:
    known = {*shell._PERFORM, Persist, ShowSession}
    asked = (StartAsked, StopAsked, CancelAsked, DecisionAsked)
    for charge, event, after_it, effects in STEPS:
        assert {type(effect) for effect in effects} <= known
        assert len(of(Persist, effects)) <= 1
        assert len(of(Reply, effects)) == isinstance(event, asked), (charge.state, event)
        for write in (effect.write for effect in of(Persist, effects)):
            assert write.serial == SERIAL if not isinstance(write, SettleRecord) else write.record_id == 5
            if isinstance(write, MoveSession):
                assert write.state is after_it.state
                assert charge.state in write.from_states
                assert write.changes.keys() <= SESSION_COLUMNS


def test_every_change_of_state_is_written_or_was_written_by_what_told_of_it() -> None:
    told = (FundedBy, RefundMovedOn, Written)
    for charge, event, after_it, effects in STEPS:
        if after_it.state is not charge.state and not isinstance(event, told):
            assert of(Persist, effects), (charge.state, event)


def test_a_start_frame_is_always_behind_its_write_and_never_repeated() -> None:
    for charge, _, __, effects in STEPS:
        if of(RemoteStart, effects):
            assert charge.state is S.FUNDED
            assert isinstance(effects[0], Persist)


def test_timers_are_known_to_the_shell() -> None:
    for _, __, ___, effects in STEPS:
        for word in words(effects).split():
            if word[0] in "+-":
                assert word[1:].partition(":")[0] in shell._TIMERS


# --- ordered and paid -----------------------------------------------------------------------------------


def test_an_order_is_paid_and_started() -> None:
    charge = story(
        session(S.CREATED),
        (StartAsked(1),                     "created",  "reply:not_funded"),
        (StopAsked(2, "user"),              "created",  "reply:not_charging"),
        (funded(),                          "funded",   "-pay +start_by:900"),
        (funded(),                          "funded",   ""),
        (StopAsked(3, "user"),              "funded",   "reply:not_charging"),
        (StartAsked(4),                     "starting",
         "=STARTING RemoteStart reply:accepted -start_by +answer:70 +charging:90"),
        (StartAsked(5),                     "starting", "reply:already_started"),
        (moved(state=S.STARTING),           "starting", ""),
    )  # fmt: skip
    assert charge.row.paid_fen == PAID_FEN
    assert charge.row.funded_at == MOMENT
    assert charge.row.deadline_at == later(90)


def test_the_start_frame_carries_the_number_and_what_may_be_spent() -> None:
    charge, effects = step(session(S.FUNDED), StartAsked(1), NOW)
    [frame] = of(RemoteStart, effects)
    assert (frame.pile_code, frame.gun_no, frame.wire_number, frame.balance_fen) == (CODE, 1, WIRE, PAID_FEN)
    [persist] = of(Persist, effects)
    assert persist.write.changes == {"deadline_at": later(90), "deadline_kind": "charging"}
    assert charge.row.deadline_kind == "charging"


def test_an_order_that_is_not_paid_in_time_is_closed_at_the_provider_first() -> None:
    charge = story(
        session(S.CREATED),
        (PayDue(),                          "created",   "ClosePayment +pay:600"),
        (PayDue(),                          "created",   "ClosePayment +pay:600"),
        (PaymentClosed(),                   "cancelled", "=CancelSession -pay"),
        (CancelAsked(1),                    "cancelled", "reply:accepted"),
        (StartAsked(2),                     "cancelled", "reply:order_over"),
    )  # fmt: skip
    assert charge.row.start_failure == "unpaid"


def test_paid_at_the_last_moment_is_paid() -> None:
    story(
        session(S.CREATED),
        (PayDue(),                          "created",   "ClosePayment +pay:600"),
        (funded(),                          "funded",    "-pay +start_by:900"),
    )  # fmt: skip


def test_cancelled_before_it_is_paid() -> None:
    charge = story(
        session(S.CREATED),
        (CancelAsked(1),                    "created",   "=CREATED ClosePayment reply:accepted"),
        (StartAsked(2),                     "created",   "reply:cancelled"),
        (CancelAsked(3),                    "created",   "ClosePayment reply:accepted"),
        (PaymentClosed(),                   "cancelled", "=CancelSession -pay"),
    )  # fmt: skip
    assert charge.row.start_failure == "cancelled"


def test_cancelled_and_paid_all_the_same_goes_back_whole() -> None:
    charge = story(
        session(S.CREATED),
        (CancelAsked(1),                    "created",      "=CREATED ClosePayment reply:accepted"),
        (funded(),                          "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
        (failed(),                          "start_failed", "RefundsWaiting"),
        (refund_moved(),                    "start_failed", ""),
        (refund_moved(is_last=True),        "closed",       "ok:charging_after_end"),
    )  # fmt: skip
    assert (charge.row.paid_fen, charge.row.refund_fen) == (PAID_FEN, PAID_FEN)


def test_a_cancelled_order_was_found_paid_when_its_closing_was_written() -> None:
    story(
        session(S.CREATED),
        (PaymentClosed(),                   "cancelled", "=CancelSession -pay"),
        (funded(),                          "cancelled", ""),
        (moved(is_done=False, state=S.FUNDED), "cancelled", "Reload"),
    )  # fmt: skip


@pytest.mark.parametrize(("verdict", "state", "done"), [
    (PaymentVerdict.MISMATCH,  S.DISPUTED,     "!session_held Reload"),
    (PaymentVerdict.PAID,      S.START_FAILED, "Reload"),
    (PaymentVerdict.PAID,      S.CHARGING,     "Reload"),
    (PaymentVerdict.LATE,      S.CANCELLED,    "Reload"),
    (PaymentVerdict.DUPLICATE, S.CREATED,      ""),
    (PaymentVerdict.UNKNOWN,   None,           ""),
])  # fmt: skip
def test_money_that_does_not_fund_the_order(
    verdict: PaymentVerdict, state: SessionState | None, done: str
) -> None:
    story(session(S.CREATED), (funded(verdict, state), "created", done))


def test_a_paid_order_that_nobody_starts_goes_back() -> None:
    charge = story(
        session(S.FUNDED),
        (StartByDue(),                      "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
        (CancelAsked(1),                    "start_failed", "reply:accepted"),
        (StopAsked(2, "user"),              "start_failed", "reply:not_charging"),
        (StartAsked(3),                     "start_failed", "reply:order_over"),
    )  # fmt: skip
    assert charge.row.start_failure == "not_started"


def test_a_paid_order_is_cancelled() -> None:
    charge = story(
        session(S.FUNDED),
        (CancelAsked(1),                    "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look reply:accepted"),
    )  # fmt: skip
    assert charge.row.start_failure == "cancelled"


def test_a_failed_start_without_money_is_over_at_once() -> None:
    story(
        session(S.START_FAILED, paid_fen=0),
        (failed(None),                      "start_failed", "Reload"),
    )  # fmt: skip


# --- starting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("refusal", "state", "done"), [
    ("tariff_pending", "funded",       "reply:tariff_pending"),
    ("store_busy",     "funded",       "reply:store_busy"),
    ("gun_busy",       "start_failed", "reply:gun_busy"),
    ("gun_fault",      "start_failed", "reply:gun_fault"),
    ("gun_offline",    "start_failed", "reply:gun_offline"),
    ("pile_offline",   "start_failed", "reply:pile_offline"),
    ("in_maintenance", "start_failed", "reply:in_maintenance"),
    ("unknown_gun",    "start_failed", "reply:unknown_gun"),
])  # fmt: skip
def test_what_the_pile_has_against_a_start(refusal: str, state: str, done: str) -> None:
    charge, effects = step(session(S.FUNDED), StartAsked(1, refusal), NOW)
    assert charge.state.word == state
    assert words(effects).split()[-1] == done
    if state == "start_failed":
        [persist] = of(Persist, effects)
        assert persist.write == FailStart(SERIAL, refusal, MOMENT)
        assert effects.index(persist) == 0  # the refusal is told when all the money is on its way back


@pytest.mark.parametrize(("reason", "failure"), [
    (1, "pile_mismatch"),
    (2, "already_charging"),
    (3, "device_fault"),
    (4, "device_offline"),
    (6, "refused_6"),
])  # fmt: skip
def test_the_pile_refuses_to_start(reason: int, failure: str) -> None:
    charge = story(
        session(S.STARTING),
        (start_answer(reason),              "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
    )  # fmt: skip
    assert charge.row.start_failure == failure == START_REFUSALS.get(reason, failure)


def test_the_pile_accepts_and_charges() -> None:
    charge = story(
        session(S.STARTING),
        (start_answer(),                    "starting", "-answer"),
        (AnswerDue(),                       "starting", ""),
        (said(PLUGGED, ""),                 "starting", ""),
        (said(number=OTHER_WIRE),           "starting", ""),
        (said(),                            "charging", "=CHARGING -answer -charging -last_look +live:60"),
        (start_answer(),                    "charging", ""),
        (CancelAsked(1),                    "charging", "reply:already_started"),
        (StartAsked(2),                     "charging", "reply:already_started"),
    )  # fmt: skip
    assert charge.row.started_at == MOMENT
    assert (charge.row.deadline_at, charge.row.deadline_kind) == (None, "")


def test_charging_that_is_seen_counts_without_an_answer() -> None:
    story(
        session(S.STARTING),
        (said(),                            "charging", "=CHARGING -answer -charging -last_look +live:60"),
    )  # fmt: skip


def test_late_plug_in() -> None:
    charge = story(
        session(S.STARTING),
        (start_answer(5),                   "starting", ""),
        (start_answer(),                    "starting", "-answer"),
        (said(),                            "charging", "=CHARGING -answer -charging -last_look +live:60"),
    )  # fmt: skip
    assert after(session(S.STARTING), start_answer(5)).detail == "waiting_plug"
    assert charge.detail == ""


def test_nobody_plugs_in() -> None:
    charge = story(
        session(S.STARTING),
        (start_answer(5),                   "starting",     ""),
        (AnswerDue(),                       "starting",     "ReadTelemetry RemoteStop +last_look:10"),
        (ChargingDue(),                     "starting",     ""),
        (said(IDLE, ""),                    "starting",     ""),
        (LastLookDue(),                     "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
    )  # fmt: skip
    assert charge.row.start_failure == "not_plugged"


@pytest.mark.parametrize(("events", "failure"), [
    ((AnswerDue(), LastLookDue()),                                   "no_answer"),
    ((ChargingDue(), LastLookDue()),                                 "no_answer"),
    ((start_answer(), ChargingDue(), LastLookDue()),                 "no_start"),
    ((start_answer(5), AnswerDue(), LastLookDue()),                  "not_plugged"),
    ((start_answer(5), AnswerDue(), start_answer(5)),                "not_plugged"),
    ((AnswerDue(), start_answer(3)),                                 "device_fault"),
    ((StartUnsent(),),                                               "pile_offline"),
    ((PileLost("silent"), ChargingDue(), ChargingDue()),             "pile_offline"),
    ((PileLost("silent"), AnswerDue(), ChargingDue(), ChargingDue()), "pile_offline"),
    ((StopAsked(1, "user"), LastLookDue()),                          "cancelled"),
    ((CancelAsked(1), LastLookDue()),                                "cancelled"),
    ((CancelAsked(1), start_answer(3)),                              "cancelled"),
    ((CancelAsked(1), StartUnsent()),                                "cancelled"),
    ((PileLost("silent"), CancelAsked(1), LastLookDue(), LastLookDue()), "cancelled"),
])  # fmt: skip
def test_every_way_a_start_fails(events: tuple[Any, ...], failure: str) -> None:
    charge = after(session(S.STARTING), *events[:-1])
    assert charge.state is S.STARTING
    charge, effects = step(charge, events[-1], NOW)
    assert charge.state is S.START_FAILED
    assert [effect.write for effect in of(Persist, effects)] == [FailStart(SERIAL, failure, MOMENT)]
    assert failure in START_FAILURES


def test_a_driver_who_changes_their_mind_while_it_starts() -> None:
    charge = story(
        session(S.STARTING),
        (CancelAsked(1),                    "starting",
         "=STARTING ReadTelemetry RemoteStop +last_look:10 reply:accepted"),
        (StopAsked(2, "user"),              "starting",     "=STARTING reply:accepted"),
        (start_answer(),                    "starting",     "-answer"),
        (LastLookDue(),                     "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
    )  # fmt: skip
    assert charge.row.start_failure == "cancelled"


def test_it_begins_when_the_start_is_already_taken_back() -> None:
    charge = story(
        session(S.STARTING),
        (CancelAsked(1),                    "starting",
         "=STARTING ReadTelemetry RemoteStop +last_look:10 reply:accepted"),
        (said(),                            "stopping",
         "=STOPPING -answer -charging -last_look RemoteStop +stop:10"),
        (record_arrived(),                  "settling",     SETTLING_WORDS),
    )  # fmt: skip
    assert (charge.row.stop_reason, charge.row.start_failure) == ("remote", "")


SETTLING_WORDS = (
    "=SettleRecord -pay -start_by -answer -charging -last_look -live -stop -stop_watch -record -provisional"
    " ok:record_missing ok:stop_failed ok:charging_after_end"
)


def test_a_pile_that_left_with_the_start_comes_back_charging() -> None:
    story(
        session(S.STARTING),
        (PileLost("silent"),                "starting", ""),
        (AnswerDue(),                       "starting", ""),
        (ChargingDue(),                     "starting", "+charging:300"),
        (PileBack(),                        "starting", "ReadTelemetry +charging:20"),
        (said(),                            "charging", "=CHARGING -answer -charging -last_look +live:60"),
    )  # fmt: skip


def test_a_pile_that_left_with_the_start_comes_back_idle() -> None:
    charge = story(
        session(S.STARTING),
        (PileLost("silent"),                "starting", ""),
        (ChargingDue(),                     "starting", "+charging:300"),
        (PileBack(),                        "starting", "ReadTelemetry +charging:20"),
        (said(IDLE, ""),                    "starting", ""),
        (ChargingDue(),                     "starting", "ReadTelemetry RemoteStop +last_look:10"),
        (LastLookDue(),                     "start_failed",
         "=FailStart -pay -start_by -answer -charging -last_look"),
    )  # fmt: skip
    assert charge.row.start_failure == "no_answer"


def test_a_pile_that_left_for_a_moment_is_asked_and_the_deadline_stands() -> None:
    story(
        session(S.STARTING),
        (PileLost("peer_closed"),           "starting", ""),
        (PileBack(),                        "starting", "ReadTelemetry"),
        (said(),                            "charging", "=CHARGING -answer -charging -last_look +live:60"),
    )  # fmt: skip


def test_a_start_that_is_taken_back_while_the_pile_is_away_is_stopped_on_its_return() -> None:
    story(
        session(S.STARTING),
        (PileLost("silent"),                "starting", ""),
        (CancelAsked(1),                    "starting",
         "=STARTING ReadTelemetry RemoteStop +last_look:10 reply:accepted"),
        (LastLookDue(),                     "starting", "+last_look:300"),
        (PileBack(),                        "starting", "ReadTelemetry RemoteStop +last_look:10"),
        (said(),                            "stopping",
         "=STOPPING -answer -charging -last_look RemoteStop +stop:10"),
    )  # fmt: skip


def test_a_gun_that_charges_for_a_failed_start_is_stopped_with_an_alarm() -> None:
    story(
        session(S.START_FAILED),
        (said(IDLE, ""),                    "start_failed", ""),
        (said(number=OTHER_WIRE),           "start_failed", ""),
        (said(),                            "start_failed", "RemoteStop !charging_after_end"),
        (said(),                            "start_failed", "RemoteStop !charging_after_end"),
        (record_arrived(),                  "settling",     SETTLING_WORDS),
        (failed(),                          "settling",     ""),
    )  # fmt: skip


# --- metering and limits --------------------------------------------------------------------------------


def test_live_values_are_shown_at_once_and_saved_now_and_then() -> None:
    charge = session(S.CHARGING)
    done = []
    for seconds in (15, 20, 25, 30, 35, 40):
        report = said(energy_e4_kwh=1_000 * seconds)
        charge, effects = step(charge, report, at(seconds))
        assert of(ShowSession, effects)
        done.append(words(effects))
    assert done == ["~SaveLive", "", "~SaveLive", "", "~SaveLive", ""]
    assert (charge.row.energy_e4_kwh, charge.row.live_at, charge.row.soc_pct) == (40_000, later(40), 78)
    assert charge.row.rate_energy_e4_kwh == (0, 40_000, 0, 0)
    _, effects = step(charge, said(energy_e4_kwh=50_000, amount_e4_yuan=65_000), at(50))
    [save] = [effect.write for effect in effects if words([effect]) == "~SaveLive"]
    assert save == SaveLive(SERIAL, later(50), 50_000, 65_000, 78, (0, 50_000, 0, 0))


@pytest.mark.parametrize(("told", "energy", "amount", "soc"), [
    ({"energy_e4_kwh": 120_000, "amount_e4_yuan": 9}, 120_000, 10, 79),
    ({"energy_e4_kwh": 90_000,  "amount_e4_yuan": 5}, 100_000, 10, 79),
    ({"energy_e4_kwh": None,    "amount_e4_yuan": None}, 100_000, 10, 79),
    ({"soc_pct": None}, 100_000, 10, 78),
])  # fmt: skip
def test_live_values_never_go_down(told: dict[str, Any], energy: int, amount: int, soc: int) -> None:
    charge = session(
        S.CHARGING,
        energy_e4_kwh=100_000,
        rate_energy_e4_kwh=(0, 100_000, 0, 0),
        live_amount_e4_yuan=10,
        soc_pct=78,
    )
    charge = after(charge, said(**{"soc_pct": 79, **told}), now=at(15))
    row = charge.row
    assert (row.energy_e4_kwh, row.live_amount_e4_yuan, row.soc_pct) == (energy, amount, soc)
    assert sum(row.rate_energy_e4_kwh) == energy


def test_energy_across_a_change_of_rate_is_shared_out_by_time() -> None:
    charge = session(S.CHARGING, live_at=later(0))
    hours = 6 * 3_600  # from 12:05 to 18:05 in China; the flat rate begins at 18:00
    charge = after(charge, said(energy_e4_kwh=360_000), now=at(hours))
    peak, flat = charge.row.rate_energy_e4_kwh[Rate.PEAK], charge.row.rate_energy_e4_kwh[Rate.FLAT]
    assert peak + flat == 360_000
    assert abs(flat - 360_000 * 306 // hours) <= 1  # 5 min 6 s of it


QUIET: dict[str, Any] = {"voltage_mv": 0, "current_ma": 0}


@pytest.mark.parametrize(("limit", "told", "reason"), [
    # energy, 1e-4 kWh
    (ChargeLimit(LimitKind.ENERGY, 200_000), {"energy_e4_kwh": 199_999}, ""),
    (ChargeLimit(LimitKind.ENERGY, 200_000), {"energy_e4_kwh": 200_000}, "energy_limit"),
    # time, s
    (ChargeLimit(LimitKind.TIME, 1_800), {"charged_s": 1_799}, ""),
    (ChargeLimit(LimitKind.TIME, 1_800), {"charged_s": 1_800}, "time_limit"),
    (ChargeLimit(LimitKind.TIME, 15),    {"charged_s": None}, "time_limit"),
    (ChargeLimit(LimitKind.TIME, 16),    {"charged_s": None}, ""),
    # money, fen: 0.10 yuan are kept back; 1.30 yuan/kWh at the peak
    (ChargeLimit(LimitKind.MONEY, 1_310), {"energy_e4_kwh": 99_960}, ""),
    (ChargeLimit(LimitKind.MONEY, 1_310), {"energy_e4_kwh": 99_970}, "cost_limit"),
    (ChargeLimit(LimitKind.MONEY, 9_000), {"energy_e4_kwh": 376_880}, ""),
    (ChargeLimit(LimitKind.MONEY, 9_000), {"energy_e4_kwh": 383_850}, "cost_limit"),
    # what was paid ends every charge
    (ChargeLimit(), {"energy_e4_kwh": 383_800}, ""),
    (ChargeLimit(), {"energy_e4_kwh": 383_850}, "cost_limit"),
    # the pile's own amount, when it is the larger one; a part of a fen is a fen
    (ChargeLimit(), {"amount_e4_yuan": 498_900}, ""),
    (ChargeLimit(), {"amount_e4_yuan": 498_901}, "cost_limit"),
    # full: the vehicle ends it
    (ChargeLimit(), {"soc_pct": 100}, ""),
])  # fmt: skip
def test_limits(limit: ChargeLimit, told: dict[str, Any], reason: str) -> None:
    charge = session(S.CHARGING, limit=limit)
    charge, effects = step(charge, said(**{**QUIET, "energy_e4_kwh": 0, **told}), at(15))
    assert charge.row.stop_reason == reason
    assert charge.state is (S.STOPPING if reason else S.CHARGING)
    assert not reason or words(effects) == "=STOPPING RemoteStop +stop:10 ~SaveLive"
    assert not reason or reason in STOP_REASONS


@pytest.mark.parametrize(("power_w", "energy", "is_stopped"), [
    # until the next report 120 kW use 0.5 kWh: at the dearest price of 1.50 yuan that is 0.75 yuan
    (120_000, 378_000, False),
    (120_000, 378_100, True),
    (0,       378_100, False),
    (60_000,  380_800, False),
    (60_000,  380_900, True),
])  # fmt: skip
def test_it_stops_when_the_money_is_nearly_used(power_w: int, energy: int, is_stopped: bool) -> None:
    report = said(energy_e4_kwh=energy, voltage_mv=400_000, current_ma=power_w * 1_000 // 400)
    charge = after(session(S.CHARGING), report, now=at(15))
    assert charge.state is (S.STOPPING if is_stopped else S.CHARGING)


def test_margin_and_report_interval_are_settings() -> None:
    report = said(energy_e4_kwh=380_000, **QUIET)
    for margin, state in ((59, S.CHARGING), (60, S.STOPPING)):
        charge = session(S.CHARGING, spending=Spending(margin_fen=margin))
        assert after(charge, report, now=at(15)).state is state
    report = said(energy_e4_kwh=370_000, voltage_mv=400_000, current_ma=300_000)
    for seconds, state in ((15, S.CHARGING), (60, S.STOPPING)):
        charge = session(S.CHARGING, spending=Spending(report_s=seconds))
        assert after(charge, report, now=at(15)).state is state


def test_what_may_be_spent() -> None:
    assert cap_fen(session(S.FUNDED)) == PAID_FEN
    assert cap_fen(session(S.FUNDED, limit=ChargeLimit(LimitKind.MONEY, 3_000))) == 3_000
    assert cap_fen(session(S.FUNDED, limit=ChargeLimit(LimitKind.MONEY, 9_000))) == PAID_FEN
    assert cap_fen(session(S.FUNDED, limit=ChargeLimit(LimitKind.ENERGY, 3_000))) == PAID_FEN


def test_what_the_vehicle_says_is_kept_once_and_its_last_words_are_shown() -> None:
    charge = session(S.CHARGING)
    for kind in BMS:
        event = uplink(kind, wire_number=WIRE)
        charge, effects = step(charge, event, NOW)
        assert words(effects) == "~KeepFact", kind
        assert isinstance(effects[0].write, KeepFact)
        assert effects[0].write.kind == kind.__name__
        assert "wire_number" not in effects[0].write.data
        charge, effects = step(charge, event, NOW)
        is_stream = kind in (up.BmsDemand, up.BmsInfo)
        assert words(effects) == ("" if is_stream else "~KeepFact")
    assert {kind for kind, _ in charge.facts} == {kind.__name__ for kind in BMS}


def test_a_gun_that_says_nothing_is_asked() -> None:
    charge = after(session(S.STARTING), said(), now=at(0))
    for seconds, done in ((30, "+live:30"), (59.5, "+live:1"), (60, "ReadTelemetry +live:60")):
        assert words(step(charge, LiveDue(), at(seconds))[1]) == done
    away = replace(charge, is_pile_online=False)
    assert words(step(away, LiveDue(), at(600))[1]) == "+live:60"


# --- stopping -------------------------------------------------------------------------------------------


def test_a_driver_stops() -> None:
    charge = story(
        session(S.CHARGING),
        (StopAsked(1, "user"),              "stopping",
         "=STOPPING RemoteStop +stop:10 reply:accepted"),
        (StopAsked(2, "user"),              "stopping",        "reply:accepted"),
        (CancelAsked(3),                    "stopping",        "reply:already_started"),
        (stop_answer(),                     "stopping",        "-stop +stop_watch:60"),
        (said(),                            "stopping",        "~SaveLive"),
        (said(FINISHED),                    "awaiting_record", AWAITING_WORDS),
        (StopAsked(4, "user"),              "awaiting_record", "reply:accepted"),
        (record_arrived(),                  "settling",        SETTLING_WORDS),
        (StopAsked(5, "user"),              "settling",        "reply:accepted"),
    )  # fmt: skip
    assert charge.row.stop_reason == "remote"


AWAITING_WORDS = (
    "=AWAITING_RECORD ~SaveLive -stop -stop_watch -live +record:30 +provisional:86400 ok:stop_failed"
)


def test_staff_stop() -> None:
    charge = after(session(S.CHARGING), StopAsked(1, "operator"))
    assert charge.row.stop_reason == "operator"


@pytest.mark.parametrize(("reason", "state", "done"), [
    (0, "stopping",        "-stop +stop_watch:60"),
    (1, "stopping",        ""),
    (2, "awaiting_record", AWAITING_WORDS),
    (3, "stopping",        ""),
])  # fmt: skip
def test_what_the_pile_answers_to_a_stop(reason: int, state: str, done: str) -> None:
    story(session(S.STOPPING), (stop_answer(reason), state, done))


def test_a_stop_that_is_not_heard_is_repeated_and_then_told_to_somebody() -> None:
    charge = after(session(S.CHARGING), StopAsked(1, "user"))
    charge = story(
        charge,
        (StopDue(),                         "stopping", "RemoteStop +stop:10"),
        (StopDue(),                         "stopping", "RemoteStop +stop:10"),
        (StopDue(),                         "stopping", "!stop_failed ~OpenReview +stop_watch:60"),
        (StopWatchDue(),                    "stopping", "RemoteStop +stop:10 !stop_failed ~OpenReview"),
        (StopDue(),                         "stopping", "RemoteStop +stop:10"),
        (said(IDLE),                        "awaiting_record", AWAITING_WORDS),
    )  # fmt: skip
    _, effects = step(session(S.STOPPING, is_online=True), StopWatchDue(), NOW)
    [review] = [effect.write for effect in effects if words([effect]) == "~OpenReview"]
    assert isinstance(review, OpenReview)
    assert (str(review.kind), review.serial) == ("stop_failed", SERIAL)


def test_a_pile_that_says_it_stops_and_goes_on_is_told_again() -> None:
    story(
        after(session(S.CHARGING), StopAsked(1, "user")),
        (stop_answer(),                     "stopping", "-stop +stop_watch:60"),
        (said(),                            "stopping", "~SaveLive"),
        (StopWatchDue(),                    "stopping", "RemoteStop +stop:10 !stop_failed ~OpenReview"),
    )  # fmt: skip


@pytest.mark.parametrize(("status", "number", "state"), [
    (IDLE,     WIRE,       "awaiting_record"),
    (IDLE,     "",         "awaiting_record"),
    (PLUGGED,  WIRE,       "awaiting_record"),
    (PLUGGED,  "",         "awaiting_record"),
    (FINISHED, WIRE,       "awaiting_record"),
    (FAULT,    WIRE,       "awaiting_record"),
    (FAULT,    "",         "awaiting_record"),
    (ReportedStatus.CHARGING, OTHER_WIRE, "awaiting_record"),
    (FINISHED, OTHER_WIRE, "charging"),
    (IDLE,     OTHER_WIRE, "charging"),
    (SILENT,   WIRE,       "charging"),
    (SILENT,   "",         "charging"),
    (UNKNOWN,  "",         "charging"),
    (ReportedStatus.CHARGING, "",   "charging"),
    (ReportedStatus.CHARGING, WIRE, "charging"),
])  # fmt: skip
def test_how_the_pile_ends_a_charge(status: ReportedStatus, number: str, state: str) -> None:
    charge = after(session(S.CHARGING), said(status, number))
    assert charge.state.word == state
    stopping = after(session(S.STOPPING), said(status, number))
    assert stopping.state.word == state.replace("charging", "stopping")


def test_the_last_report_of_a_charge_counts_and_that_of_another_does_not() -> None:
    own = after(session(S.CHARGING), said(FINISHED, energy_e4_kwh=200_000))
    assert own.row.energy_e4_kwh == 200_000
    assert own.row.ended_at == MOMENT
    assert own.row.deadline_at == later(86_400)
    assert after(session(S.CHARGING), said(number=OTHER_WIRE, energy_e4_kwh=200_000)).row.energy_e4_kwh == 0
    assert after(session(S.CHARGING), said(IDLE, "", energy_e4_kwh=0)).row.energy_e4_kwh == 0


# --- lost and back --------------------------------------------------------------------------------------

LOST_WORDS = "=INTERRUPTED ~SaveLive -stop -stop_watch -live +provisional:86400"


def test_a_pile_is_lost_while_it_charges_and_comes_back_charging() -> None:
    charge = story(
        session(S.CHARGING),
        (PileLost("silent"),                "interrupted", LOST_WORDS),
        (CancelAsked(1),                    "interrupted", "reply:already_started"),
        (PileBack(),                        "interrupted", "ReadTelemetry +live:60"),
        (said(number=""),                   "interrupted", ""),
        (said(),                            "charging",
         "=CHARGING -provisional -record ok:record_missing +live:60"),
    )  # fmt: skip
    assert (charge.row.deadline_at, charge.detail, charge.is_pile_online) == (None, "", True)


@pytest.mark.parametrize(
    ("status", "number"), [(IDLE, ""), (FINISHED, WIRE), (ReportedStatus.CHARGING, OTHER_WIRE)]
)
def test_a_pile_comes_back_and_the_charge_has_ended(status: ReportedStatus, number: str) -> None:
    story(
        session(S.INTERRUPTED, is_online=False),
        (PileBack(),                        "interrupted",     "ReadTelemetry +live:60"),
        (said(status, number),              "awaiting_record", AWAITING_WORDS),
    )  # fmt: skip


def test_a_pile_comes_back_and_says_nothing_of_its_gun() -> None:
    story(
        session(S.INTERRUPTED, is_online=False),
        (LiveDue(),                         "interrupted", "+live:60"),
        (PileBack(),                        "interrupted", "ReadTelemetry +live:60"),
        (LiveDue(),                         "interrupted", "ReadTelemetry +live:60"),
    )  # fmt: skip


def test_a_stop_while_the_pile_is_away_is_kept_and_done_on_its_return() -> None:
    charge = story(
        session(S.INTERRUPTED, is_online=False),
        (StopAsked(1, "user"),              "interrupted", "=INTERRUPTED reply:accepted"),
        (StopAsked(2, "user"),              "interrupted", "reply:accepted"),
        (PileBack(),                        "interrupted", "ReadTelemetry +live:60"),
        (said(),                            "stopping",
         "=STOPPING -provisional -record ok:record_missing RemoteStop +stop:10"),
    )  # fmt: skip
    assert charge.row.stop_reason == "remote"
    [persist] = of(Persist, step(session(S.INTERRUPTED), StopAsked(1, "user"), NOW)[1])
    assert persist.write.changes == {"stop_reason": "remote"}


def test_a_pile_that_is_lost_while_it_stops_is_stopped_on_its_return() -> None:
    story(
        after(session(S.CHARGING), StopAsked(1, "user")),
        (PileLost("silent"),                "interrupted", LOST_WORDS),
        (PileBack(),                        "interrupted", "ReadTelemetry +live:60"),
        (said(),                            "stopping",
         "=STOPPING -provisional -record ok:record_missing RemoteStop +stop:10"),
        (StopDue(),                         "stopping",    "RemoteStop +stop:10"),
    )  # fmt: skip


def test_the_record_comes_with_the_pile() -> None:
    story(
        session(S.INTERRUPTED, is_online=False),
        (PileBack(),                        "interrupted", "ReadTelemetry +live:60"),
        (record_arrived(),                  "settling",    SETTLING_WORDS),
    )  # fmt: skip


@pytest.mark.parametrize("state", [state for state in S if state not in (S.CHARGING, S.STOPPING)])
def test_elsewhere_a_pile_may_come_and_go(state: SessionState) -> None:
    charge = after(session(state), PileLost("silent"))
    assert (charge.state, charge.is_pile_online) == (state, False)
    charge = after(charge, PileBack())
    assert (charge.state, charge.is_pile_online) == (state, True)


# --- record and bill ------------------------------------------------------------------------------------


def test_the_record_does_not_come() -> None:
    charge = story(
        session(S.AWAITING_RECORD),
        (RecordDue(),                       "awaiting_record", "!record_missing"),
        (ProvisionalDue(),                  "settling",        PROVISIONAL_WORDS),
        (settled(S.DISPUTED, reason="provisional", is_provisional=True), "disputed", HELD_WORDS),
        (record_arrived(),                  "settling",        SETTLING_WORDS),
        (settled(warnings=("provisional_corrected",)), "refunding",
         CLEAN_WORDS.replace("ok:provisional_corrected", "!provisional_corrected")
         + " ok:session_held RefundsWaiting"),
        (refund_moved(is_last=True),        "closed",          "ok:charging_after_end"),
    )  # fmt: skip
    assert not charge.row.is_provisional
    assert not charge.row.is_held


PROVISIONAL_WORDS = (
    "=SettleSession -pay -start_by -answer -charging -last_look -live -stop -stop_watch -record -provisional"
)
CLEAN_WORDS = (
    "ok:amount_differs ok:rates_do_not_add_up ok:rate_out_of_time ok:meter_runs_backwards ok:meter_differs"
    " ok:deep_valley ok:record_after_start_failed ok:provisional_corrected ok:different_record"
)
HELD_WORDS = f"{CLEAN_WORDS} !session_held"


@pytest.mark.parametrize("state", [S.AWAITING_RECORD, S.INTERRUPTED])
def test_a_provisional_bill_is_made_from_the_last_live_values(state: SessionState) -> None:
    charge = session(state, energy_e4_kwh=30, rate_energy_e4_kwh=(0, 20, 10, 0), live_at=later(500))
    [persist] = of(Persist, step(charge, ProvisionalDue(), at(86_400))[1])
    write = persist.write
    assert isinstance(write, SettleSession)
    assert (write.serial, write.record_id) == (SERIAL, None)
    assert [(part.rate, part.energy_e4_kwh) for part in write.facts.energies] == [
        (Rate.PEAK, 20),
        (Rate.FLAT, 10),
    ]
    assert (write.facts.started_at, write.facts.ended_at) == (MOMENT, later(500))
    assert write.facts.stop_reason == "no_record"


@pytest.mark.parametrize("state", [
    S.CREATED, S.FUNDED, S.STARTING, S.CHARGING, S.STOPPING, S.INTERRUPTED, S.AWAITING_RECORD, S.REFUNDING,
    S.START_FAILED, S.DISPUTED,
])  # fmt: skip
def test_a_record_is_settled_wherever_it_finds_its_order(state: SessionState) -> None:
    charge, effects = step(session(state), record_arrived(9), NOW)
    assert charge.state is S.SETTLING
    assert [effect.write for effect in of(Persist, effects)] == [SettleRecord(9, MOMENT)]


@pytest.mark.parametrize("state", [S.CLOSED, S.CANCELLED])
def test_a_record_of_an_order_that_is_over_is_left_to_the_services(state: SessionState) -> None:
    story(session(state), (record_arrived(), state.word, "~SettleRecord"))


def test_two_settlements_on_their_way() -> None:
    story(
        session(S.AWAITING_RECORD),
        (ProvisionalDue(),                  "settling",  PROVISIONAL_WORDS),
        (record_arrived(),                  "settling",  "=SettleRecord"),
        (settled(S.DISPUTED, reason="provisional"), "disputed", HELD_WORDS),
        (settled(),                         "refunding", f"{CLEAN_WORDS} ok:session_held RefundsWaiting"),
    )  # fmt: skip
    story(
        session(S.SETTLING),
        (record_arrived(),                  "settling",  "=SettleRecord"),
        (settled(S.CLOSED),                 "closed",    f"{CLEAN_WORDS} ok:session_held"),
        (settled(reason="different_record"), "refunding",
         f"{CLEAN_WORDS.replace('ok:different_record', '!different_record')} ok:session_held RefundsWaiting"),
    )  # fmt: skip


@pytest.mark.parametrize(("result", "state", "done"), [
    (settled(),                               "refunding", f"{CLEAN_WORDS} ok:session_held RefundsWaiting"),
    (settled(S.CLOSED),                       "closed",    f"{CLEAN_WORDS} ok:session_held"),
    (settled(S.DISPUTED),                     "disputed",  HELD_WORDS),
    (settled(warnings=("amount_differs",)),   "refunding",
     CLEAN_WORDS.replace("ok:amount", "!amount") + " ok:session_held RefundsWaiting"),
    (settled(is_first=False),                 "settling",  "Reload"),
    (moved(is_done=False, state=S.CHARGING),  "settling",  "Reload"),
    (moved(state=S.STOPPING),                 "settling",  ""),
    (failed(),                                "settling",  ""),
    (failed(is_done=False),                   "settling",  "Reload"),
])  # fmt: skip
def test_what_a_settlement_comes_to(result: Any, state: str, done: str) -> None:
    charge = story(session(S.SETTLING), (result, state, done))
    if state == "refunding":
        assert (charge.row.refund_fen, charge.row.is_held) == (3_700, False)
    if state == "disputed":
        assert (charge.row.is_held, charge.row.held_reason, charge.detail) == (True, "excess", "excess")


@pytest.mark.parametrize("decision", ["accept", "prepaid", "free"])
def test_a_person_decides(decision: str) -> None:
    charge, effects = step(session(S.DISPUTED), DecisionAsked(1, decision, "token:1", "ok"), NOW)
    assert (charge.state, words(effects)) == (S.SETTLING, "=DecideHeld reply:accepted")
    write = effects[0].write
    assert (str(write.decision), write.actor, write.note) == (decision, "token:1", "ok")


def test_other_decisions_are_refused() -> None:
    story(
        session(S.DISPUTED), (DecisionAsked(1, "magic", "token:1", ""), "disputed", "reply:unknown_decision")
    )
    for state in S:
        if state is not S.DISPUTED:
            decision = DecisionAsked(1, "accept", "token:1", "")
            story(session(state), (decision, state.word, "reply:not_held"))


def test_refunds_arrive() -> None:
    charge = story(
        session(S.REFUNDING),
        (refund_moved(),                    "refunding", ""),
        (StopAsked(1, "user"),              "refunding", "reply:accepted"),
        (refund_moved(is_last=True),        "closed",    "ok:charging_after_end"),
        (refund_moved(is_last=True),        "closed",    ""),
        (StopAsked(2, "user"),              "closed",    "reply:not_charging"),
    )  # fmt: skip
    assert charge.row.closed_at == MOMENT


def test_a_refund_of_a_held_order_moves_it_nowhere() -> None:
    story(session(S.DISPUTED), (refund_moved(is_last=True), "disputed", ""))


@pytest.mark.parametrize("state", [S.REFUNDING, S.DISPUTED])
def test_a_gun_that_charges_on_after_a_provisional_bill_is_stopped(state: SessionState) -> None:
    story(session(state, is_provisional=True), (said(), state.word, "RemoteStop !charging_after_end"))
    story(session(state), (said(), state.word, ""))


# --- ended, and yet not ---------------------------------------------------------------------------------


def test_a_charge_that_was_thought_ended_goes_on() -> None:
    charge = story(
        session(S.CHARGING),
        (said(IDLE, ""),                    "awaiting_record", AWAITING_WORDS),
        (said(number=OTHER_WIRE),           "awaiting_record", ""),
        (said(),                            "charging",
         "=CHARGING -provisional -record ok:record_missing +live:60"),
    )  # fmt: skip
    assert charge.row.ended_at is None


def test_a_charge_that_was_stopped_and_goes_on_is_stopped_again() -> None:
    story(
        session(S.STOPPING),
        (stop_answer(2),                    "awaiting_record", AWAITING_WORDS),
        (said(),                            "stopping",
         "=STOPPING -provisional -record ok:record_missing RemoteStop +stop:10"),
    )  # fmt: skip


# --- beginning again ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "is_online", "row", "after_it", "done"), [
    (S.CREATED,         True,  {},                            "created",      ""),
    (S.CREATED,         True,  {"start_failure": "cancelled"}, "created",     "ClosePayment +pay:600"),
    (S.FUNDED,          True,  {},                            "funded",       ""),
    (S.FUNDED,          False, {"start_failure": "cancelled"}, "start_failed",
     "=FailStart -pay -start_by -answer -charging -last_look"),
    (S.STARTING,        False, {},                            "starting",     ""),
    (S.STARTING,        True,  {},                            "starting",     "ReadTelemetry"),
    (S.STARTING,        False, {"start_failure": "cancelled"}, "starting",
     "ReadTelemetry RemoteStop +last_look:10"),
    (S.CHARGING,        False, {},                            "interrupted",  LOST_WORDS),
    (S.CHARGING,        True,  {},                            "charging",     "ReadTelemetry +live:60"),
    (S.STOPPING,        False, {},                            "interrupted",  LOST_WORDS),
    (S.STOPPING,        True,  {},                            "stopping",
     "ReadTelemetry RemoteStop +stop:10"),
    (S.INTERRUPTED,     False, {},                            "interrupted",  ""),
    (S.INTERRUPTED,     True,  {},                            "interrupted",  "ReadTelemetry +live:60"),
    (S.AWAITING_RECORD, False, {},                            "awaiting_record", "+record:30"),
    (S.REFUNDING,       False, {},                            "refunding",    "RefundsWaiting"),
    (S.START_FAILED,    False, {},                            "start_failed", "RefundsWaiting"),
    (S.DISPUTED,        False, {},                            "disputed",     ""),
])  # fmt: skip
def test_an_actor_takes_up_what_was_under_way(
    state: SessionState, is_online: bool, row: dict[str, Any], after_it: str, done: str
) -> None:
    story(session(state, is_online=is_online, **row), (Resumed(), after_it, done))


def test_what_was_wanted_survives_in_the_row() -> None:
    assert session(S.CREATED, start_failure="cancelled").is_cancelled
    assert session(S.INTERRUPTED, stop_reason="remote").wants_stop
    assert not session(S.INTERRUPTED).wants_stop
    charge = after(session(S.STARTING), CancelAsked(1))
    assert session(S.STARTING, start_failure=charge.row.start_failure).is_cancelled


@pytest.mark.parametrize("state", S)
def test_a_write_that_found_the_row_elsewhere_makes_the_actor_begin_again(state: SessionState) -> None:
    _, effects = step(session(state), moved(is_done=False), NOW)
    assert effects == (Reload(),)


# --- words ----------------------------------------------------------------------------------------------


def test_every_reason_has_words_for_people() -> None:
    assert set(START_REFUSALS.values()) <= set(START_FAILURES)
    for charge, _, after_it, effects in STEPS:
        row = after_it.row
        if row.start_failure and row.start_failure != charge.row.start_failure:
            assert row.start_failure in START_FAILURES or row.start_failure == "refused_6", row.start_failure
        if row.stop_reason:
            assert row.stop_reason in STOP_REASONS
        if after_it.detail and after_it.detail not in (charge.detail, row.start_failure, row.held_reason):
            assert after_it.detail in WAITING, after_it.detail
        for reply in of(Reply, effects):
            assert reply.outcome.reason == "" or reply.outcome.detail, reply.outcome


def test_a_stop_is_sent_to_the_gun_of_the_order() -> None:
    _, effects = step(session(S.CHARGING, gun_no=2), StopAsked(1, "user"), NOW)
    assert of(RemoteStop, effects) == [RemoteStop(CODE, None, 2, WIRE)]
