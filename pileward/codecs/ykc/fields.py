"""Rows that many frames share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pileward.codecs.ykc import wire

PileNo = Annotated[str, wire.bcd(7), "桩编号", "number of the pile, 14 digits"]
GunNo = Annotated[int, wire.GUN, "枪号", "gun on this pile, from 1"]
BinaryGunNo = Annotated[
    int, wire.U8, "枪号", "gun on this pile, from 1; plain binary in the frames of ground locks"
]
TradeNo = Annotated[str, wire.bcd(16), "交易流水号", "number of the transaction, 32 digits, opaque"]
BillingModelNo = Annotated[str, wire.hexa(2), "计费模型编号", "number of the tariff, 4 digits as on the wire"]
LogicalCardNo = Annotated[
    str, wire.hexa(8), "逻辑卡号", "number printed on the card, for the pile's screen; zeros: none"
]
PhysicalCardNo = Annotated[str, wire.hexa(8), "物理卡号", "number of the card's chip; zeros: none"]
Balance = Annotated[int, wire.D2_LONG, "账户余额", "balance of the account, yuan"]
ParallelNo = Annotated[
    str, wire.bcd(6), "并充序号", "YYMMDDhhmmss, the same for all guns of a parallel charge"
]
GunRole = Annotated[int, wire.U8, "主辅枪标记", "0 main gun, 1 auxiliary gun"]
FourReserved = Annotated[str | None, wire.hexa(4), "预留位", "zeros; ignored on receipt"]
ChargeMinutes = Annotated[int, wire.U16, "累计充电时间", "minutes charged so far"]
Vin = Annotated[str, wire.text(17), "车辆识别码", "VIN in reading order; empty: unknown"]
StartTime = Annotated[datetime | None, wire.CP56, "开始时间", "start of the charge by the pile's clock"]
EndTime = Annotated[datetime | None, wire.CP56, "结束时间", "end of the charge by the pile's clock"]
TradeTime = Annotated[datetime | None, wire.CP56, "交易日期、时间", "when the pile made the record"]
