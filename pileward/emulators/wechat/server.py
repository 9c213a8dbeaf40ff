"""The emulator as a server: one port for the protocol, the mini-program and the control API."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from pileward.emulators.wechat import control, miniprogram, protocol
from pileward.emulators.wechat.emulator import Emulator, Options
from pileward.emulators.wechat.protocol import EMULATOR

BODY_MAX: Final = 256 * 1024
SHUTDOWN_S: Final = 2.0


def make_app(emulator: Emulator) -> web.Application:
    """All routes on one application."""
    app = web.Application(client_max_size=BODY_MAX)
    app[EMULATOR] = emulator
    protocol.add_routes(app)
    miniprogram.add_routes(app)
    control.add_routes(app)
    # an unknown path of the real one has an empty 404
    app.router.add_route("*", "/{path:.*}", _nothing)
    return app


class Server:
    """A running emulator: `async with Server(options) as server: … server.url`."""

    def __init__(self, options: Options, unix_time: Callable[[], float] = time.time) -> None:
        self._options = options
        self._unix_time = unix_time
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Server:
        """Open the books and listen; raises RuntimeError or OSError when that is not possible."""
        self.emulator = Emulator(self._options, self._unix_time)
        runner = web.AppRunner(make_app(self.emulator), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._options.host, self._options.port).start()
        except OSError:
            await runner.cleanup()
            self.emulator.close()
            raise
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self.port = int(port)
        self.settings_path = self.emulator.write_settings(self.url)
        await self.emulator.notifier.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening, stop sending, close the books."""
        assert self._runner is not None
        await self._runner.cleanup()
        await self.emulator.notifier.stop()
        self.emulator.close()


async def run(options: Options, told: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `told` gets a few lines for the terminal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Server(options) as server:
        told(f"微信支付模拟器 / WeChat Pay emulator  {server.url}")
        told(f"商户设置 / merchant settings          {server.settings_path}")
        told(f"控制接口 / control API                {server.url}/control/state")
        if options.ready_file is not None:
            ready = {"port": server.port, "url": server.url, "pid": os.getpid()}
            part = options.ready_file.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(ready))
            part.replace(options.ready_file)
        await stop.wait()


async def _nothing(request: web.Request) -> web.Response:
    return web.Response(status=404)
