"""All that a pile actor needs to know of its pile, as one frozen value; loaded one by one or all at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from tortoise.backends.base.client import BaseDBAsyncClient

from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.models.piles import Pile
from pileward.services.sql import among, listed, moment, select
from pileward.services.tariffs import InForce, in_force
from pileward.values import TariffModel


class PileSettings(msgspec.Struct, frozen=True, gc=False):
    """What differs between makers: the settings of a pile model (桩型号)."""

    offline_after_s: int = 30
    heartbeat_s: int = 10
    crc_order: CrcOrder = CrcOrder.MIRROR
    card_codec: CardCodec = CardCodec.HEX
    time_sync_s: int = 86_400
    """Between two settings of the pile's clock."""


class PileConfig(msgspec.Struct, frozen=True, gc=False):
    """One registered pile as its actor sees it; a change makes a new value."""

    pile_id: int
    operator_id: int
    station_id: int
    pile_code: str
    name: str
    station_name: str
    protocol: str
    kind: PileKind
    gun_count: int
    rated_power_w: int
    settings: PileSettings
    tariff: TariffModel | None
    """The version in force now; None: the pile must not charge."""
    next_tariff_at: datetime | None
    """When the next version of its tariff comes into force, if one is planned."""
    confirmed_billing_model_no: str | None
    """The billing model that the pile last proved to hold."""
    confirmed_at: datetime | None
    is_in_maintenance: bool
    last_login_at: datetime | None
    last_seen_at: datetime | None
    qr_prefix: str = ""
    """What the pile puts before its code in its QR codes (YKC 1.6, 0xF0); empty: not sent."""
    provisional_after_s: int = 86_400
    """Without a record for so long, its operator has a charge billed by its last live values."""

    @property
    def billing_model_no(self) -> str | None:
        """The billing model that the pile should hold."""
        return self.tariff.billing_model_no if self.tariff is not None else None


_QUERY = """
SELECT p.id, p.operator_id, p.station_id, p.pile_code, p.name, p.protocol, p.kind, p.gun_count,
  p.rated_power_w, p.is_in_maintenance, p.confirmed_billing_model_no, p.confirmed_at, p.last_login_at,
  p.last_seen_at, COALESCE(p.tariff_id, s.tariff_id) AS tariff_id, s.name_zh AS station_name, o.qr_prefix,
  o.provisional_after_s, p.model_id, m.offline_after_s, m.heartbeat_s, m.crc_order, m.card_codec,
  m.time_sync_s
FROM pile p JOIN station s ON s.id = p.station_id JOIN operator o ON o.id = p.operator_id
  JOIN pile_model m ON m.id = p.model_id
WHERE p.is_retired = FALSE
"""


async def load_pile_configs(now: datetime) -> list[PileConfig]:
    """Every pile in service, of all operators, with the tariff in force `now`; some 20,000 a second."""
    connection = Pile._meta.db
    return await _configs(connection, await select(connection, _QUERY), now)


async def load_pile_config(pile_code: str, now: datetime) -> PileConfig | None:
    """One pile; None when it is not registered or retired."""
    found = await load_some_configs([pile_code], now)
    return found[0] if found else None


async def load_some_configs(pile_codes: Iterable[str], now: datetime) -> list[PileConfig]:
    """Those of the named piles that are registered and in service, in any order."""
    connection = Pile._meta.db
    query = f"{_QUERY} AND {among(connection, 'p.pile_code')}"
    return await _configs(connection, await select(connection, query, listed(connection, [*pile_codes])), now)


async def _configs(
    connection: BaseDBAsyncClient, rows: list[dict[str, Any]], now: datetime
) -> list[PileConfig]:
    """Rows to values; what many piles have in common is one object for all of them."""
    tariffs = await in_force({row["tariff_id"] for row in rows if row["tariff_id"] is not None}, now)
    settings: dict[int, PileSettings] = {}
    names: dict[str, str] = {}
    none = InForce(None, None)
    configs = []
    for row in rows:
        if row["model_id"] not in settings:
            settings[row["model_id"]] = _settings(row)
        tariff = tariffs.get(row["tariff_id"], none)
        configs.append(
            PileConfig(
                pile_id=row["id"],
                operator_id=row["operator_id"],
                station_id=row["station_id"],
                pile_code=row["pile_code"],
                name=row["name"],
                station_name=names.setdefault(row["station_name"], row["station_name"]),
                protocol=names.setdefault(row["protocol"], row["protocol"]),
                kind=PileKind(row["kind"]),
                gun_count=row["gun_count"],
                rated_power_w=row["rated_power_w"],
                settings=settings[row["model_id"]],
                tariff=tariff.model,
                next_tariff_at=tariff.next_at,
                confirmed_billing_model_no=row["confirmed_billing_model_no"],
                confirmed_at=moment(row["confirmed_at"]),
                is_in_maintenance=bool(row["is_in_maintenance"]),
                last_login_at=moment(row["last_login_at"]),
                last_seen_at=moment(row["last_seen_at"]),
                qr_prefix=names.setdefault(row["qr_prefix"], row["qr_prefix"]),
                provisional_after_s=row["provisional_after_s"],
            )
        )
    return configs


def _settings(row: dict[str, Any]) -> PileSettings:
    return PileSettings(
        offline_after_s=row["offline_after_s"],
        heartbeat_s=row["heartbeat_s"],
        crc_order=CrcOrder(row["crc_order"]),
        card_codec=CardCodec(row["card_codec"]),
        time_sync_s=row["time_sync_s"],
    )
