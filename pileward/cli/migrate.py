"""`pileward migrate`: bring the database to this version of the program."""

from __future__ import annotations

import asyncio

import click

from pileward.config.settings import SettingsError, load
from pileward.errors import DatabaseError
from pileward.models import migrate


@click.command("migrate")
@click.option("--config", "path", type=click.Path(dir_okay=False), help="设置文件 / settings file (TOML).")
def command(path: str | None) -> None:
    """升级数据库 / Migrate the database; an SQLite file is copied before."""
    try:
        settings = load(path)
        settings.state_path.mkdir(parents=True, exist_ok=True)
        asyncio.run(migrate.migrate(settings.database_url))
    except (SettingsError, DatabaseError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("数据库已是最新 / the database is up to date")
