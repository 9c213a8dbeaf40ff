"""`pileward emulate`: stand-ins for services outside, each a server of its own process."""

from __future__ import annotations

import click

from pileward.emulators.wechat.command import command as wechat


@click.group("emulate")
def command() -> None:
    """外部服务的本地模拟 / Local stand-ins for services outside."""


command.add_command(wechat)
