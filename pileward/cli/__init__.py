"""The command line: every command in a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
from typing import Final

import click

from pileward import __version__

COMMANDS: Final = {
    "serve": "pileward.cli.serve",
    "demo": "pileward.cli.demo",
    "simulate": "pileward.cli.simulate",
    "load": "pileward.cli.load",
    "emulate": "pileward.cli.emulate",
    "decode": "pileward.cli.decode",
    "inspect": "pileward.cli.inspect",
    "pile": "pileward.cli.pile",
    "migrate": "pileward.cli.migrate",
}
"""Name of a command and the module whose attribute `command` it is."""


class Lazy(click.Group):
    """Imports a command's module only when it is asked for, so that `decode` does not load a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pileward")
def main() -> None:
    """Pileward 充电桩监管系统: supervises charging piles while they charge."""
