"""The pile's machine under every event in any order, repeated and delayed: what must hold whatever comes."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pileward.actors.effects import Arm, Disarm, Persist, Reply, ShowGun, Unlink
from pileward.actors.gun_machine import GONE
from pileward.actors.pile import _PERFORM
from pileward.actors.pile_machine import UPLINKS, step
from pileward.actors.pile_state import (
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
    new_pile,
)
from pileward.actors.pile_tariff import holds_wanted
from pileward.messages import commands as ask
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.faults import FAULTS
from pileward.services.records import RecordResult, RecordState
from pileward.values import ReportedStatus
from tests.piles import CODE, MOMENT, NOW, PEER, config, login, record, tariff, telemetry, uplink

LINKS = st.sampled_from(["link 1", "link 2", "link 3"])
GUNS = st.integers(min_value=0, max_value=5)
NUMBERS = st.sampled_from(["0100", "0101", "9999"])
AGES = st.floats(min_value=0.0, max_value=120.0)
WAITS = st.sampled_from([0.0, 0.0, 0.5, 9.0])

COMMANDS = st.one_of(
    st.builds(ask.RebootPile, st.booleans()),
    st.builds(ask.SetService, st.booleans(), st.integers(min_value=0, max_value=120)),
    st.just(ask.SyncClock()),
    st.just(ask.PushTariff()),
    st.builds(ask.ReadGun, GUNS),
    st.builds(ask.SendQrPrefix, st.just("https://c/"), st.booleans()),
)
TELEMETRY = st.builds(
    lambda gun_no, status, is_plugged, codes: telemetry(
        gun_no, status, is_plugged=is_plugged, fault_codes=tuple(codes)
    ),
    GUNS,
    st.sampled_from(ReportedStatus),
    st.sampled_from([True, False, None]),
    st.lists(st.sampled_from([*FAULTS, "ykc_bit_15"]), max_size=2, unique=True),
)
OTHER_UPLINKS = st.one_of(
    st.builds(up.TariffCheck, st.just(CODE), st.just(1), NUMBERS),
    st.builds(up.TariffRequest, st.just(CODE), st.just(2)),
    st.builds(up.TariffAnswer, st.just(CODE), st.just(3), st.booleans()),
    st.builds(up.ClockAnswer, st.just(CODE), st.just(4), st.sampled_from([MOMENT, None])),
    st.builds(up.RebootAnswer, st.just(CODE), st.just(5), st.booleans()),
    st.builds(up.WorkSettingsAnswer, st.just(CODE), st.just(6), st.booleans()),
    st.builds(up.QrPrefixAnswer, st.just(CODE), st.just(7), st.integers(min_value=0, max_value=1)),
    st.builds(record, GUNS),
    st.sampled_from([uplink(kind) for kind in UPLINKS if kind is not up.Heartbeat]),
)
CONFIGS = st.builds(
    lambda guns, model, is_away: config(gun_count=guns, tariff=model, is_in_maintenance=is_away),
    st.integers(min_value=1, max_value=4),
    st.sampled_from([None, tariff("0100"), tariff("0101")]),
    st.booleans(),
)
TIMER_EVENTS: dict[str, Any] = {
    "admission": AdmissionDue(),
    "tariff": TariffDue(),
    "clock": ClockDue(),
    "read": ReadDue(),
    "absence": AbsenceDue(),
}


@dataclasses.dataclass
class Outside:
    """What the shell, the store and the edges would know."""

    timers: set[str] = dataclasses.field(default_factory=set)
    unanswered: set[int] = dataclasses.field(default_factory=set)
    answered: set[int] = dataclasses.field(default_factory=set)
    written: list[up.TransactionRecord] = dataclasses.field(default_factory=list)
    last_events: list[Any] = dataclasses.field(default_factory=list)
    is_admitted: bool = False
    """A LoginAnswer went out since the link changed, or the actor resumed."""


class AnyOrder(RuleBasedStateMachine):
    """One pile, its timers as its shell keeps them, and everybody who may send it something."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.outside = Outside()
        self.pile: Pile = new_pile(config())
        self.commands = 0

    @initialize(started=CONFIGS)
    def begin(self, started: Any) -> None:
        self.pile = new_pile(started)

    def happen(self, event: Any) -> tuple[Any, ...]:
        """Take one event; whatever it brings about must be allowed."""
        before = self.pile
        image = repr(before)
        after, effects = step(before, event, self.now)
        assert step(before, event, self.now) == (after, effects)
        assert repr(before) == image
        self.pile = after
        self.outside.last_events = [*self.outside.last_events[-9:], event]
        assert all(type(effect) in _PERFORM for effect in effects)
        assert sum(isinstance(effect, Persist) for effect in effects) <= 1
        self._note_link(before, event)
        self._check_downlinks(before, effects)
        for effect in effects:
            self._note(effect)
        return effects

    def _note_link(self, before: Pile, event: Any) -> None:
        if self.pile.link != before.link or isinstance(event, LoginAsked):
            self.outside.is_admitted = isinstance(event, Resumed)

    def _check_downlinks(self, before: Pile, effects: tuple[Any, ...]) -> None:
        downlinks = [effect for effect in effects if isinstance(effect, down.Downlink)]
        if not downlinks:
            return
        assert self.pile.status is PileStatus.ONLINE, "nothing is sent to a pile that is not online"
        if not self.outside.is_admitted:
            assert isinstance(downlinks[0], down.LoginAnswer), "nothing before the login is answered"
        if any(isinstance(downlink, down.LoginAnswer) for downlink in downlinks):
            kinds = [type(downlink) for downlink in downlinks]
            assert kinds[:2] == [down.LoginAnswer, down.SetClock], "then the clock, then the rest"
            assert kinds.count(down.LoginAnswer) == 1
            self.outside.is_admitted = True

    def _note(self, effect: Any) -> None:
        outside = self.outside
        if isinstance(effect, Arm):
            assert effect.after_s > 0
            outside.timers.add(effect.timer)
        elif isinstance(effect, Disarm):
            outside.timers.discard(effect.timer)
        elif isinstance(effect, Reply):
            assert effect.command_id in outside.unanswered, "exactly one outcome for each command"
            outside.unanswered.remove(effect.command_id)
            outside.answered.add(effect.command_id)
        elif isinstance(effect, Persist):
            outside.written.append(effect.about)
        elif isinstance(effect, Unlink):
            assert effect.link is not None
        elif isinstance(effect, ShowGun):
            assert 1 <= effect.gun_no <= len(self.pile.guns)

    # --- what may come ----------------------------------------------------------------------------------

    @rule(link=LINKS, wait_s=WAITS, guns=st.integers(min_value=0, max_value=4))
    def log_in(self, link: str, wait_s: float, guns: int) -> None:
        self.happen(LoginAsked(login(guns), link, PEER, wait_s))

    @rule(link=LINKS)
    def lose_a_link(self, link: str) -> None:
        is_current = link == self.pile.link
        before = self.pile
        self.happen(LinkLost(link, "gone"))
        assert is_current or self.pile is before

    @precondition(lambda self: self.pile.status is PileStatus.UNKNOWN)
    @rule(link=LINKS)
    def resume(self, link: str) -> None:
        self.happen(Resumed(link, PEER))

    @rule(gun_no=GUNS, is_faulty=st.booleans(), wire_seq=st.integers(min_value=0, max_value=65_535))
    def beat(self, gun_no: int, is_faulty: bool, wire_seq: int) -> None:
        is_online = self.pile.status is PileStatus.ONLINE
        effects = self.happen(up.Heartbeat(CODE, wire_seq, gun_no, is_faulty))
        answers = [effect for effect in effects if isinstance(effect, down.HeartbeatAnswer)]
        assert answers == ([down.HeartbeatAnswer(CODE, wire_seq, gun_no)] if is_online else [])
        assert not is_online or effects[0] is answers[0]

    @rule(said=TELEMETRY)
    def measure(self, said: up.Telemetry) -> None:
        self.happen(said)

    @rule(gun_no=GUNS, status=st.sampled_from([ReportedStatus.IDLE, ReportedStatus.FAULT]))
    def charge_for_a_while(self, gun_no: int, status: ReportedStatus) -> None:
        """Chance alone seldom lets a charge begin and end."""
        self.happen(telemetry(gun_no, ReportedStatus.CHARGING, is_plugged=True))
        self.happen(telemetry(gun_no, status, is_plugged=True))

    @rule(said=OTHER_UPLINKS)
    def say(self, said: up.Uplink) -> None:
        self.happen(said)

    @rule(command=COMMANDS)
    def command(self, command: ask.Command) -> None:
        self.commands += 1
        self.outside.unanswered.add(self.commands)
        self.happen(CommandAsked(self.commands, command))

    @rule(changed=CONFIGS)
    def change(self, changed: Any) -> None:
        self.happen(ConfigChanged(changed))

    @precondition(lambda self: self.outside.timers)
    @rule(data=st.data())
    def let_a_timer_fire(self, data: st.DataObject) -> None:
        """As the shell does: a timer that fires is gone."""
        name = data.draw(st.sampled_from(sorted(self.outside.timers)))
        self.outside.timers.discard(name)
        kind, _, rest = name.partition(":")
        if kind == "reply":
            self.happen(ReplyDue(rest))
        elif kind == "record":
            self.happen(RecordDue(int(rest)))
        elif kind == "silence":
            ages = data.draw(st.lists(AGES, min_size=len(self.pile.guns), max_size=len(self.pile.guns)))
            self.happen(SilenceChecked(min(ages), tuple(ages)))
        else:
            self.happen(TIMER_EVENTS[kind])

    @rule(event=st.sampled_from([*TIMER_EVENTS.values(), SilenceChecked(0.0, ()), RecordDue(2)]))
    def let_a_timer_fire_that_nobody_armed(self, event: Any) -> None:
        self.happen(event)

    @precondition(lambda self: self.outside.written)
    @rule(state=st.sampled_from(RecordState), is_repeated=st.booleans())
    def store(self, state: RecordState, is_repeated: bool) -> None:
        said = self.outside.written[0] if is_repeated else self.outside.written.pop(0)
        self.happen(RecordKept(said, RecordResult(state, 1, 1)))

    @precondition(lambda self: self.outside.last_events)
    @rule(data=st.data())
    def repeat_something(self, data: st.DataObject) -> None:
        """Frames come twice, and late."""
        event = data.draw(st.sampled_from(self.outside.last_events))
        if isinstance(event, (Resumed, CommandAsked)):
            return  # made once each, by the shell
        self.happen(event)

    @rule(seconds=st.sampled_from([0.0, 1.0, 15.0, 40.0, 3_600.0]))
    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1000)

    # --- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def a_pile_that_is_away_has_no_link_and_nothing_on_its_way(self) -> None:
        if self.pile.status in (PileStatus.OFFLINE, PileStatus.UNKNOWN):
            assert self.pile.link is None
        else:
            assert self.pile.link is not None
        if self.pile.status is not PileStatus.ONLINE:
            assert self.pile.pending == ()

    @invariant()
    def nobody_waits_but_for_what_is_on_its_way(self) -> None:
        waiting = {entry.command_id for entry in self.pile.pending if entry.command_id is not None}
        assert waiting == self.outside.unanswered
        assert len({entry.kind for entry in self.pile.pending}) == len(self.pile.pending)

    @invariant()
    def what_is_on_its_way_has_its_deadline(self) -> None:
        armed = {name.partition(":")[2] for name in self.outside.timers if name.startswith("reply:")}
        assert armed == {entry.kind for entry in self.pile.pending}

    @invariant()
    def a_tariff_is_in_order_only_when_it_is_the_wanted_one(self) -> None:
        if self.pile.tariff_ok:
            assert self.pile.status is PileStatus.ONLINE
            assert holds_wanted(self.pile)

    @invariant()
    def guns_of_a_pile_that_is_away_are_not_known(self) -> None:
        assert [gun.gun_no for gun in self.pile.guns] == list(range(1, self.pile.config.gun_count + 1))
        if self.pile.status is not PileStatus.ONLINE:
            assert {gun.state for gun in self.pile.guns} <= GONE

    @invariant()
    def a_pile_that_is_online_is_watched(self) -> None:
        if self.pile.status is PileStatus.ONLINE:
            assert "absence" not in self.outside.timers
            assert "admission" not in self.outside.timers
        else:
            watches = {"silence", "tariff", "clock", "read"}
            assert not watches & self.outside.timers
            assert not [name for name in self.outside.timers if name.startswith("record:")]
        if self.pile.status is PileStatus.REGISTERING:
            assert self.pile.login is not None


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
