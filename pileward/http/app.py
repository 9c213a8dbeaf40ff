"""The application: every route, in front of one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from pileward.http import auth, callbacks, feed, health, idempotency, middleware, pages, websockets
from pileward.http.admin import (
    alarms,
    audit,
    commands,
    discovered,
    drivers,
    ledger,
    money_terms,
    pile_models,
    piles,
    reconciliation,
    refunds,
    reviews,
    stations,
    tariffs,
)
from pileward.http.admin import sessions as charges
from pileward.http.api import Api, mount
from pileward.http.debug import actors as debug_actors
from pileward.http.debug import frames as debug_frames
from pileward.http.debug import page as debug_page
from pileward.http.debug import sessions as debug_sessions
from pileward.http.driver import live, login, prepays, sessions
from pileward.http.driver import stations as driver_stations
from pileward.http.driver.tokens import DriverTokens
from pileward.http.node import NODE, Node

BODY_MAX: Final = 256 * 1024
"""Bytes of a request body; the largest honest one, a tariff, has a few thousand."""

GROUPS: Final[Sequence[Api]] = (
    stations.api,
    piles.api,
    commands.api,
    tariffs.api,
    pile_models.api,
    discovered.api,
    alarms.api,
    audit.api,
    charges.api,
    money_terms.api,
    ledger.api,
    refunds.api,
    reconciliation.api,
    reviews.api,
    drivers.api,
    login.api,
    driver_stations.api,
    prepays.api,
    sessions.api,
    live.api,
    callbacks.api,
    feed.api,
    debug_actors.api,
    debug_sessions.api,
    debug_frames.api,
    debug_page.api,
    health.api,
    pages.api,
)
"""All routes, in the order of the API page."""


def make_app(node: Node) -> web.Application:
    """Build the application. Serve it with `access_log=None`: it writes its own, without secrets."""
    app = web.Application(
        client_max_size=BODY_MAX,
        middlewares=[middleware.identify, middleware.explain, auth.authenticate],
    )
    app[NODE] = node
    app[auth.TOKENS] = DriverTokens(node.driver_key)
    auth.prepare(app)
    idempotency.prepare(app)
    websockets.prepare(app)
    operations = mount(app, GROUPS)
    pages.prepare(app, operations)
    return app
