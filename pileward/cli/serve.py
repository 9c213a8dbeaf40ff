"""`pileward serve`: one node with its HTTP server, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import click
import uvloop
from aiohttp import web

from pileward import logs
from pileward.cli.payments import make_logins, make_payments
from pileward.clock import Clock
from pileward.config import clock_state
from pileward.config.settings import Settings, SettingsError, load
from pileward.errors import DatabaseError
from pileward.http.app import make_app
from pileward.livefeed import make_bus
from pileward.models.database import Database, open_database
from pileward.node import Node

SPARE_FILES: Final = 500
"""Open files beside those of piles: database, HTTP, WebSockets, logs."""


@click.command("serve")
@click.option("--config", "path", type=click.Path(dir_okay=False), help="设置文件 / settings file (TOML).")
@click.option(
    "--ready-file", type=click.Path(dir_okay=False), help="写入实际端口 / write the ports in use here."
)
def command(path: str | None, ready_file: str | None) -> None:
    """运行服务 / Run the server: pile listener, HTTP API, live page."""
    try:
        settings = load(path)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    logs.configure(settings.log.level, settings.log.format, settings.node.number)
    settings.state_path.mkdir(parents=True, exist_ok=True)
    allow_connections(settings.limits.max_connections)
    try:
        uvloop.run(serve(settings, Path(ready_file) if ready_file else None))
    except (DatabaseError, OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


async def serve(settings: Settings, ready_file: Path | None) -> None:
    """Run one node until SIGINT or SIGTERM; leaves nothing unwritten behind."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        # a port that is taken must show before anything is made that is shown only once
        web_socket = stack.enter_context(socket.create_server((settings.http.host, settings.http.port)))
        database = await open_database(settings.database_url)
        stack.push_async_callback(database.close)
        node = await _start_node(settings, database, stack)
        runner = web.AppRunner(make_app(node), access_log=None, shutdown_timeout=3.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, web_socket).start()
        port = runner.addresses[0][1]
        if ready_file is not None:
            _write_ready(ready_file, port, node.ykc_port)
        await stop.wait()
        logs.logger(__name__).info("stopping")


async def _start_node(settings: Settings, database: Database, stack: contextlib.AsyncExitStack) -> Node:
    for gap in await database.durability_gaps():
        logs.logger(__name__).warning("not_durable", setting=gap)
    node = Node(
        settings,
        database,
        make_bus(settings.redis.url),
        make_clock(settings),
        make_payments(settings.wechat),
        make_logins(settings.wechat),
    )
    token = await node.start()
    stack.push_async_callback(node.close)
    if token is not None:
        # the one moment at which the token exists in clear: for the person at the terminal, not for the log
        click.echo(f"运营令牌 / operator token: {token}", file=sys.stderr)
    return node


def allow_connections(wanted: int) -> None:
    """Raise the soft limit of open files as far as allowed; say so when it is too low for the setting."""
    needed = wanted + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    reached = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    if reached < needed:
        logs.logger(__name__).warning("few_open_files", limit=reached, needed=needed)


def make_clock(settings: Settings) -> Clock:
    """The clock that the settings ask for; one that runs faster goes on where it was at the last start."""
    if settings.clock.rate == 1.0:
        return Clock()
    return clock_state.resume(settings.state_path, settings.clock.rate)


def _write_ready(path: Path, http_port: int, ykc_port: int) -> None:
    """Tell whoever waits which ports are in use; written whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(f'{{"http_port": {http_port}, "ykc_port": {ykc_port}, "pid": {os.getpid()}}}\n')
    part.replace(path)
