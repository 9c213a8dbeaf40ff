"""All that a pile actor needs to know of its pile, as one frozen value; loaded one by one or all at once."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.values import TariffModel


class PileSettings(msgspec.Struct, frozen=True):
    """What differs between makers: the settings of a pile model (桩型号)."""

    offline_after_s: int = 30
    heartbeat_s: int = 10
    crc_order: CrcOrder = CrcOrder.MIRROR
    card_codec: CardCodec = CardCodec.HEX
    time_sync_s: int = 86_400
    """Between two settings of the pile's clock."""


class PileConfig(msgspec.Struct, frozen=True):
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

    @property
    def billing_model_no(self) -> str | None:
        """The billing model that the pile should hold."""
        return self.tariff.billing_model_no if self.tariff is not None else None
