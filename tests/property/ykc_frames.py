"""Strategies that make any frame of YKC from the rows of its table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from pileward.codecs.ykc import frames, wire
from pileward.codecs.ykc.table import CountedText, Entries, Frame, Layout, Row, all_layouts
from pileward.values import CHINA

__all__ = ["any_frame", "frame_of", "frames", "plain_numbers"]

_FIRST = datetime(2000, 1, 1, tzinfo=CHINA)
_MILLISECONDS = int((datetime(2100, 1, 1, tzinfo=CHINA) - _FIRST).total_seconds() * 1000) - 1
_ONE_BYTE = st.characters(min_codepoint=1, max_codepoint=255)

times = st.none() | st.integers(0, _MILLISECONDS).map(lambda ms: _FIRST + timedelta(milliseconds=ms))
plain_numbers = st.integers(0, 0xFFFF)


def values_of(row: Row) -> st.SearchStrategy[Any]:
    """Every value that a field can carry and get back."""
    kind = row.wire
    match kind:
        case wire.Temperature(is_optional=True):
            return st.none() | st.integers(kind.least + 1, kind.most)
        case wire.Unsigned():
            return st.integers(kind.least, kind.most)
        case wire.Digits():
            return st.binary(min_size=kind.size, max_size=kind.size).map(lambda raw: raw.hex().upper())
        case wire.Text():
            return st.text(_ONE_BYTE, max_size=kind.size)
        case wire.Time():
            return times
        case wire.Slots():
            return st.lists(st.integers(0, 255), min_size=kind.size, max_size=kind.size).map(tuple)
    raise AssertionError(f"{row.name} has a wire type without a strategy")


def ends_of(row: Row) -> st.SearchStrategy[Any]:
    """Every value of the part of variable length."""
    kind: object = row.wire
    match kind:
        case Entries():
            entry = st.builds(kind.entry, **{inner.name: values_of(inner) for inner in kind.rows})
            return st.lists(entry, max_size=kind.most).map(tuple)
        case CountedText():
            return st.text(_ONE_BYTE, max_size=kind.most)
    raise AssertionError(f"{row.name} has no strategy")


def frame_of(layout: Layout) -> st.SearchStrategy[Frame]:
    """Any frame of one layout."""
    fields = {row.name: values_of(row) for row in layout.rows}
    if layout.tail_row is not None:
        fields[layout.tail_row.name] = ends_of(layout.tail_row)
    return st.builds(layout.frame, **fields)


def any_frame() -> st.SearchStrategy[Frame]:
    """Any frame of any layout."""
    return st.sampled_from(list(all_layouts())).flatmap(frame_of)
