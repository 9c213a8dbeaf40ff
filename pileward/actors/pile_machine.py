"""The life of one pile as a transition table: link, liveness, tariff, clock, records and commands.

`step` is pure: no clock (`now` is epoch milliseconds, UTC), no randomness, no I/O. A rule's action returns
the pile and the effects; the rule names the status it goes to. Every pair of status and event has a rule or
stands in `IGNORED` with a reason; a test walks them all.

Sources: YKC 1.6, flows 8.1 (power-on), 8.9 (prices), timings of section 9.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from pileward.actors import pile_asked as asked
from pileward.actors import pile_commands as commands
from pileward.actors import pile_guns as guns
from pileward.actors import pile_tariff as tariff
from pileward.actors.effects import (
    NOTHING,
    Arm,
    Clear,
    Disarm,
    Effects,
    Note,
    Persist,
    Raise,
    ShowGun,
    ShowPile,
    Unlink,
)
from pileward.actors.gun_machine import GunEvent
from pileward.actors.pile_commands import moment
from pileward.actors.pile_state import (
    CLOCK_TOLERANCE_S,
    READ_GRACE_S,
    TARIFF_GRACE_S,
    AbsenceDue,
    AdmissionDue,
    ClockDue,
    CommandAsked,
    ConfigChanged,
    LinkLost,
    LoginAsked,
    Pile,
    PileStatus,
    ReadDue,
    RecordDue,
    RecordKept,
    ReplyDue,
    Resumed,
    SilenceChecked,
    TariffDue,
)
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.services.pile_facts import LoginFacts, SaveLogin, SaveSeen
from pileward.services.records import RecordState, StoreRecord
from pileward.values import Severity

S = PileStatus
Step = tuple[Pile, Effects]
Guard = Callable[[Pile, Any], bool]
Action = Callable[[Pile, Any, int], Step]


class Rule(NamedTuple):
    """One row: in this status, on this event, if the guard holds, do the action and go to `target`."""

    state: PileStatus
    event: type
    guard: Guard
    action: Action
    target: PileStatus


# --- guards ---------------------------------------------------------------------------------------------


def always(_: Pile, __: Any) -> bool:
    """The row holds without condition."""
    return True


def must_wait(_: Pile, event: LoginAsked) -> bool:
    """Admission asks this login to wait its turn."""
    return event.wait_s > 0


def is_repeated(pile: Pile, event: LoginAsked) -> bool:
    """The login that waits its turn came again on the same connection."""
    return bool(event.link == pile.link)


def is_current(pile: Pile, event: LinkLost) -> bool:
    """The event is about the connection that speaks for the pile now."""
    return bool(event.link == pile.link)


def is_silent(pile: Pile, event: SilenceChecked) -> bool:
    """Nothing was heard from the pile for too long."""
    return event.pile_s >= pile.config.settings.offline_after_s


# --- link and liveness ----------------------------------------------------------------------------------


def nothing(pile: Pile, _: Any, __: int) -> Step:
    """Decided: there is nothing to do."""
    return pile, NOTHING


def hold_login(pile: Pile, event: LoginAsked, now: int) -> Step:
    """Let a login wait its turn after a mass reconnection; commands stay refused meanwhile."""
    pile, effects = _let_go(pile, event.link, now)
    pile = replace(
        pile,
        login=event.login,
        link=event.link,
        remote_address=event.remote_address,
        since_ms=now,
        reason="waiting",
        tariff_ok=False,
    )
    return pile, (*effects, *_UNWATCHED, Arm("admission", event.wait_s), ShowPile("waiting"))


def keep_waiting(pile: Pile, event: LoginAsked, _: int) -> Step:
    """A pile that repeats its login keeps its turn: it is neither first nor last for it."""
    return replace(pile, login=event.login), NOTHING


def admit(pile: Pile, event: LoginAsked, now: int) -> Step:
    """Accept a login: answer, set the clock, start the watches; the newest connection wins."""
    pile, effects = _let_go(pile, event.link, now)
    pile = replace(pile, login=event.login, link=event.link, remote_address=event.remote_address)
    pile, accepted = _accept(pile, now)
    return pile, effects + accepted


def admit_held(pile: Pile, _: AdmissionDue, now: int) -> Step:
    """Accept the login that has waited its turn."""
    return _accept(pile, now)


def resume(pile: Pile, event: Resumed, now: int) -> Step:
    """Go on with a connection that was admitted before a restart, and ask where things stand."""
    pile = replace(
        pile,
        link=event.link,
        remote_address=event.remote_address,
        since_ms=now,
        reason="restarted",
        tariff_ok=tariff.holds_wanted(pile),
    )
    pile, questions = commands.read_all(pile)
    return pile, (*_watches(pile), *questions, ShowPile("restarted"))


def lose_link(pile: Pile, event: LinkLost, now: int) -> Step:
    """The current connection is gone: everything about the pile is out of date."""
    return _go_offline(pile, event.reason, now)


def fall_silent(pile: Pile, _: SilenceChecked, now: int) -> Step:
    """Silence means offline, whatever TCP says; the half-open connection is dropped."""
    link = pile.link
    pile, effects = _go_offline(pile, "silent", now)
    return pile, (*effects, Unlink(link, "silent"))


def watch_on(pile: Pile, event: SilenceChecked, now: int) -> Step:
    """The pile is alive: look at each gun, then look again when the first of all deadlines is reached."""
    limit = float(pile.config.settings.offline_after_s)
    pile, effects = guns.check_silence(pile, event.guns_s, limit, now)
    ages = [event.pile_s, *(age for age in event.guns_s if age < limit)]
    return pile, (*effects, Arm("silence", max(limit - max(ages), 1.0)))


def tell_absence(pile: Pile, _: AbsenceDue, __: int) -> Step:
    """A pile that stays away is worth an alarm; one that only reconnects is not."""
    return pile, (
        Raise(
            "offline", Severity.WARNING, f"充电桩离线（{pile.reason}）", f"pile is offline ({pile.reason})"
        ),
    )


def _let_go(pile: Pile, link: Any, now: int) -> Step:
    """Give up what belonged to an earlier connection; waiting commands end as offline."""
    effects: Effects = NOTHING
    if pile.link is not None and pile.link != link:
        effects = (Unlink(pile.link, "replaced"),)
    pile, answered = commands.drop_all(pile)
    pile, changed = guns.tell_all(pile, GunEvent.LINK_LOST, now)
    return pile, effects + answered + changed


def _accept(pile: Pile, now: int) -> Step:
    login = pile.login
    assert login is not None
    facts = LoginFacts(
        device_kind=login.device_kind,
        gun_count=login.gun_count,
        protocol_version=login.protocol_version,
        software_version=login.software_version,
        network=login.network,
        iccid=login.iccid,
        carrier=login.carrier,
        remote_address=pile.remote_address,
    )
    pile = replace(pile, since_ms=now, reason="login", tariff_ok=False)
    answer = down.LoginAnswer(pile.code, login.wire_seq, True)
    pile, clock = commands.set_clock(pile, moment(now), None)
    pile, prefix = commands.send_qr_prefix(pile)
    pile, changed = guns.tell_all(pile, GunEvent.HEARD_AGAIN, now)
    saved = Note(SaveLogin(pile.code, facts, moment(now)))
    told = (Clear("offline"), ShowPile("login"))
    return pile, (answer, *clock, *prefix, *_watches(pile), saved, *_compare(pile), *changed, *told)


def _watches(pile: Pile) -> Effects:
    settings = pile.config.settings
    return (
        Arm("silence", float(settings.offline_after_s)),
        Arm("tariff", TARIFF_GRACE_S),
        Arm("clock", float(settings.time_sync_s)),
        Arm("read", READ_GRACE_S),
        Disarm("absence"),
        Disarm("admission"),
    )


def _compare(pile: Pile) -> Effects:
    """Compare what the pile says of itself with what it is registered as (YKC 1.6, 0x01)."""
    login = pile.login
    assert login is not None
    kinds = ("unknown", str(pile.config.kind))
    if login.gun_count == pile.config.gun_count and login.device_kind in kinds:
        return (Clear("login_mismatch"),)
    said = f"{login.device_kind}/{login.gun_count}"
    known = f"{pile.config.kind}/{pile.config.gun_count}"
    zh = f"登录信息与登记不符：上报 {said}，登记 {known}"
    return (Raise("login_mismatch", Severity.WARNING, zh, f"login says {said}, registered as {known}"),)


def _go_offline(pile: Pile, reason: str, now: int) -> Step:
    pile, answered = commands.drop_all(pile)
    pile, changed = guns.tell_all(pile, GunEvent.LINK_LOST, now)
    pile = replace(pile, link=None, since_ms=now, reason=reason, tariff_ok=False)
    told = Arm("absence", float(pile.config.settings.offline_after_s))
    seen = Note(SaveSeen(pile.code, moment(now)))
    stopped = (*_UNWATCHED, Disarm("admission"))
    return pile, (*answered, *stopped, told, seen, *changed, ShowPile(reason))


_UNWATCHED: Final = (Disarm("silence"), Disarm("tariff"), Disarm("clock"), Disarm("read"))
"""The deadlines of a pile that is online end with it."""


# --- clock and records ----------------------------------------------------------------------------------


def sync_clock(pile: Pile, _: ClockDue, now: int) -> Step:
    """Set the pile's clock once a day."""
    pile, effects = commands.set_clock(pile, moment(now), None)
    return pile, (*effects, Arm("clock", float(pile.config.settings.time_sync_s)))


