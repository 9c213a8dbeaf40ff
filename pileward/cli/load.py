"""`pileward load`: many simulated piles against a running server, and figures at the end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pileward.simulator.charges_load import ChargesReport, ChargesRun, quick
from pileward.simulator.fleet import ABANDONED_MAX, Fleet
from pileward.simulator.habits import Habits
from pileward.simulator.load import LoadReport, LoadRun, OnLook
from pileward.simulator.plan import PILES_MAX, Plan, host_of, is_loopback

FIRST_CODE: Final = "32010600100001"
SPARE_FILES: Final = 64
DAY_S: Final = 86_400.0


def allow_files(connections: int) -> None:
    """Raise the soft limit of open files if need be; raises ClickException when the hard limit is too low."""
    wanted = connections + ABANDONED_MAX + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise click.ClickException(
                f"{connections} 个连接超过本机可打开文件数上限 {hard}；"
                f"{connections} connections need {wanted} open files, the limit is {hard}: "
                "use fewer piles or --piles-per-connection"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@click.command("load")
@click.option("--host", default="127.0.0.1", show_default=True, help="平台地址 / address of the server")
@click.option(
    "--port", default=8768, show_default=True, type=click.IntRange(1, 65535), help="YKC 端口 / its YKC port"
)
@click.option(
    "--piles", default=1000, show_default=True, type=click.IntRange(1, PILES_MAX), help="桩数 / piles"
)
@click.option(
    "--guns", default=2, show_default=True, type=click.IntRange(1, 32), help="每桩枪数 / guns of each pile"
)
@click.option(
    "--first-code",
    default=FIRST_CODE,
    show_default=True,
    help="首个桩编号，其后连续，须已登记 / first of the consecutive pile codes, registered on the server",
)
@click.option(
    "--piles-per-connection",
    default=1,
    show_default=True,
    type=click.IntRange(1, 2_000),
    help="每连接桩数 / piles behind each connection",
)
@click.option(
    "--ramp",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, DAY_S),
    help="上线用时（秒）/ seconds to come up",
)
@click.option(
    "--duration",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, DAY_S),
    help="测量时长（秒）/ seconds",
)
@click.option(
    "--heartbeat",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.01, 3_600),
    help="心跳间隔（秒）/ seconds between the heartbeats of a gun",
)
@click.option(
    "--real-time",
    default=300.0,
    show_default=True,
    type=click.FloatRange(0.01, DAY_S),
    help="实时数据间隔（秒）/ seconds between the real-time data of a gun",
)
@click.option(
    "--charges",
    default=0,
    show_default=True,
    type=click.IntRange(0, PILES_MAX),
    help="同时充电的司机数 / drivers who charge again and again, one a gun, with --api and --pay",
)
@click.option("--api", metavar="URL", help="平台 HTTP 地址 / the server's HTTP address, for --charges")
@click.option("--pay", metavar="URL", help="微信支付模拟器地址 / address of the WeChat Pay emulator")
@click.option(
    "--look",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0.02, 60),
    help="司机查看订单的间隔（秒）/ seconds between two looks of a driver at the order",
)
@click.option("--seed", default=0, show_default=True, help="随机种子 / seed")
@click.option("--allow-remote", is_flag=True, help="允许非本机目标 / allow a target that is not this machine")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def command(
    host: str,
    port: int,
    piles: int,
    guns: int,
    first_code: str,
    piles_per_connection: int,
    ramp: float,
    duration: float,
    heartbeat: float,
    real_time: float,
    charges: int,
    api: str | None,
    pay: str | None,
    look: float,
    seed: int,
    allow_remote: bool,
    as_json: bool,
) -> None:
    """压测：大量模拟桩接入一个运行中的平台。Load a running server with many simulated piles."""
    for target in (host, *(host_of(url) for url in (api, pay) if url is not None)):
        if not allow_remote and not is_loopback(target):
            raise click.ClickException(
                f"{target} 不是本机；{target} is not this machine: say --allow-remote if you mean it"
            )
    if charges and (api is None or pay is None):
        raise click.UsageError("--charges 需要 --api 和 --pay；--charges needs --api and --pay")
    try:
        plan = Plan(
            first_code=first_code,
            piles=piles,
            guns=guns,
            piles_per_connection=piles_per_connection,
            seed=seed,
            ramp_s=ramp,
            habits=quick(Habits(heartbeat_s=heartbeat, real_time_s=real_time)),
        )
        if api is not None and pay is not None and charges:
            _charge(host, port, plan, People(charges, api, pay, look), duration, as_json)
            return
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    allow_files(plan.connections)
    report = uvloop.run(_run(host, port, plan, duration))
    _show(report.data(), _table(report), as_json)
    if report.online < report.piles:
        raise SystemExit(1)


class People(NamedTuple):
    """Drivers beside the piles."""

    drivers: int
    api_url: str
    pay_url: str
    look_s: float


def _charge(host: str, port: int, plan: Plan, people: People, duration_s: float, as_json: bool) -> None:
    """Whole charges; raises ValueError for more drivers than guns, SystemExit when something went wrong."""
    allow_files(plan.connections + 2 * people.drivers)
    report = uvloop.run(_run_charges(host, port, plan, people, duration_s))
    _show(report.data(), _charges_table(report), as_json)
    if not report.is_good:
        raise SystemExit(1)


async def _run_charges(host: str, port: int, plan: Plan, people: People, duration_s: float) -> ChargesReport:
    run = LoadRun(host, port, plan)
    charges = ChargesRun(run, plan, *people[:3], look_s=people.look_s)
    with _progress(run, plan, duration_s) as look:
        return await charges.run(duration_s, min(5.0, duration_s / 4), look)


async def _run(host: str, port: int, plan: Plan, duration_s: float) -> LoadReport:
    run = LoadRun(host, port, plan)
    with _progress(run, plan, duration_s) as look:
        return await run.run(duration_s, look)


@contextlib.contextmanager
def _progress(run: LoadRun, plan: Plan, duration_s: float) -> Iterator[OnLook]:
    """Stop the run at a signal, and show on the terminal how far it has come."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, run.stop)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        coming = progress.add_task("上线 online", total=plan.piles)
        measuring = progress.add_task("测量 seconds", total=round(duration_s))

        def look(fleet: Fleet, measured_s: float) -> None:
            progress.update(coming, completed=fleet.tally.online)
            progress.update(measuring, completed=int(measured_s))

        yield look


