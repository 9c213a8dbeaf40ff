"""An exception inside a pile's actor: people see it, it heals by itself, and nobody else notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.actors import pile_machine
from pileward.actors.connection import ConnectionActor
from pileward.actors.engine import ActorFailed, ActorQuarantined
from pileward.actors.gun_machine import GunState
from pileward.actors.pile_machine import Rule
from pileward.actors.pile_state import Pile, PileStatus
from pileward.codecs.ykc import frames
from pileward.http.app import make_app
from pileward.messages import uplinks as up
from pileward.messages.commands import SetService, SyncClock
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.services import piles
from tests import books
from tests.hand import HandPile, online_by_hand, pile_by_hand, record, trade_no
from tests.nodes import CODES, TOKEN, Street
from tests.waiting import until

Client = TestClient[Any, Application]
CODE, OTHER = CODES[:2]
LIMIT = 5
"""Failures within a minute after which an actor still goes on."""


class Trap:
    """Makes the machine raise on real-time data of one pile that carries this SOC; other data pass."""

    SOC = 66

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sprung = 0
        table = pile_machine._BY_STATUS[PileStatus.ONLINE]

        def is_bait(pile: Pile, event: up.Telemetry) -> bool:
            return pile.code == CODE and event.soc_pct == self.SOC

        def spring(pile: Pile, event: up.Telemetry, now: int) -> Any:
            self.sprung += 1
            raise ZeroDivisionError("a bug in the table")

        trap = Rule(PileStatus.ONLINE, up.Telemetry, is_bait, spring, PileStatus.ONLINE)
        monkeypatch.setitem(table, up.Telemetry, (trap, *table[up.Telemetry]))

    def has_sprung(self, times: int) -> bool:
        """Whether it made the machine raise so many times."""
        return self.sprung == times


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Trap:
    """The machine has a bug."""
    return Trap(monkeypatch)


@pytest.fixture
async def client(street: Street, aiohttp_client: Callable[..., Awaitable[Client]]) -> Client:
    """Somebody with the operator's token looks at page and debug routes."""
    return await aiohttp_client(make_app(street.node), headers={"Authorization": f"Bearer {TOKEN}"})


async def look(client: Client, path: str) -> Any:
    """What a route answers."""
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def shown(client: Client, code: str) -> dict[str, Any]:
    """A pile as the page shows it."""
    overview = await look(client, "/api/public/v1/overview")
    return next(
        pile for station in overview["stations"] for pile in station["piles"] if pile["pile_code"] == code
    )


async def spring(street: Street, pile: HandPile, trap: Trap, times: int = 1) -> None:
    """Let the actor fail, and wait until it has begun anew (or not)."""
    actor = street.node.around.piles[CODE]
    for wanted in range(trap.sprung + 1, trap.sprung + times + 1):
        pile.report(1, soc=Trap.SOC)
        await until(partial(trap.has_sprung, wanted), what="the failure")
        await until(lambda: actor.instance is None or not actor.instance.is_loading, what="the restart")


async def test_one_failure_is_seen_and_heals_on_the_same_connection(
    street: Street, client: Client, trap: Trap
) -> None:
    pile, other = await online_by_hand(street, CODE), await online_by_hand(street, OTHER)
    link = street.pile(CODE).link
    others = len(street.node.around.piles[OTHER].instance.transitions.rows())
    await spring(street, pile, trap)

    assert street.pile(CODE).link is link
    assert street.pile(CODE).tariff_ok
    for gun_no in (1, 2):  # it asks where things stand
        await pile.peer.hear(frames.ReadRealTimeData, gun_no=gun_no)
        pile.report(gun_no)
    await until(lambda: {gun.state for gun in street.pile(CODE).guns} == {GunState.IDLE})
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    pile.peer.say(record(CODE))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE))

    events = [event for event in street.node.recent_events() if isinstance(event, PileChanged)]
    reasons = [event.reason for event in events if event.pile_code == CODE]
    assert reasons[-2:] == ["actor_failed", "restarted"]
    info = (await look(client, f"/debug/piles/{CODE}"))["info"]
    assert (info["failures"], info["restarts"], info["is_quarantined"]) == (1, 1, False)
    assert info["last_error"] == "ZeroDivisionError: a bug in the table"
    assert (await shown(client, CODE))["state"] == "online"
    assert street.node.metrics.restarts == 1
    assert street.node.metrics.logins_accepted == 2
    assert len(street.node.around.piles[OTHER].instance.transitions.rows()) == others
    assert not other.peer.is_closed