def take_clock(pile: Pile, event: up.ClockAnswer, now: int) -> Step:
    """The pile tells its time after it was set; a wrong one is worth a warning."""
    pile, answered = commands.answer(pile, "clock", is_ok=True)
    answered += (Clear("clock_unset"),)
    if event.device_time is None:
        zh, en = "充电桩时钟无效", "the pile's clock is not a date"
        return replace(pile, clock_drift_ms=None), (
            *answered,
            Raise("clock_drift", Severity.WARNING, zh, en),
        )
    drift_ms = round(event.device_time.timestamp() * 1000) - now
    pile = replace(pile, clock_drift_ms=drift_ms)
    if abs(drift_ms) <= CLOCK_TOLERANCE_S * 1000:
        return pile, (*answered, Clear("clock_drift"))
    zh, en = f"对时后时钟仍偏差 {drift_ms // 1000} 秒", f"clock is {drift_ms // 1000} s off after setting it"
    return pile, (*answered, Raise("clock_drift", Severity.WARNING, zh, en))


def keep_record(pile: Pile, event: up.TransactionRecord, now: int) -> Step:
    """Store the record; its receipt goes out only when it is durable, in every case (YKC 1.6, 8.6)."""
    words = {
        "started_at": _iso(event.started_at),
        "ended_at": _iso(event.ended_at),
        "made_at": _iso(event.made_at),
        "energy_e4_kwh": event.energy_e4_kwh,
        "loss_energy_e4_kwh": event.loss_energy_e4_kwh,
        "amount_e4_yuan": event.amount_e4_yuan,
        "meter_start_e4_kwh": event.meter_start_e4_kwh,
        "meter_end_e4_kwh": event.meter_end_e4_kwh,
        "start_type": event.start_type,
        "stop_reason": event.stop_reason,
        "card_no": event.card_no,
        "vin": event.vin,
        "periods": [
            {
                "rate": None if period.rate is None else period.rate.name.lower(),
                "price_e5_yuan": period.price_e5_yuan,
                "energy_e4_kwh": period.energy_e4_kwh,
                "loss_energy_e4_kwh": period.loss_energy_e4_kwh,
                "amount_e4_yuan": period.amount_e4_yuan,
            }
            for period in event.periods
        ],
    }
    write = StoreRecord(
        protocol=pile.config.protocol,
        pile_code=pile.code,
        gun_no=event.gun_no,
        wire_number=event.wire_number,
        body=event.body,
        decoded=words,
        received_at=moment(now),
    )
    return pile, (Persist(write, event), down.RecordAnswer(pile.code, event.wire_seq, event.wire_number))


