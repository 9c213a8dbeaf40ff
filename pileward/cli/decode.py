"""`pileward decode`: frames as text, and text as frames."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import click

from pileward.codecs.base import FrameError
from pileward.codecs.ykc import text as ykc

DECODERS: Final[dict[str, Callable[[str], list[dict[str, Any]]]]] = {"ykc": ykc.decode_text}
ENCODERS: Final[dict[str, Callable[[dict[str, Any]], bytes]]] = {"ykc": ykc.encode}


@click.command(short_help="解析报文 / decode frames")
@click.option(
    "--protocol",
    type=click.Choice(sorted(DECODERS)),
    default="ykc",
    show_default=True,
    help="桩协议 / protocol of the pile",
)
@click.option(
    "--encode", "is_encoding", is_flag=True, help="反向：JSON 转报文 / the reverse: JSON objects to hex"
)
@click.argument("values", nargs=-1, metavar="[HEX | JSON]…")
def decode(protocol: str, is_encoding: bool, values: tuple[str, ...]) -> None:
    """解析十六进制报文，每帧输出一行 JSON；无参数时逐行读标准输入。

    Decode frames given as hexadecimal text, one JSON object a frame; without arguments, lines of standard
    input. Names and values are those of the protocol page, and a body is shown even when its checksum is
    wrong. With --encode, JSON objects with frame_type, sequence and fields become hexadecimal text. The exit
    code is 1 when any frame was not good.
    """
    lines = _lines(values)
    is_good = _encode(protocol, lines) if is_encoding else _decode(protocol, lines)
    if not is_good:
        sys.exit(1)


command = decode
"""What the group of commands looks for."""


def _lines(values: tuple[str, ...]) -> Iterator[str]:
    """The arguments, or the lines of standard input that are not empty."""
    source: Iterable[str] = values if values else sys.stdin
    return filter(str.strip, source)


def _decode(protocol: str, lines: Iterable[str]) -> bool:
    is_good = True
    for line in lines:
        for frame in DECODERS[protocol](line):
            is_good = is_good and frame["ok"]
            click.echo(json.dumps(frame, ensure_ascii=False))
    return is_good


def _encode(protocol: str, lines: Iterable[str]) -> bool:
    is_good = True
    for line in lines:
        try:
            value = json.loads(line, parse_float=Decimal)
            if not isinstance(value, dict):
                raise FrameError("不是 JSON 对象 / not a JSON object")
            click.echo(ENCODERS[protocol](value).hex().upper())
        except (FrameError, json.JSONDecodeError) as error:
            is_good = False
            click.echo(f"无法编码 / cannot encode: {error}", err=True)
    return is_good
