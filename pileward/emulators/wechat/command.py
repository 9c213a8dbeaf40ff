"""The command that runs the emulator: `pileward emulate wechat`, or `python -m pileward.emulators.wechat`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import click

from pileward.emulators.wechat.emulator import Options
from pileward.emulators.wechat.server import run


@click.command("wechat", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="监听地址 / address to listen on")
@click.option(
    "--port",
    default=18443,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="端口，0 为任一空闲端口 / port; 0: any free one",
)
@click.option(
    "--state",
    default=Path("state/wechat"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="密钥与账本文件夹 / folder of keys and books",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3_600),
    help="业务时间倍速 / business seconds per real second",
)
@click.option(
    "--origin",
    help="业务时间至少从此刻起（ISO 8601）/ business time at the start, at least; default: goes on",
)
@click.option(
    "--refund-after",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0),
    help="退款到账用时（业务秒）/ business seconds until a refund arrives",
)
@click.option(
    "--notify-base",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="写入商户设置的回调地址 / address for notifications, written into the merchant settings",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="写入实际端口 / write the port in use here",
)
def command(
    host: str,
    port: int,
    state: Path,
    scale: float,
    origin: str | None,
    refund_after: float,
    notify_base: str,
    ready_file: Path | None,
) -> None:
    """微信支付 v3 与小程序登录的本地模拟 / WeChat Pay v3 and the mini-program login, emulated."""
    try:
        options = Options(
            state=state,
            host=host,
            port=port,
            scale=scale,
            origin_ms=round(datetime.fromisoformat(origin).timestamp() * 1000) if origin else None,
            refund_after_s=refund_after,
            notify_base_url=notify_base,
            ready_file=ready_file,
        )
        asyncio.run(run(options, click.echo))
    except (OSError, RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
