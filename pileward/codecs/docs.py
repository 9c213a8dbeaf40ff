"""Pages about protocols, printed from the code: `python -m pileward.codecs.docs [folder]`.

`ykc.md` comes from the table of frames; `messages.md` from the messages themselves, whose docstrings name the
word of the common model and the frames of each protocol ("union: Heartbeat (YKC 0x03).").
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import msgspec

from pileward.codecs.ykc import docs as ykc
from pileward.messages import downlinks, uplinks

FOLDER: Final = Path("docs/protocols")
_UNION: Final = re.compile(r"union: (?P<names>[^(.]+?)(?: \(YKC (?P<frames>[^)]*)\))?\.(?: |$)")
_FRAME: Final = re.compile(r"0x[0-9A-F]{2}")

INTRODUCTION: Final = """\
# Messages

What connections and pile actors say to each other, whatever protocol a pile speaks. Printed from
`pileward/messages` by `python -m pileward.codecs.docs`; do not edit by hand.

Numbers are integers with the scale in the name, times are aware UTC, currents are positive into the vehicle.
Every uplink and downlink begins with `pile_code` and `wire_seq`, the sequence of its frame.
"""


class Message(NamedTuple):
    """One message as documented."""

    name: str
    union: str
    """Its word in the common model."""
    ykc: tuple[str, ...]
    """Its YKC frames."""
    purpose: str
    details: str
    fields: tuple[tuple[str, str, str], ...]
    """Name, type and meaning of its own fields."""


def pages() -> dict[str, str]:
    """Every page by file name."""
    return {"ykc.md": ykc.page(), "messages.md": messages_page()}


def messages_page() -> str:
    """The page about messages."""
    parts = [INTRODUCTION]
    for title, module in (("Uplinks: from piles", uplinks), ("Downlinks: to piles", downlinks)):
        messages = list(messages_of(module))
        parts.append(f"## {title}\n")
        parts.append("| common model | name in code | YKC | purpose |\n| --- | --- | --- | --- |")
        for message in messages:
            if message.union:
                link = f"[`{message.name}`](#{message.name.lower()})"
                parts.append(f"| {message.union} | {link} | {', '.join(message.ykc)} | {message.purpose} |")
        parts.append("")
        for message in messages:
            parts.extend(_section(message))
    return "\n".join(parts).rstrip() + "\n"


def messages_of(module: ModuleType) -> Iterator[Message]:
    """The messages of a module in the order of its source, and the smaller structs they hold."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        kind = getattr(module, node.name, None) if isinstance(node, ast.ClassDef) else None
        if isinstance(node, ast.ClassDef) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield _message(node)


def _message(node: ast.ClassDef) -> Message:
    words = " ".join((ast.get_docstring(node) or "").split())
    found = _UNION.search(words)
    union, frames = (found["names"], found["frames"] or "") if found else ("", "")
    purpose, details = (words[: found.start()], words[found.end() :]) if found else (words, "")
    codes = tuple(_FRAME.findall(frames))
    return Message(node.name, union, codes, purpose.strip(), details.strip(), tuple(_fields(node)))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """The annotated names of a class, each with the text that stands below it."""
    following = [*node.body[1:], None]
    for statement, after in zip(node.body, following, strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            meaning = " ".join(str(after.value.value).split()) if is_text else ""  # type: ignore[union-attr]
            yield statement.target.id, ast.unparse(statement.annotation), meaning


def _section(message: Message) -> Iterator[str]:
    yield f"### {message.name}\n"
    yield f"{message.purpose} {message.details}".strip() + "\n"
    if message.fields:
        yield "| field | type | meaning |\n| --- | --- | --- |"
        for name, kind, meaning in message.fields:
            yield f"| {name} | `{kind.replace('|', 'or')}` | {meaning} |"
        yield ""


def main(folder: Path) -> None:
    """Write the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
