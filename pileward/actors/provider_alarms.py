"""Alarms about the provider and our account with it: raised by a bad answer, ended by the next good one."""

from __future__ import annotations

from typing import Any, Final

from pileward.actors.effects import Clear, Raise
from pileward.messages.payments import FAILURES, Config, Failure, SignatureInvalid
from pileward.values import Severity

MISCONFIGURED: Final = "payments_misconfigured"
CLOCK_SUSPECT: Final = "clock_suspect"
"""A signed answer to a question of ours is minutes old: one of the two clocks is wrong, and it is ours."""

WORKS: Final = (Clear(MISCONFIGURED), Clear(CLOCK_SUSPECT))
"""The provider answered as it should."""

_CLOCK: Final = Raise(
    CLOCK_SUSPECT,
    Severity.FAULT,
    "服务器时钟可能不准（微信支付签名时间相差五分钟以上），请检查 NTP",
    "the server's clock seems wrong: signatures of the provider are minutes off; check NTP",
)
UNREADABLE: Final = Raise(
    MISCONFIGURED,
    Severity.FAULT,
    "微信支付通知无法解密，请核对 APIv3 密钥",
    "notifications of the provider cannot be decrypted: check the APIv3 key",
)


def about(answer: Any) -> tuple[Raise | Clear, ...]:
    """What an answer to a call about payments says of the provider and of us."""
    match answer:
        case Config():
            return (_misconfigured(answer),)
        case SignatureInvalid(code="STALE"):
            return (_CLOCK,)
    return () if isinstance(answer, FAILURES) else WORKS


def _misconfigured(answer: Failure) -> Raise:
    zh = f"微信支付拒绝了我方配置（{answer.code}），无法收款"
    en = f"the provider refuses our settings, nobody can pay ({answer.code}: {answer.message})"
    return Raise(MISCONFIGURED, Severity.FAULT, zh, en[:200])
