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
    assert tail.watch(PILE)
    assert tail.watch(PILE)
    for number in range(WATCHED_FRAMES + 5):
        tail.append(PILE, "up", number.to_bytes(4, "big"), number)
    frames = tail.last(PILE, 1_000_000)
    assert [frame.epoch_ms for frame in frames] == list(range(5, WATCHED_FRAMES + 5))
    assert frames[-1].raw == (WATCHED_FRAMES + 4).to_bytes(4, "big")
    tail.unwatch(PILE)
    assert len(tail.last(PILE, 1_000_000)) < 500


def test_watching_is_bounded() -> None:
    tail = FrameTail(1)
    assert all(tail.watch(str(number)) for number in range(WATCHED_PILES))
    assert not tail.watch("one more")
    tail.unwatch("0")
    assert tail.watch("one more")


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