def mark_record(pile: Pile, event: RecordKept, now: int) -> Step:
    """A record is durable: the gun has finished; different content under a known number is for a person."""
    gun_no = event.record.gun_no
    pile, effects = guns.tell(pile, gun_no, GunEvent.RECORD_KEPT, now)
    effects = (
        *effects,
        Disarm(f"record:{gun_no}"),
        Clear("record_missing", gun_no),
        Clear("record_unconfirmed"),
    )
    if event.result.state is not RecordState.DIFFERENT:
        return pile, effects
    number = event.record.wire_number
    zh, en = f"交易记录重复上传且内容不同：{number}", f"record {number} came again with other content"
    return pile, (*effects, Raise("record_differs", Severity.FAULT, zh, en, gun_no))


def refuse_local_start(pile: Pile, event: up.LocalStartRequest, _: int) -> Step:
    """Nobody can start at the pile while no account stands behind its cards (YKC 1.6, 7.3: 0x01)."""
    answer = down.LocalStartAnswer(
        pile.code,
        event.wire_seq,
        event.gun_no,
        wire_number="0" * 32,
        is_accepted=False,
        reason=0x01,
        balance_fen=0,
        parallel_no=event.parallel_no,
    )
    return pile, (answer,)


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


# --- configuration --------------------------------------------------------------------------------------


