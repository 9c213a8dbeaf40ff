"""The shell around a pile's machine: what is held for the store, what a restart keeps, what others see."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from thespian.actors import ActorExitRequest

from pileward.actors import effects as fx
from pileward.actors import pile as pile_module
from pileward.actors.connection_messages import PileUnlinked, Watch
from pileward.actors.engine import ActorFailed, ActorGone, Engine
from pileward.actors.gun_machine import GunState
from pileward.actors.pile import COMMANDS_WAITING_MAX, PENDING_WRITES_MAX, PileActor, PileStart
from pileward.actors.pile_state import LinkLost, LoginAsked, Pile, PileStatus
from pileward.actors.store_messages import LoadPile, PileLoaded, Refused, Save, Stored, TakeSample
from pileward.actors.transitions import KEPT
from pileward.clock import ManualClock
from pileward.messages import commands as ask
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.charging_writes import SettleRecord
from pileward.messages.commands import Command, Outcome
from pileward.messages.events import AlarmChanged, GunChanged, PileChanged
from pileward.ports import ALARM_TOPIC, GUN_TOPIC, PILE_TOPIC
from pileward.services.alarms import CloseAlarm, OpenAlarm
from pileward.services.pile_facts import SaveLogin, SaveSeen
from pileward.services.records import RecordResult, RecordState, StoreRecord
from pileward.values import ReportedStatus
from tests.around import noted, speak, stand_in, surroundings
from tests.piles import CODE, MOMENT, PEER, charging, config, login, record, telemetry
from tests.unit.engine_actors import boom, engine_with, inside, settle

Alarms = frozenset[tuple[str, int | None]]


class Yard:
    """One pile actor between a store, a connection and an edge that do what a test says."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.around = surroundings(engine)
        self.store = self.around.store = stand_in(engine)
        self.link = stand_in(engine)
        self.address: Any = None
        self.answered: set[int] = set()

    def enlist(self, open_alarms: Alarms = frozenset(), **changes: Any) -> None:
        """Make the actor."""
        self.address = self.engine.create(PileActor, PileStart(config(**changes), self.around, open_alarms))

    @property
    def pile(self) -> Pile:
        """The pile as everybody else sees it."""
        return self.around.seen[CODE]

    async def hear(self, *uplinks: Any, link: Any = None) -> None:
        """Have the connection hand over what a pile said."""
        speak(self.engine, link or self.link, self.address, *uplinks)
        await settle(self.engine)

    async def log_in(self, link: Any = None, wait_s: float = 0.0) -> None:
        link = link or self.link
        await self.hear(LoginAsked(login(), link, PEER, wait_s), link=link)

    async def go_online(self) -> None:
        """Log in, hold the tariff, tell of two idle guns; nothing stays in anybody's notes."""
        await self.log_in()
        await self.hear(
            up.ClockAnswer(CODE, 8, self.clock.utc()),
            up.TariffCheck(CODE, 9, "0100"),
            telemetry(1),
            telemetry(2),
        )
        self.forget()

    def forget(self) -> None:
        inside(self.link).seen.clear()
        inside(self.store).seen.clear()
        self.around.recent.clear()

    def sent(self, *kinds: type, link: Any = None) -> list[Any]:
        """What went to the connection."""
        return noted(link or self.link, *kinds)

    def writes(self, *kinds: type) -> list[Any]:
        """What was given to the store."""
        return [save.write for save in noted(self.store, Save) if not kinds or isinstance(save.write, kinds)]

    def tickets(self) -> list[int]:
        """Tickets that the store has not answered, oldest first; settlements left out."""
        return [
            save.ticket
            for save in noted(self.store, Save)
            if save.ticket and save.ticket not in self.answered and not isinstance(save.write, SettleRecord)
        ]

    async def stored(self, count: int = 1, state: RecordState = RecordState.STORED) -> None:
        """Let the store commit the oldest writes."""
        for ticket in self.tickets()[:count]:
            self.answered.add(ticket)
            speak(self.engine, self.store, self.address, Stored(ticket, RecordResult(state, 1, 1)))
        await settle(self.engine)

    async def refused(self, place: int = 0, *, is_pressure: bool) -> None:
        """Let the store refuse one of the writes it has not answered."""
        ticket = self.tickets()[place]
        self.answered.add(ticket)
        speak(self.engine, self.store, self.address, Refused(ticket, "reason", is_pressure))
        await settle(self.engine)

    async def command(self, command: Command) -> Any:
        return await self.engine.ask_async(self.address, command, 10.0)

    async def begin_to_ask(self, command: Command) -> asyncio.Task[Any]:
        """Ask without waiting for the outcome."""
        task = asyncio.create_task(self.command(command))
        await asyncio.sleep(0)
        await settle(self.engine)
        return task

    async def fail(self) -> None:
        """Let a handler of the actor raise: the engine puts a fresh instance in place."""
        before = inside(self.address)
        before._watch = boom
        speak(self.engine, stand_in(self.engine), self.address, ask.WatchFrames(1))
        await settle(self.engine)
        assert inside(self.address) is not before

    async def loaded(
        self, open_alarms: frozenset[tuple[str, int | None]] = frozenset(), **changes: Any
    ) -> None:
        """Let the store hand over the pile as the database has it."""
        answer = PileLoaded(CODE, config(**changes), open_alarms)
        speak(self.engine, self.store, self.address, answer)
        await settle(self.engine)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await settle(self.engine)

    def check_gauges(self) -> None:
        """Gauges count exactly what is shown."""
        metrics, seen = self.around.metrics, self.around.seen.values()
        piles = Counter(pile.status for pile in seen)
        guns = Counter(gun.state for pile in seen for gun in pile.guns)
        assert {state: count for state, count in metrics.piles.items() if count} == piles
        assert {state: count for state, count in metrics.guns.items() if count} == guns
        assert metrics.alarms_open == sum(len(alarms) for alarms in self.around.alarms.values())


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    clock = ManualClock(MOMENT)
    async with engine_with(clock) as engine:
        opened = Yard(engine, clock)
        opened.enlist()
        await settle(engine)
        yield opened
        opened.check_gauges()


