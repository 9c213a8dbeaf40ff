"""`pileward simulate`: simulated piles that live against a running server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click
import uvloop

from pileward.cli.load import allow_files
from pileward.clock import Clock
from pileward.simulator.drivers import REST_MEAN_S, Crowd, Drivers
from pileward.simulator.fleet import Fleet
from pileward.simulator.memory import MemoryFolder
from pileward.simulator.plan import PILES_MAX, Plan, first_code_of, populate
from pileward.simulator.profiles import PROFILES
from pileward.simulator.summary import summary_line
from pileward.simulator.tally import Tally
from pileward.simulator.trips import Trips

SUMMARY_EVERY_S: Final = 10.0
DRIVERS_MAX: Final = 5_000


@click.command("simulate")
@click.option("--host", default="127.0.0.1", show_default=True, help="平台地址 / address of the server")
@click.option(
    "--port", default=8768, show_default=True, type=click.IntRange(1, 65535), help="YKC 端口 / its YKC port"
)
@click.option(
    "--piles", default=20, show_default=True, type=click.IntRange(1, PILES_MAX), help="桩数 / piles"
)
@click.option(
    "--guns", default=2, show_default=True, type=click.IntRange(1, 32), help="每桩枪数 / guns of each pile"
)
@click.option("--prefix", help="桩编号前缀，其后从 1 编号 / beginning of the pile codes, numbered from 1")
@click.option("--first-code", help="首个桩编号，其后连续 / first of the consecutive pile codes (14 digits)")
@click.option(
    "--piles-per-connection",
    default=1,
    show_default=True,
    type=click.IntRange(1, 2_000),
    help="每连接桩数 / piles behind each connection",
)
@click.option(
    "--profile",
    default="calm",
    show_default=True,
    type=click.Choice(sorted(PROFILES)),
    help="calm 平静 · lively 热闹 · rough 恶劣 · steady 无事件",
)
@click.option("--seed", default=0, show_default=True, help="随机种子 / seed: the same seed, the same lives")
@click.option(
    "--rate",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3_600),
    help="时钟倍速，与平台相同 / clock seconds a second, the same as the server's",
)
@click.option(
    "--origin", help="启动时的时钟时间（ISO 8601）/ what the clock shows at the start; default: now"
)
@click.option(
    "--ramp",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    help="上线用时 / clock seconds to come up",
)
@click.option(
    "--duration", type=click.FloatRange(0), help="运行时长（秒）/ real seconds to run; default: until stopped"
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="桩内存文件夹 / folder that keeps each pile's memory (unsent records, tariff)",
)
@click.option(
    "--drivers",
    default=0,
    show_default=True,
    type=click.IntRange(0, DRIVERS_MAX),
    help="司机人数 / drivers who come and go, with --api and --pay",
)
@click.option("--api", metavar="URL", help="平台 HTTP 地址 / the server's HTTP address, for drivers")
@click.option(
    "--pay", metavar="URL", help="微信支付模拟器地址 / address of the WeChat Pay emulator, for drivers"
)
@click.option(
    "--rest",
    default=REST_MEAN_S,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    help="司机两次充电的平均间隔 / mean clock seconds between two trips of a driver",
)
def command(
    host: str,
    port: int,
    piles: int,
    guns: int,
    prefix: str | None,
    first_code: str | None,
    piles_per_connection: int,
    profile: str,
    seed: int,
    rate: float,
    origin: str | None,
    ramp: float,
    duration: float | None,
    state: Path | None,
    drivers: int,
    api: str | None,
    pay: str | None,
    rest: float,
) -> None:
    """模拟充电桩接入平台。Simulated YKC piles that behave like real ones."""
    if prefix is not None and first_code is not None:
        raise click.UsageError("--prefix 与 --first-code 只能选一；give --prefix or --first-code, not both")
    people = None
    if drivers:
        if api is None or pay is None:
            raise click.UsageError("--drivers 需要 --api 和 --pay；drivers need --api and --pay")
        people = People(drivers, api, pay, rest)
    try:
        plan = Plan(
            first_code=first_code or first_code_of(prefix or "3201060010"),
            piles=piles,
            guns=guns,
            piles_per_connection=piles_per_connection,
            profile=PROFILES[profile],
            seed=seed,
            ramp_s=ramp,
        )
        clock = Clock(rate, datetime.fromisoformat(origin) if origin else None)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    allow_files(plan.connections)
    memories = MemoryFolder(state) if state is not None else None
    uvloop.run(_run(Fleet(host, port, clock=clock, memories=memories), plan, people, duration))


class People(NamedTuple):
    """Drivers to simulate beside the piles."""

    drivers: int
    api_url: str
    pay_url: str
    rest_mean_s: float


async def _run(fleet: Fleet, plan: Plan, people: People | None, duration_s: float | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        populate(fleet, plan)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    end = loop.time() + duration_s if duration_s is not None else None
    async with contextlib.AsyncExitStack() as stack:
        trips = await _let_come(stack, fleet, plan, people) if people is not None else None
        await _live(fleet, plan, trips, stopped, end)


async def _let_come(stack: contextlib.AsyncExitStack, fleet: Fleet, plan: Plan, people: People) -> Trips:
    crowd = Crowd(fleet, people.api_url, people.pay_url, seed=plan.seed)
    stack.push_async_callback(crowd.close)
    drivers = Drivers(crowd, people.drivers, rest_mean_s=people.rest_mean_s)
    stack.push_async_callback(drivers.stop)
    drivers.start()
    return crowd.trips


async def _live(
    fleet: Fleet, plan: Plan, trips: Trips | None, stopped: asyncio.Event, end: float | None
) -> None:
    reporter = fleet.spawn(_report(fleet.tally, trips, plan.piles))
    try:
        async with asyncio.timeout_at(end):
            await stopped.wait()
    except TimeoutError:
        pass
    finally:
        reporter.cancel()
        await fleet.close()


async def _report(tally: Tally, trips: Trips | None, piles: int) -> None:
    """Print a calm line now and then."""
    while True:
        before = tally.snapshot()
        await asyncio.sleep(SUMMARY_EVERY_S)
        time = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        click.echo(f"{time} {summary_line(before, tally.snapshot(), piles, SUMMARY_EVERY_S)}")
        if trips is not None:
            click.echo(f"{time} {trips.line()}")
