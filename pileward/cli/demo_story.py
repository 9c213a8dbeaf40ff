"""The demo's story in the terminal: each charge that is over, in full, from the server's own API."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import aiohttp

from pileward.values import RATE_NAMES_ZH, Money, Rate

API: Final = "/api/admin/v1"
LOOKED_AT: Final = 50
"""Latest charges that are looked at for one that is over."""
TOLD_MAX: Final = 500
"""Serials remembered as told."""
TIMEOUT_S: Final = 10.0


class Story:
    """Tells of charges that have ended since it was last asked."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._told: deque[str] = deque(maxlen=TOLD_MAX)
        self._is_first = True

    async def next(self) -> list[str]:
        """The newest charge that is over and not told yet; nothing while the server is away."""
        try:
            async with aiohttp.ClientSession(
                self._url, headers=self._headers, timeout=aiohttp.ClientTimeout(TIMEOUT_S)
            ) as session:
                page = await _get(session, f"{API}/sessions?state=closed&limit={LOOKED_AT}")
                new = [row for row in page["items"] if row["serial"] not in self._told and row["total_fen"]]
                self._told.extend(row["serial"] for row in page["items"])
                if not new:
                    return []
                charge = await _get(session, f"{API}/sessions/{new[0]['serial']}")
                sheet = await _get(session, f"{API}/ledger/balances")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return []
        return [_tell(charge, sheet["sum_fen"])]


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        answer.raise_for_status()
        return await answer.json()


def _tell(charge: dict[str, Any], sum_fen: int) -> str:
    """One charge in a few lines: prepaid, charged, billed by period, refunded, ledger sum."""
    row = charge["row"]
    lines = [
        f"\n  订单 {row['serial']}  桩 {row['pile_code']} 枪 {row['gun_no']}",
        f"    预付 prepaid   {_yuan(row['paid_fen'])}",
        f"    充电 charged   {row['energy_e4_kwh'] / 10_000:.2f} kWh  {row['started_at']} – {row['ended_at']}"
        f"  {row['stop_reason']}",
    ]
    for line in charge["bill"]["lines"]:
        rate = Rate(line["rate"]) if isinstance(line["rate"], int) else Rate[line["rate"].upper()]
        lines.append(
            f"    {RATE_NAMES_ZH[rate]} {rate.name.lower():<7} {line['energy_e4_kwh'] / 10_000:8.2f} kWh"
            f"  电费 {_yuan(line['electricity_fen'])}  服务费 {_yuan(line['service_fen'])}"
        )
    lines.append(f"    合计 total     {_yuan(row['total_fen'])}")
    lines.append(f"    退款 refunded  {_yuan(row['refund_fen'])}")
    lines.append(f"    总账借贷差 ledger sum {_yuan(sum_fen)}")
    return "\n".join(lines)


def _yuan(fen: int | None) -> str:
    return f"¥{Money(fen or 0)}"
