"""`pileward inspect session SERIAL`: one charge in a terminal: how it came to where it is, and its money."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from pileward.cli.http_client import Server

SHOWN: Final = (
    "driver_id", "pile_code", "gun_no", "requested_at", "started_at", "ended_at", "closed_at", "stop_reason",
    "start_failure", "is_provisional", "is_held", "held_reason",
)  # fmt: skip
PAYMENT_HEADS: Final = ("单号 number", "进度 step", "金额 yuan", "到账 paid", "交易号 transaction")
REFUND_HEADS: Final = ("单号 number", "进度 step", "金额 yuan", "次数 attempts", "下次 next", "错误 error")
ENTRY_HEADS: Final = ("时间 at", "借 debit", "贷 credit", "金额 yuan", "键 key")


def show_session(server: Server, console: Console, serial: str, as_json: bool) -> None:
    """Print one charge; raises ClickException when the server knows none of that serial."""
    inside = server.call("GET", f"/debug/sessions/{quote(serial, safe='')}")
    if as_json:
        console.print_json(data=inside)
        return
    charge = inside["charge"]
    console.print(_facts(inside))
    moved = (inside["actor"] or {}).get("transitions", [])
    console.print(
        _table(
            "转换 transitions",
            ("时间 at", "事件 event", "自 from", "至 to"),
            ((row["at"], row["event"], row["from"], row["to"]) for row in moved),
        )
    )
    timers = ((row["name"], f"{row['due_in_s']} s") for row in inside["timers"])
    console.print(_table("定时器 timers", ("名称 name", "到期 due"), timers))
    if charge["bill"] is not None:
        console.print(_bill(charge["bill"]))
    console.print(_table("支付 payments", PAYMENT_HEADS, map(_payment, charge["payments"])))
    console.print(_table("退款 outbox", REFUND_HEADS, map(_refund, charge["refunds"])))
    console.print(_table("分录 ledger", ENTRY_HEADS, map(_entry, charge["entries"])))
    reviews = ((row["kind"], row["reason"], row["resolution"] or "未处理 open") for row in charge["reviews"])
    console.print(_table("待办 reviews", ("类别 kind", "原因 reason", "处理 resolution"), reviews))


def _payment(row: dict[str, Any]) -> tuple[str, ...]:
    number, step = row["out_trade_no"], row["verdict"] or row["step"]
    return number, step, _yuan(row["fen"]), row["paid_at"] or "-", row["transaction_id"] or "-"


def _refund(row: dict[str, Any]) -> tuple[str, ...]:
    number, attempts = row["out_refund_no"], str(row["attempts"])
    waits = row["next_attempt_at"] or "-"
    return number, row["step"], _yuan(row["fen"]), attempts, waits, row["error"] or "-"


def _entry(row: dict[str, Any]) -> tuple[str, ...]:
    return row["at"], row["debit"], row["credit"], _yuan(row["fen"]), row["key"]


def _facts(inside: dict[str, Any]) -> Table:
    charge, row = inside["charge"], inside["charge"]["row"]
    facts = Table(show_header=False, title=f"{row['serial']}  {row['state_zh']} {row['state_en']}")
    facts.add_row("state", inside["state"] if inside["state"] == row["state"] else f"{inside['state']} …")
    for name in SHOWN:
        facts.add_row(name, "-" if row[name] in (None, "") else str(row[name]))
    facts.add_row("wire_number", charge["wire_number"])
    energy = row["energy_e4_kwh"] // 100
    facts.add_row("energy", f"{energy // 100}.{energy % 100:02d} kWh")
    for name in ("prepaid_fen", "paid_fen", "total_fen", "refund_fen", "debt_fen"):
        facts.add_row(name.removesuffix("_fen"), "-" if row[name] is None else _yuan(row[name]))
    facts.add_row("stop", f"{charge['stop_zh']} {charge['stop_en']}".strip() or "-")
    facts.add_row("actor", inside["path"] or "已退出 exited")
    return facts


def _bill(bill: dict[str, Any]) -> Table:
    heads = ("时段 rate", "电量 kWh", "电费 electricity", "服务费 service", "合计 total")
    rows = [
        (f"{line['rate_zh']} {line['rate']}", _kwh(line["energy_e4_kwh"]), *_amounts(line))
        for line in bill["lines"]
    ]
    rows.append(("合计 total", _kwh(bill["energy_e4_kwh"]), *_amounts(bill)))
    return _table("账单 bill", heads, rows)


def _amounts(line: dict[str, Any]) -> tuple[str, str, str]:
    return _yuan(line["electricity_fen"]), _yuan(line["service_fen"]), _yuan(line["total_fen"])


def _kwh(e4: int) -> str:
    return f"{e4 // 10_000}.{e4 % 10_000:04d}"


def _yuan(fen: int) -> str:
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def _table(title: str, heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(*heads, title=title)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table
