"""The pages about protocols are those that the code prints, and what they say of messages is true."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from pileward.codecs import docs
from pileward.codecs.ykc import reading, writing
from pileward.codecs.ykc.table import BY_CLASS, LAYOUTS
from pileward.messages import downlinks, uplinks
from tests.unit.test_ykc_dialect import DOWNLINKS

FOLDER = Path(__file__).parents[2] / docs.FOLDER


@pytest.mark.parametrize("name", docs.pages())
def test_the_committed_page_is_the_printed_one(name: str) -> None:
    """When this fails: `python -m pileward.codecs.docs`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == docs.pages()[name]


def test_main_writes_all_pages(tmp_path: Path) -> None:
    docs.main(tmp_path / "protocols")
    assert {path.name for path in (tmp_path / "protocols").iterdir()} == {"ykc.md", "messages.md"}


def test_the_frames_named_by_uplinks_are_those_that_become_them() -> None:
    said = {(message.name, int(code, 16)) for message in docs.messages_of(uplinks) for code in message.ykc}
    readers: dict[int, Any] = reading._READERS
    done = {(typing.get_type_hints(reader)["return"].__name__, code) for code, reader in readers.items()}
    assert said == done
    assert set(readers) == {code for code in LAYOUTS if code % 2}


def test_the_frames_named_by_downlinks_are_those_they_become() -> None:
    said = {(message.name, int(code, 16)) for message in docs.messages_of(downlinks) for code in message.ykc}
    done = set()
    for message, _ in DOWNLINKS:
        frame = writing.frame_of(message)
        assert frame is not None
        done.add((type(message).__name__, BY_CLASS[type(frame)].kind.code))
    assert said == done
    assert {code for _, code in done} == {code for code in LAYOUTS if code % 2 == 0}


def test_every_message_says_what_it_is_for() -> None:
    for module in (uplinks, downlinks):
        for message in docs.messages_of(module):
            assert message.purpose, message.name
