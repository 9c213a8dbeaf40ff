"""What goes wrong on purpose: rules set through the control API, each for the next so many calls.

A fault of a reply is named for what the client sees; one of a notification for what arrives.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

CALLS: Final = (
    "prepay",
    "query",
    "close",
    "refund",
    "query_refund",
    "bill",
    "download",
    "certificates",
    "login",
    "token",
)

BEFORE: Final = {
    "delay": "waits `seconds` before it does anything",
    "cut": "closes the connection without doing anything",
    "429": "429 FREQUENCY_LIMITED, nothing done",
    "500": "500 SYSTEM_ERROR, nothing done",
    "502": "502 without a code, as a proxy answers; nothing done",
    "not_enough": "403 NOT_ENOUGH, nothing done",
}
AFTER: Final = {
    "late": "does it, then waits `seconds` before it answers",
    "cut_after": "does it, then closes the connection without an answer",
    "500_after": "does it, then answers 500 SYSTEM_ERROR",
    "429_after": "does it, then answers 429 FREQUENCY_LIMITED",
    "garbled": "does it, then answers 200 with signed text that is no JSON",
    "bad_signature": "does it, then signs something else",
    "probe_signature": "does it, then signs with WECHATPAY/SIGNTEST/, as WeChat Pay does to test merchants",
    "no_headers": "does it, then leaves the signature headers out",
    "stale": "does it, then signs with a time ten minutes ago",
    "unknown_key": "does it, then names a key nobody has",
}
SPECIAL: Final = {
    "paid_before_reply": "prepay: the driver pays and the notification arrives before the reply",
    "statement_creating": "bill: 400 STATEMENT_CREATING",
    "bad_hash": "bill: announces a wrong hash",
    "busy": "login, token: errcode -1",
    "code_invalid": "login: errcode 40029",
    "user_blocked": "login: errcode 40226",
    "too_frequent": "login: errcode 45011",
}
NOTIFY: Final = {
    "delay": "arrives `seconds` later (real time)",
    "drop": "is never sent, nor repeated",
    "duplicate": "arrives twice at once",
    "reorder": "arrives after the next one",
    "stale": "is signed with a time ten minutes ago",
    "bad_signature": "carries the signature of something else",
    "probe_signature": "carries a signature with WECHATPAY/SIGNTEST/",
    "no_headers": "carries no signature headers",
    "unknown_key": "names a key nobody has",
    "other_amount": "is signed, but tells of a fen more",
    "other_merchant": "is signed, but tells of another merchant",
    "v2_xml": "arrives as the XML of API v2",
}


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """A rule: the next `times` calls `on` (one of `CALLS`, or `notify`) fare so; 0 times: until removed."""

    on: str
    kind: str
    times: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    seconds: Annotated[float, Meta(ge=0, le=3_600)] = 0.0


class Faults:
    """The rules in force, oldest first; one call meets at most one of them."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a rule in force; raises ValueError for one that cannot be."""
        if fault.on == "notify":
            kinds: dict[str, str] = NOTIFY
        elif fault.on in CALLS:
            kinds = BEFORE | AFTER | SPECIAL
        else:
            raise ValueError(f"on: {fault.on!r} is none of {', '.join([*CALLS, 'notify'])}")
        if fault.kind not in kinds:
            raise ValueError(f"kind: {fault.kind!r} is none of {', '.join(kinds)}")
        self._rules.append(fault)

    def take(self, on: str) -> Fault | None:
        """The fault that the next call of this name meets, if any."""
        for rule in self._rules:
            if rule.on == on:
                if rule.times == 1:
                    self._rules.remove(rule)
                elif rule.times:
                    rule.times -= 1
                return msgspec.structs.replace(rule)
        return None

    def clear(self) -> None:
        """All is well again."""
        self._rules.clear()

    def list(self) -> list[dict[str, Any]]:
        """The rules in force."""
        return [msgspec.to_builtins(rule) for rule in self._rules]
