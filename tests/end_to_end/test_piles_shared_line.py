"""Several piles behind one connection (a concentrator): each lives and fails for itself."""

from __future__ import annotations

from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from tests import books
from tests.hand import HandPile, knock, online_by_hand, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

UNKNOWN = "32010600000077"


async def share(street: Street, *codes: str) -> list[HandPile]:
    """Piles by hand on one line, all online."""
    peer = await knock(street)
    piles = [HandPile(peer, code) for code in codes]
    for pile in piles:
        await pile.come_online()
    await until(lambda: all(street.is_online(code) for code in codes), what="all online")
    return piles


async def test_simulated_piles_share_a_line(street: Street) -> None:
    street.power_on(*CODES, one_line=True)
    await street.online(*CODES)
    assert street.node.metrics.connections == 1
    assert len({street.pile(code).remote_address for code in CODES}) == 1


async def test_a_silent_pile_leaves_the_others_their_line(street: Street) -> None:
    first, second = await share(street, *CODES[:2])
    for _ in range(4):
        first.beat()
        await street.pass_time(10)
    assert street.pile(second.code).status is PileStatus.OFFLINE
    assert street.pile(second.code).reason == "silent"
    assert street.pile(first.code).status is PileStatus.ONLINE
    assert not first.peer.is_closed
    second.beat()  # without a login it is not heard
    await until(lambda: street.node.metrics.misplaced["other_pile"] == 2)
    assert street.pile(second.code).status is PileStatus.OFFLINE
    await second.be_accepted(2)
    await until(lambda: street.pile(second.code).status is PileStatus.ONLINE)


async def test_a_pile_that_moves_to_another_line_is_not_heard_on_the_old_one(street: Street) -> None:
    first, second = await share(street, *CODES[:2])
    moved = await online_by_hand(street, second.code)
    answered = len(second.peer.heard(frames.HeartbeatAnswer, pile_no=second.code))
    second.beat(1)
    second.peer.say(record(second.code))
    await until(lambda: street.node.metrics.misplaced["other_pile"] == 2)
    first.beat(1)
    await first.peer.hear(frames.HeartbeatAnswer, 2, pile_no=first.code, gun_no=1)
    assert len(second.peer.heard(frames.HeartbeatAnswer, pile_no=second.code)) == answered
    assert books.records(street) == []
    first.peer.hang_up()
    await until(lambda: street.pile(first.code).status is PileStatus.OFFLINE)
    assert street.pile(second.code).status is PileStatus.ONLINE
    moved.beat(1)
    await moved.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)


async def test_a_refused_pile_leaves_the_others_their_line(street: Street) -> None:
    (first,) = await share(street, CODES[0])
    stranger = HandPile(first.peer, UNKNOWN)
    stranger.log_in()
    await first.peer.hear(frames.LoginAnswer, pile_no=UNKNOWN, result=1)
    first.beat(1)
    await first.peer.hear(frames.HeartbeatAnswer, 2, pile_no=first.code, gun_no=1)
    assert not first.peer.is_closed


async def test_a_refused_pile_that_logs_in_first_leaves_the_others_their_line(street: Street) -> None:
    peer = await knock(street)
    stranger, *known = [HandPile(peer, code) for code in (UNKNOWN, *CODES[:2])]
    stranger.log_in()
    for pile in known:
        pile.log_in()
    await peer.hear(frames.LoginAnswer, pile_no=UNKNOWN, result=1)
    for pile in known:
        await peer.hear(frames.LoginAnswer, pile_no=pile.code, result=0)
    await street.pass_time(20)
    assert not peer.is_closed
    assert all(street.pile(pile.code).status is PileStatus.ONLINE for pile in known)


async def test_a_refused_pile_alone_on_its_line_is_hung_up_on(street: Street) -> None:
    stranger = HandPile(await knock(street), UNKNOWN)
    stranger.log_in()
    await stranger.peer.hear(frames.LoginAnswer, pile_no=UNKNOWN, result=1)
    await street.pass_time(10)
    await stranger.peer.hear_close()


async def test_the_line_closes_with_its_last_pile(street: Street) -> None:
    first, second = await share(street, *CODES[:2])
    await online_by_hand(street, first.code)
    assert not first.peer.is_closed
    await online_by_hand(street, second.code)
    await first.peer.hear_close()
    assert street.node.metrics.connections == 2


async def test_records_of_a_shared_line_are_told_apart(street: Street) -> None:
    first, second = await share(street, *CODES[:2])
    for pile in (first, second):
        pile.peer.say(record(pile.code))
    for pile in (first, second):
        await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(pile.code))
    assert {row[0] for row in books.read(street, "SELECT pile_code FROM pile_record")} == set(CODES[:2])
