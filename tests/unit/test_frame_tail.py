"""The frame tail: edges that the property test does not aim at."""

from __future__ import annotations

from pileward.actors.frame_tail import MIB, MOST_REASONS, WATCHED_FRAMES, WATCHED_PILES, FrameTail

PILE = "32010200000001"


def test_nothing_known_is_nothing_found() -> None:
    tail = FrameTail(1)
    assert tail.last(PILE, 10) == []
    tail.append(PILE, "up", b"a", 1)
    assert tail.last(PILE, 0) == []
    assert tail.last("32010200000002", 10) == []


def test_a_chatty_neighbour_pushes_a_quiet_pile_out_and_it_starts_afresh() -> None:
    tail = FrameTail(10_000 / MIB)
    tail.append(PILE, "up", b"old", 1)
    for _ in range(1_000):
        tail.append("32010200000002", "up", bytes(64), 2)
    assert tail.last(PILE, 5) == []
    tail.append(PILE, "down", b"new", 3, "bad checksum")
    (frame,) = tail.last(PILE, 5)
    assert (frame.raw, frame.direction, frame.epoch_ms, frame.garbage_reason) == (
        b"new",
        "down",
        3,
        "bad checksum",
    )


def test_a_watched_pile_keeps_what_the_ring_forgets() -> None:
    tail = FrameTail(10_000 / MIB)
    tail.append(PILE, "up", b"before", 0)
    until = WATCHED_FRAMES + 5
    assert tail.watch(PILE, 10, 0)
    assert tail.watch(PILE, until, 0)
    for number in range(until):
        tail.append(PILE, "up", number.to_bytes(4, "big"), number)
    frames = tail.last(PILE, 1_000_000)
    assert [frame.epoch_ms for frame in frames] == list(range(5, until))
    assert frames[-1].raw == (until - 1).to_bytes(4, "big")
    tail.append(PILE, "up", b"too late", until)
    assert len(tail.last(PILE, 1_000_000)) < 500
    assert tail.last(PILE, 1)[0].raw == b"too late"


def test_watching_is_bounded_and_ends_by_itself() -> None:
    tail = FrameTail(1)
    assert all(tail.watch(str(number), 1_000, 0) for number in range(WATCHED_PILES))
    assert not tail.watch("one more", 2_000, 999)
    assert tail.watch("one more", 2_000, 1_000)


def test_reasons_are_bounded() -> None:
    tail = FrameTail(1)
    for number in range(2 * MOST_REASONS):
        tail.append(PILE, "up", b"x", 0, f"reason {number}")
    assert tail.last(PILE, 1)[0].garbage_reason == "other"
    assert tail.last(PILE, 2 * MOST_REASONS)[0].garbage_reason == "reason 0"


def test_a_frame_longer_than_is_kept_is_cut_and_says_so() -> None:
    tail = FrameTail(1)
    tail.append(PILE, "up", bytes(70_000), 0)
    (frame,) = tail.last(PILE, 1)
    assert len(frame.raw) == 65_535
    assert frame.is_cut


def test_touching_the_ring_changes_no_frame() -> None:
    tail = FrameTail(1)
    for number in range(3_000):
        tail.append(PILE, "up", bytes([number % 256]) * 100, number)
    before = tail.last(PILE, 10_000)
    tail.touch()
    assert tail.last(PILE, 10_000) == before
