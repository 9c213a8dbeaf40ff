"""The frame tail against a plain list: whatever is appended, what it gives back is a true end of the list."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pileward.actors.frame_tail import HEADER, MIB, Direction, FrameTail, TailFrame

RING = 1_000
PILES = st.sampled_from(["32010200000001", "32010200000002", "32010200000003"])


class TailAgainstList(RuleBasedStateMachine):
    """A ring of a thousand bytes, so that it wraps all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = FrameTail(RING / MIB)
        self.model: list[TailFrame] = []

    @rule(
        pile=PILES,
        direction=st.sampled_from(["up", "down"]),
        raw=st.binary(max_size=1_100),
        at=st.integers(0, 2**63),
        reason=st.none() | st.sampled_from(["bad checksum", "too long"]),
    )
    def append(self, pile: str, direction: Direction, raw: bytes, at: int, reason: str | None) -> None:
        self.tail.append(pile, direction, raw, at, reason)
        kept = raw[: RING - HEADER.size]
        self.model.append(TailFrame(pile, direction, at, kept, reason, len(kept) < len(raw)))

    @rule(pile=PILES, count=st.integers(0, 60))
    def read(self, pile: str, count: int) -> None:
        got = self.tail.last(pile, count)
        mine = [frame for frame in self.model if frame.pile_code == pile]
        assert got == (mine[-len(got) :] if got else [])
        assert len(got) <= count
        assert len(got) == count or len(got) >= self.at_least(pile)

    @rule(number=st.integers(0, 5_000))
    def strangers(self, number: int) -> None:
        """Numbers nobody knows must not grow the book of slots for ever."""
        for offset in range(40):
            code = f"{number + offset:014}"
            self.tail.append(code, "up", b"?", 0)
            self.model.append(TailFrame(code, "up", 0, b"?"))

    @invariant()
    def newest_is_there(self) -> None:
        if self.model:
            newest = self.model[-1]
            assert self.tail.last(newest.pile_code, 1) == [newest]

    @invariant()
    def slots_are_bounded(self) -> None:
        assert self.tail.piles <= 1_100

    def at_least(self, pile: str) -> int:
        """The pile's frames that fit even when the longest possible gap was left at the ring's end."""
        room, count = RING, 0
        longest = max((len(frame.raw) + HEADER.size for frame in self.model), default=0)
        room -= longest
        for frame in reversed(self.model):
            room -= len(frame.raw) + HEADER.size
            if room < 0:
                break
            count += frame.pile_code == pile
        return count


TestTailAgainstList = TailAgainstList.TestCase
TestTailAgainstList.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
