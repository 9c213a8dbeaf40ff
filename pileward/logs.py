"""Logging: structlog, one JSON line an event, the same shape for our events and those of the libraries.

Every line has `at` (UTC), `level`, `event`, `node`, and where known `pile`, `gun` and `session`: bind them
once with `logger(__name__).bind(pile=pile_code)`. Secrets and personal data are masked on the way out, by key
and by pattern, so a careless call does not leak; callers still should not pass them.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

MASK = "***"

SECRET_WORDS = (
    "token",
    "secret",
    "password",
    "passwd",
    "authorization",
    "cookie",
    "api_key",
    "private_key",
    "signature",
)
"""A key that contains one of these is replaced whole."""

PERSONAL_KEYS = frozenset(
    [
        "phone",
        "mobile",
        "telephone",
        "plate",
        "plate_no",
        "card",
        "card_no",
        "logical_card_no",
        "physical_card_no",
        "openid",
        "unionid",
        "licence",
        "licence_no",
        "id_card",
        "vin",
        "sim",
        "iccid",
        "person",
    ]
)
"""A key of this name keeps the first and last characters only, enough to tell two apart."""

NUMBER_KEYS = frozenset({"pile", "pile_code", "gun", "session", "serial", "raw", "hex", "at"})
"""Keys whose values are long digits by nature and identify no person: patterns are not looked for in them."""

PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # credentials in a URL: the user stays, the password goes
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"\b(Bearer|Basic|WECHATPAY2-\S+)\s+[^\s\"']+"), rf"\1 {MASK}"),
    (re.compile(r"\b((?:token|secret|password|key|sign)=)[^&\s\"']+", re.IGNORECASE), rf"\1{MASK}"),
    # mainland mobile number, not part of a longer number such as a pile's
    (re.compile(r"(?<!\d)(1[3-9]\d)\d{4}(\d{4})(?!\d)"), r"\1****\2"),
    # number plate: province, letter, 5 places, or 6 for new-energy vehicles
    (re.compile(rf"([{PROVINCES}][A-Z])[·\s]?[A-Z0-9]{{3,4}}([A-Z0-9挂学警港澳]{{2}})"), r"\1***\2"),
    # WeChat openid: o and 27 more
    (re.compile(r"\bo[A-Za-z0-9_-]{5}[A-Za-z0-9_-]{22}\b"), f"o{MASK}"),
)

Format = Literal["auto", "json", "console"]


def logger(name: str) -> FilteringBoundLogger:
    """Return a logger; `bind` pile, gun and session to it where they are known."""
    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound


def configure(
    level: str = "info", fmt: Format = "auto", node: int | None = None, stream: TextIO | None = None
) -> None:
    """Send all events, ours and the standard library's, to `stream` (stderr), masked.

    `fmt` auto means coloured text on a terminal and JSON elsewhere. May be called again; the last call
    counts.
    """
    stream = sys.stderr if stream is None else stream
    console = fmt == "console" or (fmt == "auto" and stream.isatty())
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _Node(node),
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        last += [mask, structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="at")]
    else:
        # exception text is made before masking: a traceback may quote a secret
        last += [
            structlog.processors.format_exc_info,
            mask,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for noisy in ("asyncio", "aiosqlite", "httpcore", "httpx", "tortoise", "thespian"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Processor: hide secrets and personal data by key and by pattern, also inside nested values."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def mask_text(text: str) -> str:
    """Hide what looks like a secret or personal data inside free text."""
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class _Node:
    """Processor that names the node in each line."""

    def __init__(self, node: int | None) -> None:
        self.node = node

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if self.node is not None:
            event.setdefault("node", self.node)
        return event


def _masked(key: str, value: Any) -> Any:
    name = key.lower()
    if value is None or isinstance(value, bool):
        return value
    if any(word in name for word in SECRET_WORDS):
        return MASK
    if name in PERSONAL_KEYS:
        return _ends(str(value))
    if name in NUMBER_KEYS:
        return value
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), content) for inner, content in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, content) for content in value]
    if isinstance(value, int | float):
        return value
    return mask_text(repr(value))


def _ends(text: str) -> str:
    """Keep two characters at each end of a long enough text."""
    return f"{text[:2]}{MASK}{text[-2:]}" if len(text) >= 7 else MASK


def _to_json(event: MutableMapping[str, Any], **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