async def test_what_the_failing_handler_did_is_not_half_done(street: Street, trap: Trap) -> None:
    pile = await online_by_hand(street, CODE)
    gauges = dict(street.node.metrics.guns), dict(street.node.metrics.piles)
    pile.report(1, 1, hardware_fault=1)
    await until(lambda: books.open_alarms(street, CODE) == {"fault:emergency_stop"})
    await spring(street, pile, trap)
    assert street.alarms(CODE) == {"fault:emergency_stop"}
    pile.report(1)
    pile.report(2)
    await until(lambda: books.open_alarms(street, CODE) == set())
    await street.settle()
    counted = {state: count for state, count in street.node.metrics.guns.items() if count}
    assert counted == {state: count for state, count in gauges[0].items() if count}
    assert street.node.metrics.piles[PileStatus.ONLINE] == gauges[1][PileStatus.ONLINE]
    assert street.node.metrics.alarms_open == 0


async def test_who_waits_for_an_answer_of_the_failed_actor_is_told(street: Street, trap: Trap) -> None:
    pile = await online_by_hand(street, CODE)
    asking = street.asking(CODE, SetService(is_in_service=False))
    await pile.peer.hear(frames.WorkingParameters)
    await spring(street, pile, trap)
    with pytest.raises(ActorFailed, match="a bug in the table"):
        await asking


async def test_a_record_on_its_way_during_a_failure_is_durable_and_its_repeat_confirmed(
    street: Street, trap: Trap
) -> None:
    pile = await online_by_hand(street, CODE)
    with books.locked(street):
        pile.peer.say(record(CODE, 1))
        await until(lambda: street.node.waiting.in_flight, what="the write")
        pile.report(1, soc=Trap.SOC)
        await until(lambda: trap.sprung, what="the failure")
        pile.peer.say(record(CODE, 2))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE, 2))
    assert pile.peer.heard(frames.TransactionRecordAnswer, trade_no=trade_no(CODE, 1)) == []
    pile.peer.say(record(CODE, 1))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(CODE, 1))
    assert books.records(street) == [
        books.KeptRecord(trade_no(CODE, 1), 0, 1),
        books.KeptRecord(trade_no(CODE, 2), 0, 0),
    ]


async def test_a_pile_whose_line_dies_during_a_failure_is_offline_and_comes_back(
    street: Street, trap: Trap
) -> None:
    pile = await online_by_hand(street, CODE)
    with books.locked(street):  # the restart has to wait for nothing but a read
        pile.report(1, soc=Trap.SOC)
        pile.peer.hang_up()
        await until(lambda: street.node.metrics.connections == 0)
    await until(lambda: street.pile(CODE).status is PileStatus.OFFLINE)
    await online_by_hand(street, CODE)


async def test_six_failures_within_a_minute_quarantine_one_pile_and_nobody_else(
    street: Street, client: Client, trap: Trap
) -> None:
    pile, other = await online_by_hand(street, CODE), await online_by_hand(street, OTHER)
    await spring(street, pile, trap, LIMIT)
    assert not street.node.engine.quarantined
    await spring(street, pile, trap)
    address = street.node.around.piles[CODE]
    assert [cell.path for cell in street.node.engine.quarantined] == [address.path]

    await pile.peer.hear_close()
    look_at = await shown(client, CODE)
    assert (look_at["state"], look_at["reason"]) == ("quarantined", "ZeroDivisionError: a bug in the table")
    info = (await look(client, f"/debug/piles/{CODE}"))["info"]
    assert (info["state"], info["is_quarantined"], info["failures"]) == ("quarantined", True, LIMIT + 1)
    tree = await look(client, "/debug/actors")
    assert tree["engine"]["quarantined"] == [address.path]
    await until(lambda: books.open_alarms(street, CODE) == {"quarantined"})
    alarms = [event for event in street.node.recent_events() if isinstance(event, AlarmChanged)]
    assert [(event.kind, event.is_open) for event in alarms] == [("quarantined", True)]
    assert street.node.metrics.quarantines == 1

    again = await pile_by_hand(street, CODE)
    again.log_in()
    await again.peer.hear(frames.LoginAnswer, result=1)
    assert street.node.metrics.logins_refused["quarantined"] == 1
    with pytest.raises(ActorQuarantined):
        await street.command(CODE, SyncClock())

    other.beat(1)
    await other.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    assert (await shown(client, OTHER))["state"] == "online"