def _show(data: dict[str, Any], table: Table, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(data) + b"\n")
    else:
        Console().print(table)


STEP_WORDS: Final = {
    "prepay": "下单 prepay (HTTP)",
    "pay": "支付 pay (WeChat)",
    "funded": "到账 paid → funded",
    "start": "启动 start (HTTP)",
    "charging": "启动到充电 start → charging",
    "bill": "停止到账单 stop → bill",
    "refund": "账单到退款 bill → refund",
}


def _charges_table(report: ChargesReport) -> Table:
    """The trips, then the piles under them."""
    table = Table(title="整单压测 Whole charges", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    trips = report.trips
    table.add_row("司机 drivers", str(report.drivers))
    table.add_row("完整充电 whole charges", f"{trips.charged} / {trips.trips}")
    table.add_row("每秒 charges a second", f"{trips.charged_per_s:.2f} /s")
    for step, words in STEP_WORDS.items():
        table.add_row(words, _latency(trips.latencies[step]))
    for fen, words in (
        (trips.paid_fen, "实付 paid"),
        (trips.billed_fen, "账单 billed"),
        (trips.refunded_fen, "退款 refunded"),
    ):
        table.add_row(words, f"{fen // 100}.{fen % 100:02d} 元")
    others = {name: count for name, count in trips.outcomes.items() if name != "charged"}
    for title, counts in (
        ("其他结局 outcome", others),
        ("拒绝 refusal", trips.refusals),
        ("意外 oddity", trips.oddities),
        ("错账 WRONG", trips.wrongs),
    ):
        for name, count in counts.items():
            table.add_row(f"{title}: {name}", f"{count:,}")
    table.add_section()
    _pile_rows(table, report.piles)
    return table


def _latency(latency: dict[str, float]) -> str:
    if not latency["count"]:
        return "—"
    return f"p50 {latency['p50_ms']:.2f} · p99 {latency['p99_ms']:.2f} · max {latency['max_ms']:.2f} ms"


def _table(report: LoadReport) -> Table:
    table = Table(title="压测结果 Load", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    _pile_rows(table, report)
    return table


def _pile_rows(table: Table, report: LoadReport) -> None:
    table.add_row("在线桩 piles online", f"{report.online} / {report.piles}")
    table.add_row("连接 connections", str(report.connections))
    came = "—" if report.all_online_s is None else f"{report.all_online_s:.2f} s"
    table.add_row("全部上线用时 all online after", came)
    table.add_row("上行帧 frames up", f"{report.frames_up_per_s:,.0f} /s")
    table.add_row("下行帧 frames down", f"{report.frames_down_per_s:,.0f} /s")
    for title, latency in (
        ("心跳应答 heartbeat answer", report.heartbeat),
        ("登录应答 login answer", report.login),
    ):
        table.add_row(title, _latency(latency))
    if not report.errors:
        table.add_row("错误 errors", "0")
    for name, count in report.errors.items():
        table.add_row(f"错误 error: {name}", f"{count:,}")
