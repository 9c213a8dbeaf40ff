"""Bad input from the line: counted, logged with pile and reason, answered where the protocol says so.

Each test has a well-behaved pile on the same node, which notices nothing.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastcrc.crc16 import modbus
from structlog.testing import capture_logs

from pileward.actors.gun_machine import GunState
from pileward.actors.pile_state import PileStatus
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.decoder import encode_frame
from pileward.codecs.ykc.envelope import wrap
from pileward.codecs.ykc.table import Frame
from pileward.messages.uplinks import VendorMessage
from tests import books
from tests.hand import HandPile, Peer, knock, online_by_hand, pile_by_hand, real_time, record, trade_no
from tests.nodes import CODES, Street
from tests.waiting import until

MAD, GOOD = CODES[:2]
Logs = list[Any]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Everything logged during the test."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture(autouse=True)
async def good(street: Street) -> AsyncIterator[HandPile]:
    """A well-behaved pile, of which the same is true at the end as at the beginning."""
    pile = await online_by_hand(street, GOOD)
    await answers_still(pile)
    before, spoken = street.pile(GOOD), asked_of(pile)
    yield pile
    await answers_still(pile)
    assert street.pile(GOOD).status is PileStatus.ONLINE
    assert street.pile(GOOD).guns == before.guns
    assert asked_of(pile) == spoken
    assert street.alarms(GOOD) == set()
    assert street.node.metrics.restarts == 0


def asked_of(pile: HandPile) -> list[Frame]:
    """All that a pile was told, but for the answers to its heartbeats."""
    told = [packet.frame for packet in pile.peer.packets]
    return [frame for frame in told if frame is not None and not isinstance(frame, frames.HeartbeatAnswer)]


async def keep_alive(street: Street, pile: HandPile, seconds: float) -> None:
    """Let time pass for a pile that beats."""
    for _ in range(int(seconds)):
        pile.beat()
        await street.pass_time(1)


def told(logs: Logs, event: str) -> list[Any]:
    """What was logged under a name."""
    return [entry for entry in logs if entry["event"] == event]


def heartbeat(code: str = MAD, gun_no: int = 1, sequence: int = 1) -> bytes:
    """0x03 as bytes."""
    return encode_frame(frames.Heartbeat(pile_no=code, gun_no=gun_no, gun_status=0), sequence)


def spoilt(frame: bytes) -> bytes:
    """The frame with a wrong checksum in either order."""
    return frame[:-2] + bytes((frame[-2] ^ 0x5A, frame[-1]))


async def answers_still(pile: HandPile) -> None:
    """The connection is open and heartbeats are answered."""
    answered = len(pile.peer.heard(frames.HeartbeatAnswer, pile_no=pile.code, gun_no=1))
    pile.beat(1)
    await pile.peer.hear(frames.HeartbeatAnswer, answered + 1, pile_no=pile.code, gun_no=1)


# --- damage -----------------------------------------------------------------------------------------------


async def test_garbage_between_frames_is_skipped(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(b"\x00\xff GET / HTTP/1.1\r\n" + heartbeat(sequence=77))
    answer = await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    assert answer.pile_no == MAD
    assert pile.peer.packets[-1].sequence == 77
    assert street.node.metrics.garbage["noise"] == 1
    (entry,) = told(logs, "damaged_frame")
    assert (entry["pile"], entry["reason"], entry["bytes"]) == (MAD, "noise", 19)
    await answers_still(pile)


async def test_a_wrong_checksum_is_not_answered(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    heard = len(pile.peer.packets)
    pile.peer.write(spoilt(heartbeat()))
    await until(lambda: street.node.metrics.garbage["bad_checksum"] == 1)
    assert len(pile.peer.packets) == heard
    (entry,) = told(logs, "damaged_frame")
    assert (entry["pile"], entry["reason"], entry["log_level"]) == (MAD, "bad_checksum", "warning")
    await answers_still(pile)


async def test_a_damaged_record_is_neither_stored_nor_confirmed_and_its_repeat_is(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    raw = encode_frame(record(MAD), 9)
    pile.peer.write(spoilt(raw))
    await until(lambda: street.node.metrics.garbage["bad_checksum"] == 1)
    assert books.records(street) == []
    pile.peer.write(raw)
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(MAD))
    assert len(books.records(street)) == 1


async def test_ten_damaged_frames_in_a_row_close_the_connection(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    for _ in range(9):
        pile.peer.write(spoilt(heartbeat()))
    await until(lambda: street.node.metrics.garbage["bad_checksum"] == 9)
    await answers_still(pile)  # which begins the count anew
    for _ in range(9):
        pile.peer.write(spoilt(heartbeat()))
    await until(lambda: street.node.metrics.garbage["bad_checksum"] == 18)
    assert not pile.peer.is_closed
    pile.peer.write(spoilt(heartbeat()))
    await pile.peer.hear_close()
    await until(lambda: street.pile(MAD).status is PileStatus.OFFLINE)
    assert street.pile(MAD).reason == "damaged_frames"
    assert street.node.metrics.connections_closed["damaged_frames"] == 1
    assert [entry["in_a_row"] for entry in told(logs, "damaged_frame")] == [1, 1, 10]
    (closed,) = told(logs, "connection_closed")
    assert (closed["piles"], closed["reason"]) == ([MAD], "damaged_frames")
    await online_by_hand(street, MAD)


async def test_a_stream_of_noise_is_cut_short(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(spoilt(heartbeat()) * 4_000)
    await pile.peer.hear_close()
    assert 10 <= street.node.metrics.garbage["bad_checksum"] <= 600


@pytest.mark.parametrize(
    "head", [b"\x68\xff", b"\x68\x80\x01\x02\x00\x13", b"\x68"], ids=["oversized", "truncated", "start"]
)
async def test_a_frame_that_does_not_go_on_is_given_up_after_ten_seconds(
    street: Street, good: HandPile, head: bytes
) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(head)
    await street.settle()
    await keep_alive(street, good, 9)
    assert not street.node.metrics.garbage
    await keep_alive(street, good, 1)
    assert street.node.metrics.garbage["incomplete"] == 1
    assert street.pile(MAD).status is PileStatus.ONLINE
    await answers_still(pile)


async def test_frames_behind_a_frame_that_lied_about_its_length_are_heard(
    street: Street, good: HandPile
) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(b"\x68\xff" + heartbeat(sequence=21))
    await street.settle()
    await keep_alive(street, good, 10)
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    assert pile.peer.packets[-1].sequence == 21
    await answers_still(pile)


async def test_a_frame_that_drips_in_byte_by_byte_is_heard(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    for byte in heartbeat(sequence=33):
        pile.peer.write(bytes((byte,)))
        await street.settle()
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    assert not street.node.metrics.garbage


async def test_an_encrypted_frame_is_counted_and_not_guessed_at(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    body = heartbeat()[6:-2]
    covered = b"\x01\x00\x01\x03" + body
    pile.peer.write(b"\x68" + bytes((len(covered),)) + covered + struct.pack("<H", modbus(covered)))
    await until(lambda: street.node.metrics.garbage["encrypted"] == 1)
    await answers_still(pile)


# --- before the login -------------------------------------------------------------------------------------


async def test_frames_before_the_login_are_counted_and_not_answered(street: Street, logs: Logs) -> None:
    pile = await pile_by_hand(street, MAD)
    pile.beat(1)
    pile.peer.say(record(MAD))
    await until(lambda: street.node.metrics.misplaced["before_login"] == 2)
    assert pile.peer.packets == []
    assert street.pile(MAD).status is PileStatus.UNKNOWN
    (entry,) = told(logs, "misplaced_frame")
    assert (entry["pile"], entry["reason"], entry["message"]) == (MAD, "before_login", "Heartbeat")
    await pile.come_online()


async def test_a_connection_without_a_login_is_closed_after_a_minute(
    street: Street, good: HandPile, logs: Logs
) -> None:
    silent = await knock(street)
    speaking = HandPile(await knock(street), MAD)
    for _ in range(59):
        speaking.beat(1)
        good.beat()
        await street.pass_time(1)
    assert not silent.is_closed
    assert not speaking.peer.is_closed
    await street.pass_time(1)
    await silent.hear_close()
    await speaking.peer.hear_close()
    assert street.node.metrics.connections_closed["no_login"] == 2
    assert {entry["reason"] for entry in told(logs, "connection_closed")} == {"no_login"}
    assert [entry["times"] for entry in told(logs, "misplaced_frame")] == [1, 10], "the log is not flooded"


async def test_too_much_before_the_login_closes_the_connection(street: Street) -> None:
    peer = await knock(street)
    peer.write(heartbeat() * 300)
    await peer.hear_close()
    assert street.node.metrics.connections_closed["too_much_before_login"] == 1
    assert street.pile(MAD).status is PileStatus.UNKNOWN


async def test_other_protocols_are_hung_up_on(street: Street) -> None:
    for data in (
        b"GET / HTTP/1.1\r\nHost: pileward\r\n\r\n" * 200,
        b"\x16\x03\x01\x02\x00" + bytes(5_000),
        b"h" * 5_000,
    ):
        peer = await knock(street)
        peer.write(data)
        await peer.hear_close()
        assert peer.packets == []


@pytest.mark.parametrize(
    "code", ["00000000000000", "FFFFFFFFFFFFFF", "3201060000000A"], ids=["zeros", "all ones", "no digits"]
)
async def test_a_login_with_a_number_that_no_pile_has_is_refused_and_not_listed(
    street: Street, code: str
) -> None:
    peer = await knock(street)
    login = encode_frame(
        frames.Login(
            pile_no=MAD,
            pile_type=0,
            gun_count=2,
            protocol_version=16,
            software_version="X",
            network_type=1,
            sim_no="0" * 20,
            carrier=4,
        ),
        1,
    )
    peer.write(wrap(1, 0x01, bytes.fromhex(code) + login[13:-2]))
    await until(lambda: peer.packets, what="a refusal")
    assert peer.heard(frames.LoginAnswer)[0].result == 1
    await street.settle()
    await until(lambda: not street.node.waiting.in_flight)
    assert books.read(street, "SELECT pile_code FROM discovered_pile") == []


# --- in the wrong place -----------------------------------------------------------------------------------


async def test_frames_of_another_pile_on_this_connection_change_nothing(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    heard = len(pile.peer.packets)
    pile.peer.say(
        frames.Heartbeat(pile_no=GOOD, gun_no=1, gun_status=1),
        real_time(GOOD, 1, status=1, hardware_fault=1),
        record(GOOD),
        frames.Heartbeat(pile_no="99999999999999", gun_no=1, gun_status=0),
    )
    await until(lambda: street.node.metrics.misplaced["other_pile"] == 4)
    assert len(pile.peer.packets) == heard
    assert books.records(street) == []
    assert street.alarms(GOOD) == set()
    (entry,) = told(logs, "misplaced_frame")
    assert (entry["pile"], entry["reason"]) == (GOOD, "other_pile")
    await answers_still(pile)


async def test_frames_that_only_the_platform_sends_are_not_acted_on(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    heard = len(pile.peer.packets)
    pile.peer.say(
        frames.LoginAnswer(pile_no=MAD, result=0),
        frames.TransactionRecordAnswer(trade_no=trade_no(MAD), result=0),
        frames.RemoteStop(pile_no=MAD, gun_no=1),
    )
    await answers_still(pile)
    assert len(pile.peer.packets) == heard + 1
    assert street.node.metrics.implausible["wrong_direction"] == 3


async def test_a_frame_type_that_nobody_knows_is_counted(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(wrap(5, 0x75, bytes.fromhex(MAD) + b"V14D"))
    await answers_still(pile)
    assert street.node.metrics.frame_counts("ykc", "up")[VendorMessage] == 1


# --- impossible values ------------------------------------------------------------------------------------


async def test_impossible_values_are_left_out_and_the_rest_counts(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    pile.report(
        1,
        status=3,
        soc=250,
        gun_plugged=1,
        output_voltage_e1_v=60_000,
        output_current_e1_a=500,
        energy_e4_kwh=4_000_000_000,
        remaining_minutes=65_535,
        trade_no=trade_no(MAD),
    )
    await until(lambda: street.pile(MAD).guns[0].state is GunState.CHARGING)
    telemetry = street.pile(MAD).guns[0].telemetry
    assert telemetry is not None
    assert (telemetry.soc_pct, telemetry.voltage_mv, telemetry.energy_e4_kwh) == (None, None, None)
    assert telemetry.current_ma == 50_000
    counted = street.node.metrics.implausible
    assert {name: counted[name] for name in ("soc_pct", "voltage_e1_v", "energy_e4_kwh")} == {
        "soc_pct": 1,
        "voltage_e1_v": 1,
        "energy_e4_kwh": 1,
    }
    (entry,) = told(logs, "implausible_values")
    assert (entry["pile"], entry["gun"]) == (MAD, 1)
    assert "soc_pct=250" in entry["problems"]


@pytest.mark.parametrize("year", [2000, 2017, 2099], ids=["empty battery", "2017", "last century"])
async def test_an_impossible_clock_is_an_alarm_and_the_pile_goes_on(
    street: Street, logs: Logs, year: int
) -> None:
    pile = await online_by_hand(street, MAD)
    pile.tell_time(datetime(year, 1, 1, tzinfo=UTC))
    await until(lambda: street.alarms(MAD) == {"clock_drift"})
    (entry,) = told(logs, "alarm")
    assert (entry["pile"], entry["alarm"]) == (MAD, "clock_drift")
    assert street.node.metrics.implausible["device_time"] == (1 if year < 2018 else 0)
    await answers_still(pile)


async def test_a_record_with_impossible_times_is_stored_and_confirmed(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.say(record(MAD, start_time=datetime(2001, 1, 1, tzinfo=UTC), end_time=None))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(MAD), result=0)
    (entry,) = told(logs, "implausible_values")
    assert entry["pile"] == MAD
    assert len(books.records(street)) == 1


async def test_a_gun_that_no_pile_has_is_counted_and_not_answered(street: Street, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    heard = len(pile.peer.packets)
    pile.peer.write(wrap(3, 0x03, bytes.fromhex(MAD) + b"\x77\x00"))
    await until(lambda: street.node.metrics.implausible["bad_gun_no"] == 1)
    assert len(pile.peer.packets) == heard
    (entry,) = told(logs, "implausible_values")
    assert (entry["pile"], entry["problems"]) == (MAD, ["bad_gun_no"])
    await answers_still(pile)


async def test_a_third_gun_of_a_pile_with_two_is_answered_counted_and_logged(
    street: Street, logs: Logs
) -> None:
    pile = await online_by_hand(street, MAD)
    pile.beat(3)
    await pile.peer.hear(frames.HeartbeatAnswer, pile_no=MAD, gun_no=3)
    pile.report(3)
    pile.peer.say(record(MAD, gun_no=3))
    await pile.peer.hear(frames.TransactionRecordAnswer, trade_no=trade_no(MAD))
    assert street.node.metrics.misplaced["unknown_gun"] == 3
    assert len(street.pile(MAD).guns) == 2
    assert len(books.records(street)) == 1
    assert {entry["pile"] for entry in told(logs, "odd_message")} == {MAD}


async def test_short_and_long_bodies(street: Street) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(wrap(4, 0x05, bytes.fromhex(MAD)))  # no number: nothing to compare
    await until(lambda: street.node.metrics.implausible["short_body"] == 1)
    pile.peer.write(wrap(5, 0x03, bytes.fromhex(MAD) + b"\x01\x00" + bytes(20)))
    await pile.peer.hear(frames.HeartbeatAnswer, 2, gun_no=1)
    pile.peer.write(wrap(6, 0x3B, encode_frame(record(MAD), 1)[6:-20]))
    await until(lambda: street.node.metrics.implausible["short_body"] == 2)
    assert books.records(street) == []
    await answers_still(pile)


# --- too much ---------------------------------------------------------------------------------------------


async def test_a_flood_pauses_its_own_socket_only(street: Street, good: HandPile, logs: Logs) -> None:
    pile = await online_by_hand(street, MAD)
    pile.peer.write(heartbeat() * 5_000)
    await until(lambda: street.node.metrics.misplaced["too_many_frames"] >= 1)
    heard = -1
    while heard != (heard := len(pile.peer.heard(frames.HeartbeatAnswer))):
        for _ in range(5):  # until no more answers are on their way
            await street.settle()
    assert heard < 5_000
    for _ in range(3):
        pile.beat(1)
        good.beat(2)
    await good.peer.hear(frames.HeartbeatAnswer, 4, gun_no=2)
    assert len(pile.peer.heard(frames.HeartbeatAnswer)) == heard, "it is not read"
    entry = told(logs, "too_many_frames")[0]
    assert (entry["pile"], entry["reason"]) == (MAD, "rate")
    for _ in range(25):
        good.beat()
        await street.pass_time(1)
    assert street.pile(MAD).status is PileStatus.ONLINE
    await pile.peer.hear(frames.HeartbeatAnswer, 5_004, gun_no=1)


@pytest.mark.parametrize("node_settings", [{"PILEWARD_LIMITS_FRAMES_BURST": "100000000"}])
async def test_a_peer_that_does_not_read_is_dropped_alone(street: Street, good: HandPile, logs: Logs) -> None:
    pile = HandPile(await knock(street, receive_buffer=4_096), MAD)
    await pile.be_accepted()
    pile.peer.transport.pause_reading()
    chunk = heartbeat() * 1_000
    for _ in range(1_000):
        pile.peer.write(chunk)
        await street.pass_time(0.02, step=0.02)  # it is paused now and then for its pile to catch up
        if street.pile(MAD).status is PileStatus.OFFLINE:
            break
    assert street.pile(MAD).status is PileStatus.OFFLINE
    assert street.pile(MAD).reason == "slow_peer"
    assert street.node.metrics.connections_closed["slow_peer"] == 1
    (entry,) = told(logs, "connection_closed")
    assert (entry["piles"], entry["reason"]) == ([MAD], "slow_peer")
    await answers_still(good)
    await online_by_hand(street, MAD)


# --- too many ---------------------------------------------------------------------------------------------


async def refused(street: Street, count: int) -> list[Peer]:
    """Knock so often; every one of them is hung up on."""
    peers = [await knock(street) for _ in range(count)]
    for peer in peers:
        await peer.hear_close()
    return peers


@pytest.mark.parametrize("node_settings", [{"PILEWARD_LIMITS_MAX_CONNECTIONS": "3"}])
async def test_too_many_connections_in_all_are_refused(street: Street, logs: Logs) -> None:
    first, second = await knock(street), await knock(street)
    await until(lambda: street.node.metrics.connections == 3)
    await refused(street, 2)
    assert street.node.metrics.connections_refused == {"full": 2}
    (entry,) = told(logs, "connection_refused")
    assert (entry["reason"], entry["peer"].split(":")[0]) == ("full", "127.0.0.1")
    assert not first.is_closed
    first.hang_up()
    await until(lambda: street.node.metrics.connections == 2)
    await online_by_hand(street, MAD)
    assert not second.is_closed


@pytest.mark.parametrize("node_settings", [{"PILEWARD_LIMITS_MAX_CONNECTIONS_PER_ADDRESS": "2"}])
async def test_too_many_connections_from_one_address_are_refused(street: Street) -> None:
    await knock(street)
    await until(lambda: street.node.metrics.connections == 2)
    await refused(street, 2)
    assert street.node.metrics.connections_refused == {"address_full": 2}
    other = await knock(street, source="127.0.0.2")
    await HandPile(other, MAD).come_online()
    assert not other.is_closed