def take_config(pile: Pile, event: ConfigChanged, now: int) -> Step:
    """Adopt what staff changed; a new tariff goes to the pile as soon as it is idle."""
    before = pile
    pile, effects = guns.resize(replace(pile, config=event.config))
    if pile.login is not None:
        effects += _compare(pile)
    if before.config.is_in_maintenance is not pile.config.is_in_maintenance:
        effects += tuple(ShowGun(gun.gun_no) for gun in pile.guns)
    if pile.status is not S.ONLINE:
        return pile, (*effects, ShowPile(pile.reason))
    pile, pushed = tariff.check_wanted(pile, now)
    asked_for = tuple(
        down.ReadTelemetry(pile.code, None, gun.gun_no) for gun in pile.guns[len(before.guns) :]
    )
    return pile, (*effects, *pushed, *asked_for, ShowPile("changed"))


# --- the table ------------------------------------------------------------------------------------------

_ANYWHERE: Final = (
    (CommandAsked, always, asked.refuse_offline),
    (ConfigChanged, always, take_config),
    (RecordKept, always, mark_record),
)

RULES: Final = (
    #    in             on                    if          do                    go to
    Rule(S.UNKNOWN, LoginAsked, must_wait, hold_login, S.REGISTERING),
    Rule(S.UNKNOWN, LoginAsked, always, admit, S.ONLINE),
    Rule(S.UNKNOWN, Resumed, always, resume, S.ONLINE),
    Rule(S.UNKNOWN, AbsenceDue, always, tell_absence, S.UNKNOWN),
    Rule(S.OFFLINE, LoginAsked, must_wait, hold_login, S.REGISTERING),
    Rule(S.OFFLINE, LoginAsked, always, admit, S.ONLINE),
    Rule(S.OFFLINE, AbsenceDue, always, tell_absence, S.OFFLINE),
    Rule(S.REGISTERING, LoginAsked, is_repeated, keep_waiting, S.REGISTERING),
    Rule(S.REGISTERING, LoginAsked, must_wait, hold_login, S.REGISTERING),
    Rule(S.REGISTERING, LoginAsked, always, admit, S.ONLINE),
    Rule(S.REGISTERING, AdmissionDue, always, admit_held, S.ONLINE),
    Rule(S.REGISTERING, LinkLost, is_current, lose_link, S.OFFLINE),
    Rule(S.REGISTERING, LinkLost, always, nothing, S.REGISTERING),
    Rule(S.REGISTERING, AbsenceDue, always, tell_absence, S.REGISTERING),
    Rule(S.ONLINE, LoginAsked, must_wait, hold_login, S.REGISTERING),
    Rule(S.ONLINE, LoginAsked, always, admit, S.ONLINE),
    Rule(S.ONLINE, LinkLost, is_current, lose_link, S.OFFLINE),
    Rule(S.ONLINE, LinkLost, always, nothing, S.ONLINE),
    Rule(S.ONLINE, SilenceChecked, is_silent, fall_silent, S.OFFLINE),
    Rule(S.ONLINE, SilenceChecked, always, watch_on, S.ONLINE),
    Rule(S.ONLINE, up.Heartbeat, always, guns.beat, S.ONLINE),
    Rule(S.ONLINE, up.Telemetry, always, guns.measure, S.ONLINE),
    Rule(S.ONLINE, ReadDue, always, commands.read_unheard, S.ONLINE),
    Rule(S.ONLINE, RecordDue, always, guns.miss_record, S.ONLINE),
    Rule(S.ONLINE, up.TariffCheck, always, tariff.check, S.ONLINE),
    Rule(S.ONLINE, up.TariffRequest, always, tariff.deliver, S.ONLINE),
    Rule(S.ONLINE, up.TariffAnswer, always, tariff.take_answer, S.ONLINE),
    Rule(S.ONLINE, TariffDue, always, tariff.push_if_needed, S.ONLINE),
    Rule(S.ONLINE, ClockDue, always, sync_clock, S.ONLINE),
    Rule(S.ONLINE, up.ClockAnswer, always, take_clock, S.ONLINE),
    Rule(S.ONLINE, up.TransactionRecord, always, keep_record, S.ONLINE),
    Rule(S.ONLINE, up.LocalStartRequest, always, refuse_local_start, S.ONLINE),
    Rule(S.ONLINE, up.RebootAnswer, always, commands.take_reboot, S.ONLINE),
    Rule(S.ONLINE, up.WorkSettingsAnswer, always, commands.take_service, S.ONLINE),
    Rule(S.ONLINE, up.QrPrefixAnswer, always, commands.take_qr_prefix, S.ONLINE),
    Rule(S.ONLINE, CommandAsked, always, asked.begin, S.ONLINE),
    Rule(S.ONLINE, ReplyDue, always, commands.miss_reply, S.ONLINE),
    Rule(S.ONLINE, ConfigChanged, always, take_config, S.ONLINE),
    Rule(S.ONLINE, RecordKept, always, mark_record, S.ONLINE),
    *(
        Rule(state, event, guard, action, state)
        for state in (S.UNKNOWN, S.REGISTERING, S.OFFLINE)
        for event, guard, action in _ANYWHERE
    ),
)

