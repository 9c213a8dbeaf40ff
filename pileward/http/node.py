"""What HTTP asks of the process it runs in: a port with the few things that handlers use.

The real one is built where everything is wired. Nothing here may be called outside the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from aiohttp import web

from pileward.actors.frame_tail import FrameTail
from pileward.messages.events import AlarmChanged, PileChanged
from pileward.messages.live import PileView, StationView
from pileward.messages.payments import Bill, BillNotReady, Failure, NoBill
from pileward.metrics import Metrics
from pileward.models.database import Database
from pileward.ports import Bus, Logins
from pileward.services.pile_configs import PileConfig

if TYPE_CHECKING:
    from pileward.actors.engine import Engine


class Fleet(Protocol):
    """The read-only directory of pile actors."""

    def address_of(self, pile_code: str) -> Any | None:
        """The actor of a registered pile; None for any other code."""
        ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...


class Serials(Protocol):
    """Numbers of charges."""

    def next(self, now: datetime) -> str:
        """A serial that was never given out."""
        ...


class Merchant(msgspec.Struct, frozen=True):
    """Who takes the money, and the app in which it is paid."""

    channel: str
    mchid: str
    appid: str


class Node(Protocol):
    """One running process as HTTP sees it."""

    @property
    def engine(self) -> Engine: ...

    @property
    def database(self) -> Database: ...

    @property
    def fleet(self) -> Fleet: ...

    @property
    def bus(self) -> Bus: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def tail(self) -> FrameTail: ...

    @property
    def started_at(self) -> datetime:
        """When the process began, UTC, on the engine's clock."""
        ...

    @property
    def logins(self) -> Logins | None:
        """Who vouches for drivers; None: nobody can log in."""
        ...

    @property
    def driver_key(self) -> bytes:
        """The key that signs drivers' access tokens."""
        ...

    @property
    def payments(self) -> Any:
        """The payments actor."""
        ...

    @property
    def refunds(self) -> Any:
        """The refunds actor."""
        ...

    @property
    def serials(self) -> Serials: ...

    @property
    def merchant(self) -> Merchant: ...

    async def download_bill(self, day: date) -> Bill | NoBill | BillNotReady | Failure | None:
        """The provider's bill of one China day; None where there is no provider."""
        ...

    async def fleet_changed(self, kind: str, key: str) -> None:
        """Tell the actors concerned that staff changed a row; returns when a new pile has its actor.

        `kind` is "pile" (key: pile code), "station", "tariff" or "pile_model" (key: id as text).
        """
        ...

    async def revive(self, pile_code: str) -> bool:
        """Let a quarantined pile actor work again; False when it was not quarantined."""
        ...

    def snapshot(self) -> Sequence[StationView]:
        """Everything that is shown to the public, as it is at this moment; does not wait."""
        ...

    def pile_shown(self, pile_code: str) -> PileView | None:
        """One pile as it is shown to the public, at this moment; None when it has no actor."""
        ...

    def pile_config(self, pile_code: str) -> PileConfig | None:
        """What a pile's actor goes by, with the tariff in force; None when it has no actor."""
        ...

    def recent_events(self) -> Sequence[PileChanged | AlarmChanged]:
        """The last few dozen events, oldest first."""
        ...

    async def readiness(self) -> Mapping[str, str]:
        """Each part that must work before traffic may come: "" when it does, else what is wrong."""
        ...


NODE: Final = web.AppKey("node", Node)