def names(messages: list[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]


# --- before telling, writing ----------------------------------------------------------------------------


async def test_a_record_is_confirmed_when_it_is_stored_and_not_before(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record())
    assert names(yard.writes(StoreRecord)) == ["StoreRecord"]
    assert yard.sent() == []
    await yard.stored()
    assert yard.sent() == [down.RecordAnswer(CODE, 11, record().wire_number)]


async def test_what_follows_a_write_waits_for_it_in_order(yard: Yard) -> None:
    await yard.go_online()
    async with yard.around.bus.subscribe(GUN_TOPIC):
        await yard.hear(record())
        reboot = await yard.begin_to_ask(ask.RebootPile())
        await yard.hear(charging(2), up.RebootAnswer(CODE, 5, True), record(wire_seq=12), telemetry(1))
        await yard.hear(up.LocalStartRequest(CODE, 6, 1, "card", "0" * 16, False, b"", ""))
        assert yard.sent() == []
        assert not reboot.done()
        assert yard.around.bus.stats.published == 0
        await yard.stored()
        assert names(yard.sent()) == ["RecordAnswer", "Reboot"]
        assert (await reboot).status == "accepted"
        assert yard.around.bus.stats.published == 1
        await yard.stored()
    assert names(yard.sent()) == ["RecordAnswer", "Reboot", "RecordAnswer", "LocalStartAnswer"]
    assert [answer.wire_seq for answer in yard.sent(down.RecordAnswer)] == [11, 12]


async def test_what_keeps_a_pile_alive_never_waits_for_the_store(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record())
    await yard.hear(
        up.Heartbeat(CODE, 21, 1, False),
        up.TariffCheck(CODE, 22, "0100"),
        up.TariffRequest(CODE, 23),
    )
    await yard.log_in()
    await yard.pass_time(10.0)
    assert names(yard.sent()) == [
        "HeartbeatAnswer",
        "TariffCheckAnswer",
        "TariffDelivery",
        "LoginAnswer",
        "SetClock",
        "SetClock",  # not answered within ten seconds
    ]
    assert names(yard.writes(SaveLogin)) == ["SaveLogin"]


async def test_an_answer_held_for_another_connection_is_not_sent(yard: Yard) -> None:
    await yard.go_online()
    other = stand_in(yard.engine)
    await yard.hear(record())
    await yard.hear(up.LocalStartRequest(CODE, 6, 1, "card", "0" * 16, False, b"", ""))
    await yard.log_in(other)
    await yard.stored()
    assert yard.sent() == [PileUnlinked(CODE, "replaced")]
    assert names(yard.sent(link=other)) == ["LoginAnswer", "SetClock"]
    await yard.hear(record(), link=other)  # the pile repeats it where it is now
    await yard.stored(state=RecordState.SAME)
    assert names(yard.sent(down.RecordAnswer, link=other)) == ["RecordAnswer"]


async def test_a_record_that_is_durable_moves_its_gun(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(charging(1), record())
    assert [gun.state for gun in yard.pile.guns] == [GunState.CHARGING, GunState.IDLE]
    await yard.stored()
    assert [gun.state for gun in yard.pile.guns] == [GunState.FINISHED, GunState.IDLE]


def test_what_never_waits_and_that_everything_can_be_performed() -> None:
    downlinks = {
        kind for kind in vars(down).values() if isinstance(kind, type) and issubclass(kind, down.Downlink)
    }
    effects = {kind for kind in vars(fx).values() if isinstance(kind, type) and issubclass(kind, fx.Effect)}
    assert downlinks & pile_module._URGENT == {
        down.LoginAnswer,  # YKC 0x02
        down.HeartbeatAnswer,  # 0x04
        down.TariffCheckAnswer,  # 0x06
        down.TariffDelivery,  # 0x0A
        down.SetClock,  # 0x56
    }
    assert effects & pile_module._URGENT == {fx.Arm, fx.Disarm, fx.Note, fx.Sample, fx.Count}
    assert downlinks - {down.Downlink} <= set(pile_module._PERFORM)
    assert set(pile_module._PERFORM) >= pile_module._URGENT


# --- the store refuses ----------------------------------------------------------------------------------


async def test_under_pressure_only_the_confirmation_is_dropped(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record())
    reboot = await yard.begin_to_ask(ask.RebootPile())
    await yard.hear(up.RebootAnswer(CODE, 5, True))
    await yard.refused(is_pressure=True)
    assert names(yard.sent()) == ["Reboot"]
    assert (await reboot).status == "accepted"
    assert [write.kind for write in yard.writes(OpenAlarm)] == ["record_unconfirmed"]
    assert yard.around.metrics.records_dropped == 1
    await yard.hear(record())  # the pile keeps and repeats it
    await yard.stored()
    assert names(yard.sent()) == ["Reboot", "RecordAnswer"]
    assert [write.kind for write in yard.writes(CloseAlarm)][-1] == "record_unconfirmed"


async def test_a_full_store_refuses_before_it_answers_what_it_has_taken(yard: Yard) -> None:
    await yard.go_online()
    for sequence in (11, 12, 13):
        await yard.hear(record(wire_seq=sequence))
    reading = await yard.begin_to_ask(ask.ReadGun(1))
    await yard.refused(2, is_pressure=True)
    await yard.refused(1, is_pressure=True)
    assert yard.sent() == []
    await yard.stored()
    assert names(yard.sent()) == ["RecordAnswer", "ReadTelemetry"]
    assert [answer.wire_seq for answer in yard.sent(down.RecordAnswer)] == [11]
    await yard.hear(telemetry(1))
    assert (await reading).status == "accepted"


async def test_so_many_writes_wait_and_no_more(yard: Yard) -> None:
    await yard.go_online()
    for number in range(PENDING_WRITES_MAX + 2):
        await yard.hear(record(wire_seq=number))
    assert len(yard.tickets()) == PENDING_WRITES_MAX
    assert yard.around.metrics.records_dropped == 2
    assert len(yard.writes(OpenAlarm)) == 1
    await yard.stored(PENDING_WRITES_MAX)
    assert [answer.wire_seq for answer in yard.sent(down.RecordAnswer)] == list(range(PENDING_WRITES_MAX))


async def test_a_write_that_can_never_be_stored_restarts_the_actor(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record(), record(wire_seq=12))
    reboot = await yard.begin_to_ask(ask.RebootPile())
    before = inside(yard.address)
    await yard.refused(is_pressure=False)
    assert inside(yard.address) is not before
    with pytest.raises(ActorFailed, match="the store refused a write"):
        await reboot
    assert noted(yard.store, LoadPile) == [LoadPile(CODE)]
    await yard.loaded()
    await yard.stored()  # the second one, for which the earlier instance waited
    assert not yard.sent(down.RecordAnswer, down.Reboot)


async def test_an_answer_to_an_earlier_instance_confirms_nothing(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record())
    await yard.fail()
    await yard.loaded()
    await yard.hear(record(wire_seq=12, body=b"another"))
    await yard.stored()  # of the first record
    assert not yard.sent(down.RecordAnswer)
    await yard.stored()
    assert [answer.wire_seq for answer in yard.sent(down.RecordAnswer)] == [12]


# --- a restart ------------------------------------------------------------------------------------------


async def test_a_restarted_pile_goes_on_with_the_connection_it_was_admitted_on(yard: Yard) -> None:
    await yard.go_online()
    await yard.fail()
    yard.check_gauges()
    assert noted(yard.store, LoadPile) == [LoadPile(CODE)]
    await yard.hear(up.Heartbeat(CODE, 21, 1, False))
    assert yard.sent() == []  # it waits for its row
    await yard.loaded(name="neu", confirmed_billing_model_no="0100")
    assert (yard.pile.status, yard.pile.link, yard.pile.reason) == (PileStatus.ONLINE, yard.link, "restarted")
    assert (yard.pile.config.name, yard.pile.tariff_ok, yard.pile.remote_address) == ("neu", True, PEER)
    assert names(yard.sent()) == ["ReadTelemetry", "ReadTelemetry", "HeartbeatAnswer"]
    yard.check_gauges()
    await yard.hear(telemetry(1))
    assert yard.pile.guns[0].state is GunState.IDLE


async def test_a_pile_that_waited_for_its_turn_is_admitted_after_a_restart(yard: Yard) -> None:
    await yard.log_in(wait_s=5.0)
    assert yard.sent() == []
    await yard.fail()
    await yard.loaded()
    assert names(yard.sent()) == ["LoginAnswer", "SetClock"]
    assert yard.pile.status is PileStatus.ONLINE


async def test_a_login_whose_handling_failed_is_answered_when_it_is_repeated(yard: Yard) -> None:
    inside(yard.address)._show_pile = boom
    await yard.log_in()
    assert names(yard.sent()) == ["Failed"]  # nothing of a failed handler gets out
    await yard.loaded()
    await yard.hear(up.Heartbeat(CODE, 21, 1, False))
    assert yard.pile.status is PileStatus.UNKNOWN  # and it was not admitted
    await yard.log_in()
    assert names(yard.sent()) == ["Failed", "LoginAnswer", "SetClock"]


async def test_a_connection_that_closed_meanwhile_takes_the_pile_offline(yard: Yard) -> None:
    await yard.go_online()
    await yard.fail()
    await yard.hear(LinkLost(yard.link, "peer_closed"))
    await yard.loaded()
    assert (yard.pile.status, yard.pile.link) == (PileStatus.OFFLINE, None)


async def test_a_failure_in_every_state_leaves_the_gauges_right(yard: Yard) -> None:
    await yard.fail()
    await yard.loaded()
    yard.check_gauges()
    await yard.loaded(gun_count=4)  # staff change it before it has logged in again
    yard.check_gauges()
    await yard.go_online()
    await yard.fail()
    await yard.loaded(gun_count=1)
    yard.check_gauges()
    assert len(yard.pile.guns) == 1
    await yard.hear(LinkLost(yard.link, "gone"))
    await yard.fail()
    await yard.loaded(gun_count=2)
    yard.check_gauges()


async def test_alarms_survive_a_restart(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(telemetry(1, ReportedStatus.FAULT, fault_codes=("door_open",)))
    await yard.fail()
    await yard.loaded(frozenset({("fault:door_open", 1), ("no_tariff", None)}))
    yard.check_gauges()
    yard.forget()
    await yard.hear(telemetry(1, ReportedStatus.FAULT, fault_codes=("door_open",)))
    assert yard.writes(OpenAlarm) == []
    await yard.hear(telemetry(1))
    assert [write.kind for write in yard.writes(CloseAlarm)] == ["fault:door_open"]


async def test_timers_of_the_instance_before_do_not_fire(yard: Yard) -> None:
    await yard.log_in()  # the clock is not answered: it would be set again after 10 s
    await yard.pass_time(9.0)
    await yard.fail()
    await yard.loaded()
    yard.forget()
    await yard.pass_time(5.0)
    assert yard.sent() == []
    assert inside(yard.address).pile.pending == ()


# --- time -----------------------------------------------------------------------------------------------


async def test_silence_is_looked_for_only_when_it_may_have_come(yard: Yard) -> None:
    await yard.go_online()
    for _ in range(6):
        await yard.pass_time(10.0)
        await yard.hear(up.Heartbeat(CODE, 21, 1, False), up.Heartbeat(CODE, 22, 2, False))
    assert yard.pile.status is PileStatus.ONLINE
    await yard.pass_time(29.0)
    assert yard.pile.status is PileStatus.ONLINE
    await yard.pass_time(2.0)
    assert (yard.pile.status, yard.pile.reason) == (PileStatus.OFFLINE, "silent")
    assert yard.sent(PileUnlinked) == [PileUnlinked(CODE, "silent")]
    assert names(yard.writes(SaveSeen)) == ["SaveSeen"]
    await yard.hear(up.Heartbeat(CODE, 23, 1, False))
    assert yard.around.metrics.misplaced["stale_link"] == 1


async def test_one_silent_gun_goes_offline_alone_with_an_alarm(yard: Yard) -> None:
    await yard.go_online()
    for _ in range(4):
        await yard.pass_time(10.0)
        await yard.hear(up.Heartbeat(CODE, 21, 2, False))
    assert [gun.state for gun in yard.pile.guns] == [GunState.OFFLINE, GunState.IDLE]
    assert [(write.kind, write.gun_no) for write in yard.writes(OpenAlarm)] == [("gun_silent", 1)]
    await yard.hear(up.Heartbeat(CODE, 22, 1, False))
    assert [(write.kind, write.gun_no) for write in yard.writes(CloseAlarm)] == [("gun_silent", 1)]


async def test_a_registered_pile_that_never_comes_is_an_alarm(yard: Yard) -> None:
    await yard.pass_time(119.0)
    assert yard.writes(OpenAlarm) == []
    await yard.pass_time(2.0)
    assert [write.kind for write in yard.writes(OpenAlarm)] == ["offline"]
    await yard.log_in()
    assert [write.kind for write in yard.writes(CloseAlarm)] == ["offline"]


async def test_a_login_waits_its_turn(yard: Yard) -> None:
    await yard.log_in(wait_s=2.5)
    assert yard.pile.status is PileStatus.REGISTERING
    await yard.pass_time(2.4)
    assert yard.sent() == []
    await yard.log_in(wait_s=0.0)  # repeated
    await yard.pass_time(0.2)
    assert names(yard.sent()) == ["LoginAnswer", "SetClock"]


async def test_the_next_version_of_a_tariff_is_loaded_when_it_is_due(yard: Yard) -> None:
    await yard.loaded(next_tariff_at=MOMENT + timedelta(hours=1))
    await yard.pass_time(3_599.0)
    assert noted(yard.store, LoadPile) == []
    await yard.pass_time(1.0)
    assert noted(yard.store, LoadPile) == [LoadPile(CODE)]
    await yard.loaded()
    await yard.pass_time(86_400.0)
    assert len(noted(yard.store, LoadPile)) == 1


# --- commands -------------------------------------------------------------------------------------------


async def test_a_command_gets_the_answer_of_the_pile(yard: Yard) -> None:
    await yard.go_online()
    reboot = await yard.begin_to_ask(ask.RebootPile())
    assert yard.sent() == [down.Reboot(CODE, None, True)]
    await yard.hear(up.RebootAnswer(CODE, 5, False))
    assert await reboot == Outcome("rejected", "refused_by_pile")  # type: ignore[arg-type] # StrEnum
    assert inside(yard.address).asked == {}
    assert yard.around.metrics.commands["rejected"] == 1


async def test_a_command_without_an_answer_times_out_after_three_attempts(yard: Yard) -> None:
    await yard.go_online()
    reboot = await yard.begin_to_ask(ask.RebootPile())
    for _ in range(29):
        await yard.pass_time(1.0)
        await yard.hear(up.Heartbeat(CODE, 21, 1, False))
    assert names(yard.sent(down.Reboot)) == ["Reboot"] * 3
    assert not reboot.done()
    await yard.pass_time(1.0)
    assert (await reboot).status == "timed_out"


async def test_a_pile_that_is_away_says_so_at_once(yard: Yard) -> None:
    assert (await yard.command(ask.RebootPile())).status == "offline"
    assert (await yard.command(ask.WatchFrames())).status == "offline"


async def test_so_many_edges_may_wait_for_one_pile(yard: Yard) -> None:
    await yard.go_online()
    await yard.hear(record())  # holds every outcome
    tasks = [await yard.begin_to_ask(ask.ReadGun(number)) for number in range(COMMANDS_WAITING_MAX)]
    assert (await yard.command(ask.SyncClock())).reason == "too_many_commands"
    await yard.stored()
    await asyncio.sleep(0)
    outcomes = [task.result().reason for task in tasks if task.done()]
    assert outcomes == ["unknown_gun"] * (COMMANDS_WAITING_MAX - 2)  # but for guns 1 and 2
    await yard.hear(telemetry(1), telemetry(2))
    assert [(await task).status for task in tasks].count("accepted") == 2


async def test_watching_is_handed_to_the_connection(yard: Yard) -> None:
    await yard.go_online()
    assert (await yard.command(ask.WatchFrames(60))).status == "accepted"
    assert yard.sent() == [Watch(CODE, 60)]


# --- what others see ------------------------------------------------------------------------------------


async def test_alarms_are_raised_and_cleared_once(yard: Yard) -> None:
    await yard.go_online()
    fault = telemetry(1, ReportedStatus.FAULT, fault_codes=("door_open",))
    other = telemetry(2, ReportedStatus.FAULT, fault_codes=("door_open",))
    await yard.hear(fault, fault, other, telemetry(1), fault)
    opened = [(write.kind, write.gun_no) for write in yard.writes(OpenAlarm)]
    assert opened == [("fault:door_open", 1), ("fault:door_open", 2), ("fault:door_open", 1)]
    assert [write.gun_no for write in yard.writes(CloseAlarm)] == [1]
    assert yard.around.metrics.alarms_open == 2
    assert yard.around.metrics.alarms_raised["fault:door_open"] == 3
    events = [event for event in yard.around.recent if isinstance(event, AlarmChanged)]
    assert [(event.gun_no, event.is_open) for event in events] == [
        (1, True),
        (2, True),
        (1, False),
        (1, True),
    ]


async def test_alarms_known_from_the_database_are_not_raised_again() -> None:
    clock = ManualClock(MOMENT)
    async with engine_with(clock) as engine:
        yard = Yard(engine, clock)
        yard.enlist(frozenset({("login_mismatch", None), ("offline", None)}), gun_count=3)
        await yard.log_in()
        assert yard.writes(OpenAlarm) == []
        assert [write.kind for write in yard.writes(CloseAlarm)] == ["offline"]
        yard.check_gauges()


async def test_samples_go_to_the_store(yard: Yard) -> None:
    await yard.go_online()
    await yard.pass_time(15.0)
    await yard.hear(charging(1))
    assert [(sample.telemetry.gun_no, sample.at_ms) for sample in noted(yard.store, TakeSample)] == [
        (1, yard.clock.epoch_ms())
    ]


async def test_the_feed_tells_whoever_listens(yard: Yard) -> None:
    decoder = msgspec.json.Decoder(GunChanged | PileChanged | AlarmChanged)
    async with yard.around.bus.subscribe(PILE_TOPIC, GUN_TOPIC, ALARM_TOPIC) as feed:
        await yard.log_in()
        await yard.hear(telemetry(2, fault_codes=("door_open",)))
        payloads = [(await anext(feed))[1] for _ in range(yard.around.bus.stats.published)]
    events = [decoder.decode(payload) for payload in payloads]
    piles = [event for event in events if isinstance(event, PileChanged)]
    assert [(event.state, event.reason) for event in piles] == [("online", "login")]
    guns = [event for event in events if isinstance(event, GunChanged) and event.gun_no == 2]
    assert (guns[-1].state, guns[-1].fault_codes) == ("idle", ("door_open",))
    assert [event.kind for event in events if isinstance(event, AlarmChanged)] == ["fault:door_open"]


async def test_a_description_shows_what_an_engineer_asks_for(yard: Yard) -> None:
    await yard.pass_time(1.0)
    await yard.go_online()
    for is_plugged, _ in itertools.product((True, False), range(KEPT)):
        await yard.hear(telemetry(1, is_plugged=is_plugged), telemetry(1, is_plugged=not is_plugged))
    await yard.hear(record())
    await yard.begin_to_ask(ask.RebootPile())
    await yard.pass_time(3.0)
    data = (await yard.command(ask.DescribePile())).data
    assert (data["state"], data["waiting_commands"], data["pending_writes"]) == ("online", 1, 1)
    assert data["silent_s"] == 3.0, "since the record"
    assert len(data["transitions"]) == KEPT
    assert data["transitions"][-1]["machine"] == "gun:1"
    assert data["alarms"] == []
    assert inside(yard.address).inspect() == data
    await yard.stored()


async def test_frames_that_mean_nothing_now_are_counted(yard: Yard) -> None:
    await yard.hear(up.Heartbeat(CODE, 1, 1, False))
    await yard.go_online()
    await yard.hear(up.StopAnswer(CODE, 1, 1, True, 0), up.Heartbeat(CODE, 1, 3, False))
    speak(yard.engine, yard.store, yard.address, "what is this?")
    await settle(yard.engine)
    assert yard.around.metrics.misplaced == {
        "stale_link": 1,
        "StopAnswer in ONLINE": 1,
        "unknown_gun": 1,
        "to_pile:str": 1,
    }


# --- the end --------------------------------------------------------------------------------------------


async def test_a_retired_pile_closes_what_is_open_about_it() -> None:
    clock = ManualClock(MOMENT)
    async with engine_with(clock) as engine:
        yard = Yard(engine, clock)
        yard.enlist()
        await yard.go_online()
        await yard.hear(telemetry(1, ReportedStatus.FAULT, fault_codes=("door_open",)))
        reboot = await yard.begin_to_ask(ask.RebootPile())
        speak(engine, yard.store, yard.address, PileLoaded(CODE, None))
        await settle(engine)
        assert engine.info(yard.address) is None
        assert [(write.kind, write.gun_no) for write in yard.writes(CloseAlarm)] == [("fault:door_open", 1)]
        assert yard.sent()[-1] == PileUnlinked(CODE, "retired")
        assert yard.around.metrics.alarms_open == 0
        with pytest.raises(ActorGone):
            await reboot


async def test_an_actor_that_ends_without_being_retired_closes_no_alarm() -> None:
    clock = ManualClock(MOMENT)
    async with engine_with(clock) as engine:
        yard = Yard(engine, clock)
        yard.enlist(frozenset({("offline", None)}))
        await settle(engine)
        engine.tell(yard.address, ActorExitRequest())
        await settle(engine)
        assert yard.writes() == []