async def test_a_released_pile_works_again(street: Street, client: Client, trap: Trap) -> None:
    (control,) = street.power_on(OTHER)
    pile = await online_by_hand(street, CODE)
    await street.online(OTHER)
    await spring(street, pile, trap, LIMIT + 1)
    await until(lambda: books.open_alarms(street, CODE) == {"quarantined"})
    assert street.node.metrics.piles[PileStatus.ONLINE] == 1
    await street.pass_time(600, step=5)
    answer = await client.post(f"/api/admin/v1/piles/{CODE}/commands/release")
    assert await answer.json() == {"was_quarantined": True}
    await until(lambda: not street.node.around.piles[CODE].instance.is_loading)
    assert (await shown(client, CODE))["state"] in ("unknown", "offline"), "nobody has spoken for it yet"
    await until(lambda: books.open_alarms(street, CODE) == set())
    await online_by_hand(street, CODE)
    assert (await shown(client, CODE))["state"] == "online"
    assert street.alarms(CODE) == set()
    assert control.is_online


async def test_five_failures_now_and_then_do_not_quarantine(street: Street, trap: Trap) -> None:
    pile = await online_by_hand(street, CODE)
    for _ in range(4 * LIMIT):
        await spring(street, pile, trap)
        pile.beat()
        await street.pass_time(13)
    assert not street.node.engine.quarantined
    assert street.pile(CODE).status is PileStatus.ONLINE


async def test_a_quarantine_ends_with_the_process_and_so_does_its_alarm(street: Street, trap: Trap) -> None:
    pile = await online_by_hand(street, CODE)
    await spring(street, pile, trap, LIMIT + 1)
    await until(lambda: books.open_alarms(street, CODE) == {"quarantined"})
    await street.crash()
    await street.restart()
    await until(lambda: books.open_alarms(street, CODE) == set())
    await online_by_hand(street, CODE)
    assert street.node.metrics.alarms_open == 0


async def test_a_quarantined_pile_can_be_retired(street: Street, trap: Trap) -> None:
    pile = await online_by_hand(street, CODE)
    await spring(street, pile, trap, LIMIT + 1)
    await until(lambda: books.open_alarms(street, CODE) == {"quarantined"})
    await piles.change_pile(street.who_now(), CODE, piles.PileChange(is_retired=True))
    await street.node.fleet_changed("pile", CODE)
    await until(lambda: CODE not in street.node.around.piles)
    await until(lambda: books.open_alarms(street, CODE) == set())
    assert CODE not in street.node.around.quarantined
    assert not street.node.engine.quarantined


async def test_a_failing_connection_closes_itself_and_its_pile_comes_back(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    (control,) = street.power_on(CODE)
    other = await online_by_hand(street, OTHER)
    await street.online(CODE)
    take = ConnectionActor._take

    def fail_once(self: ConnectionActor, *arguments: Any) -> None:
        if CODE in self.routes:
            monkeypatch.undo()
            raise RuntimeError("a bug in the connection")
        take(self, *arguments)

    monkeypatch.setattr(ConnectionActor, "_take", fail_once)
    await street.eventually(lambda: street.pile(CODE).status is PileStatus.OFFLINE)
    assert street.pile(CODE).reason == "failed"
    await street.online(CODE)
    assert control.is_online
    assert not other.peer.is_closed
    assert street.node.metrics.logins_accepted == 3