UPLINKS: Final = tuple(
    kind
    for kind in vars(up).values()
    if isinstance(kind, type) and issubclass(kind, up.Uplink) and kind not in (up.Uplink, up.Login)
)
"""Every uplink a machine may see; a Login arrives as LoginAsked."""

EVENTS: Final[tuple[type, ...]] = (
    *UPLINKS,
    *(LoginAsked, Resumed, LinkLost, SilenceChecked, AdmissionDue, TariffDue, ClockDue, ReadDue, AbsenceDue),
    *(ReplyDue, RecordDue, ConfigChanged, CommandAsked, RecordKept),
)

_BEFORE_LOGIN = "frames count from the accepted login on"
_NO_LINK = "no connection speaks for the pile"
_ENDED = "the deadline ended with the connection it belonged to"
_NO_CHARGE = "no charge of ours runs on this gun"
_NOT_ASKED = "an answer to nothing that was asked here"
_SHOWN_ONLY = "counted and kept in the frame tail"

IGNORED: Final[dict[tuple[PileStatus, type], str]] = {
    **{(state, kind): _BEFORE_LOGIN for state in (S.UNKNOWN, S.REGISTERING, S.OFFLINE) for kind in UPLINKS},
    **{(state, LinkLost): _NO_LINK for state in (S.UNKNOWN, S.OFFLINE)},
    **{
        (state, kind): _ENDED
        for state in (S.UNKNOWN, S.REGISTERING, S.OFFLINE)
        for kind in (SilenceChecked, TariffDue, ClockDue, ReadDue, ReplyDue, RecordDue)
    },
    **{(state, AdmissionDue): "no login waits" for state in (S.UNKNOWN, S.ONLINE, S.OFFLINE)},
    **{(state, Resumed): "only a restarted actor resumes" for state in (S.REGISTERING, S.ONLINE, S.OFFLINE)},
    (S.ONLINE, AbsenceDue): "it came back in time",
    **{
        (S.ONLINE, kind): _NO_CHARGE
        for kind in (
            up.BmsHandshake,
            up.BmsConfig,
            up.BmsDemand,
            up.BmsInfo,
            up.BmsChargeEnd,
            up.BmsError,
            up.BmsAbort,
            up.ChargerAbort,
            up.StartAnswer,
            up.StopAnswer,
        )
    },
    **{
        (S.ONLINE, kind): _NOT_ASKED
        for kind in (up.BalanceAnswer, up.CardsStored, up.CardsRemoved, up.CardsFound, up.UpgradeAnswer)
    },
    **{
        (S.ONLINE, kind): _SHOWN_ONLY
        for kind in (up.GroundLockReport, up.GroundLockAnswer, up.VendorMessage, up.Malformed)
    },
}

BY_PAIR: Final[dict[tuple[PileStatus, type], tuple[Rule, ...]]] = {
    pair: tuple(rule for rule in RULES if (rule.state, rule.event) == pair)
    for pair in {(rule.state, rule.event) for rule in RULES}
}


_BY_STATUS: Final[dict[PileStatus, dict[type, tuple[Rule, ...]]]] = {
    status: {event: rules for (state, event), rules in BY_PAIR.items() if state is status} for status in S
}
"""The same for the frame path: two lookups without making a pair."""


def step(pile: Pile, event: Any, now: int) -> Step:
    """Take one event; the whole machine.

    Ignored pairs return the pile unchanged without effects; the shell counts them.
    """
    for _, _, guard, action, target in _BY_STATUS[pile.status].get(type(event), ()):
        if guard is always or guard(pile, event):
            after, effects = action(pile, event, now)
            if after.status is not target:
                after = replace(after, status=target)
            return after, effects
    assert (pile.status, type(event)) in IGNORED, f"no rule for {type(event).__name__} in {pile.status.name}"
    return pile, NOTHING
