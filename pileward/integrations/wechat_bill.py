"""WeChat Pay's trade bill (交易账单, kind ALL): a CSV of one China day, read by column names and checked.

UTF-8, every value behind a backtick, commas inside text already escaped, so splitting at commas is safe. One
row a payment and one a refund, then one row of totals. Amounts are yuan with two decimals, fees with five.
Source: 「申请交易账单」「下载账单」.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from pileward.messages.payments import Bill, BillPayment, BillRefund
from pileward.values import CHINA, Money

SIZE_MAX: Final = 512 * 1024 * 1024
"""A bill that unpacks to more is none: about two million rows."""

_TOTALS_HEADER: Final = "总交易单数"
_BRACKETS: Final = str.maketrans("（）", "()")


class BillError(ValueError):
    """A bill that must not be used: damaged on the way, or not what its totals say."""


def read_bill(day: date, content: bytes, sha1: str) -> Bill:
    """Unpack, check hash and totals, and read a bill; raises BillError.

    The hash is announced over the unpacked file; an older page meant the packed one, so either is taken.
    """
    text = _unpack(content)
    digests = {hashlib.sha1(part).hexdigest() for part in (text, content)}  # noqa: S324 - the provider's choice
    if sha1.lower() not in digests:
        raise BillError("the hash is not the one announced")
    payments, refunds, totals = _read(text)
    _check(payments, refunds, totals)
    return Bill(day, tuple(payments), tuple(refunds), text, sha1.lower())


def _unpack(content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        text = unpacker.decompress(content, SIZE_MAX)
    except zlib.error as error:
        raise BillError(f"cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise BillError("cut short, or larger than a bill can be")
    return text


def _read(text: bytes) -> tuple[list[BillPayment], list[BillRefund], dict[str, str]]:
    try:
        lines = [line for line in text.decode("utf-8-sig").splitlines() if line]
    except UnicodeDecodeError as error:
        raise BillError("not UTF-8") from error
    end = next((at for at, line in enumerate(lines) if line.startswith(_TOTALS_HEADER)), None)
    if not lines or end is None or end + 2 != len(lines):
        raise BillError("rows or totals are missing")
    header = _names(lines[0])
    payments: list[BillPayment] = []
    refunds: list[BillRefund] = []
    for line in lines[1:end]:
        row = _row(header, line)
        match _value(row, "交易状态"):
            case "SUCCESS":
                payments.append(_payment(row))
            case "REFUND":
                refunds.append(_refund(row))
            case other:
                raise BillError(f"a row of an unknown kind: {other}")
    return payments, refunds, _row(_names(lines[end]), lines[end + 1])


def _check(payments: list[BillPayment], refunds: list[BillRefund], totals: Mapping[str, str]) -> None:
    """A bill whose rows are not its totals was cut or changed: it is to be downloaded again."""
    counted = {
        "总交易单数": (len(payments) + len(refunds), int(_number(totals, "总交易单数"))),
        "订单总金额": (sum(row.total_fen for row in payments), _fen(totals, "订单总金额")),
        "申请退款总金额": (sum(row.refund_fen for row in refunds), _fen(totals, "申请退款总金额")),
        "手续费总金额": (
            sum(row.fee_e5_yuan for row in payments) + sum(row.fee_e5_yuan for row in refunds),
            _e5_yuan(totals, "手续费总金额"),
        ),
    }
    if wrong := [name for name, (rows, said) in counted.items() if rows != said]:
        raise BillError(f"rows and totals differ: {', '.join(wrong)}")


def _payment(row: Mapping[str, str]) -> BillPayment:
    return BillPayment(
        at=_time(row, "交易时间"),
        out_trade_no=_value(row, "商户订单号"),
        transaction_id=_value(row, "微信订单号"),
        openid=_value(row, "用户标识"),
        total_fen=_fen(row, "订单金额"),
        fee_e5_yuan=_e5_yuan(row, "手续费"),
    )


def _refund(row: Mapping[str, str]) -> BillRefund:
    return BillRefund(
        at=_time(row, "交易时间"),
        out_trade_no=_value(row, "商户订单号"),
        transaction_id=_value(row, "微信订单号"),
        out_refund_no=_value(row, "商户退款单号"),
        refund_id=_value(row, "微信退款单号"),
        refund_fen=_fen(row, "申请退款金额"),
        status=_value(row, "退款状态"),
        fee_e5_yuan=_e5_yuan(row, "手续费"),
    )


def _names(line: str) -> list[str]:
    return [name.translate(_BRACKETS).strip() for name in line.split(",")]


def _row(header: list[str], line: str) -> dict[str, str]:
    values = [value.removeprefix("`").strip() for value in line.split(",")]
    if len(values) != len(header):
        raise BillError(f"a row has {len(values)} values under {len(header)} names")
    return dict(zip(header, values, strict=True))


def _value(row: Mapping[str, str], name: str) -> str:
    if name not in row:
        raise BillError(f"column {name} is missing")
    return row[name]


def _number(row: Mapping[str, str], name: str) -> Decimal:
    try:
        number = Decimal(_value(row, name))
    except InvalidOperation as error:
        raise BillError(f"{name}: {row[name]!r} is no number") from error
    if not number.is_finite():
        raise BillError(f"{name}: {row[name]!r} is no number")
    return number


def _fen(row: Mapping[str, str], name: str) -> int:
    try:
        return Money.yuan(str(_number(row, name))).fen
    except ValueError as error:
        raise BillError(f"{name}: {error}") from error


def _e5_yuan(row: Mapping[str, str], name: str) -> int:
    scaled = _number(row, name) * 100_000
    if scaled != scaled.to_integral_value():
        raise BillError(f"{name}: {row[name]!r} is finer than 0.00001 yuan")
    return int(scaled)


def _time(row: Mapping[str, str], name: str) -> datetime:
    """The bill's times are China's."""
    try:
        local = datetime.strptime(_value(row, name), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
    except ValueError as error:
        raise BillError(f"{name}: {row[name]!r} is no time") from error
    return local.astimezone(UTC)
