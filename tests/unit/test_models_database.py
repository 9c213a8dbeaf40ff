"""Opening and migrating databases of both kinds, and saying what is wrong with the others."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tortoise.context import TortoiseContext
from tortoise.exceptions import IntegrityError, OperationalError
from tortoise.fields.base import Field
from tortoise.migrations.operations import AddField, AddIndex, CreateModel, RunPython

from pileward.errors import DatabaseError, DatabaseTooNewError, SchemaBehindError
from pileward.models import database as databases
from pileward.models import migrate
from pileward.models.database import Database, is_outage, masked, open_database, tortoise_config
from pileward.models.operators import Operator
from tests.databases import FAST, PostgresServer, postgres_server, run_apart

NOW = "2026-03-01 00:00:00+00:00"
INSERT_OPERATOR = (
    "INSERT INTO operator (code, name_zh, name_en, qr_prefix, created_at) VALUES (?, '甲', '', '', ?)"
)


def sqlite_schema(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'tortoise_%' "
            "AND name NOT LIKE 'sqlite_%'"
        )
        return sorted(tidy(row[0]) for row in rows)


def tidy(sql: str) -> str:
    """One line, no comments, columns in order of their names: what differs then is a real difference."""
    sql = re.sub(r"/\*.*?\*/", "", sql)
    sql = re.sub(r"\s+", " ", sql).strip()
    head, _, body = sql.partition("(")
    if not head.startswith("CREATE TABLE"):
        return sql.replace("IF NOT EXISTS ", "")
    columns = re.split(r",\s*(?![^(]*\))", body.rstrip().removesuffix(")"))
    return f"{head} {sorted(column.strip() for column in columns)}".replace("IF NOT EXISTS ", "")


async def generate(url: str) -> None:
    """Build the schema from the models themselves."""
    async with TortoiseContext() as context:
        await context.init(config=tortoise_config(url))
        await context.generate_schemas()


class TestMigrations:
    def test_chain_builds_the_schema_of_the_models_on_sqlite(
        self, migrated_file: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "generated.sqlite3"
        run_apart(generate(f"sqlite://{path}"))
        assert sqlite_schema(migrated_file) == sqlite_schema(path)

    def test_chain_builds_the_schema_of_the_models_on_postgres(
        self, pg_server: PostgresServer, pg_url: str, empty_pg_url: str
    ) -> None:
        run_apart(generate(empty_pg_url))
        migrated = statements(pg_server.dump(pg_url))
        generated = statements(pg_server.dump(empty_pg_url))
        assert {line for line in migrated if "tortoise_migrations" not in line} == generated

    def test_only_operations_that_sqlite_survives_are_used(self) -> None:
        for name in migrate.names_on_disk():
            module = __import__(f"{databases.MIGRATIONS}.{name}", fromlist=["Migration"])
            for operation in module.Migration.operations:
                assert isinstance(operation, CreateModel | AddField | AddIndex | RunPython), (name, operation)
                if isinstance(operation, AddField):
                    assert isinstance(operation.field, Field)
                    assert operation.field.has_db_default() or operation.field.null, (name, operation.name)
                    assert not operation.field.index, f"{name}: db_index makes no index, use Meta.indexes"
                    assert not operation.field.unique, f"{name}: unique cannot be added on SQLite"

    def test_the_chain_has_one_name_a_number(self) -> None:
        names = migrate.names_on_disk()
        assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]

    async def test_models_have_no_change_without_a_migration(self, tmp_path: Path) -> None:
        from tortoise.migrations.autodetector import MigrationAutodetector

        config = tortoise_config(f"sqlite://{tmp_path / 'unused.sqlite3'}")
        async with TortoiseContext() as context:
            await context.init(config=config)
            assert context.apps is not None
            assert await MigrationAutodetector(context.apps, config["apps"]).changes() == []

    def test_no_column_is_a_float(self, migrated_file: Path) -> None:
        for statement in sqlite_schema(migrated_file):
            assert not re.search(r"\b(REAL|FLOAT|DOUBLE|DECIMAL|NUMERIC)\b", statement, re.IGNORECASE), (
                statement
            )


def statements(dump: str) -> set[str]:
    """The statements of a dump, each tidied, without what pg_dump writes around them."""
    text = "\n".join(
        line for line in dump.splitlines() if not line.startswith(("--", "\\", "SET ", "SELECT "))
    )
    return {tidy(statement) for statement in text.split(";") if statement.strip()}


class TestSqliteFile:
    async def test_a_new_file_is_made_in_a_new_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "er" / "new.sqlite3"
        database = await open_database(f"sqlite://{path}")
        assert await Operator.all().count() == 0
        assert await database.durability_gaps() == []
        await database.close()
        assert [found.name for found in path.parent.iterdir()] == ["new.sqlite3"]

    async def test_settings_are_those_of_a_durable_file(self, sqlite_url: str) -> None:
        database = await open_database(sqlite_url)
        found = {}
        for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"):
            _, rows = await database.connection.execute_query(f"PRAGMA {pragma}")
            found[pragma] = next(iter(rows[0]))
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
        await database.close()

    @pytest.mark.usefixtures("later_migration")
    async def test_a_file_that_is_behind_is_copied_then_migrated(self, old_file: Path) -> None:
        database = await open_database(f"sqlite://{old_file}")
        assert await migrate.pending(database) == []
        _, rows = await database.connection.execute_query("SELECT code, nickname, name_en FROM operator")
        assert [tuple(row) for row in rows] == [("main", "none", "noted")]
        await database.close()
        backup = old_file.with_name(f"pileward.sqlite3.bak-{migrate.names_on_disk()[-2]}")
        with contextlib.closing(sqlite3.connect(backup)) as copy:
            assert copy.execute("SELECT code FROM operator").fetchall() == [("main",)]
            assert "nickname" not in str(copy.execute("SELECT sql FROM sqlite_master").fetchall())
        assert {found.name for found in old_file.parent.iterdir()} == {old_file.name, backup.name}

    @pytest.mark.usefixtures("failing_migration")
    async def test_a_failing_migration_leaves_the_file_as_it_was(self, old_file: Path) -> None:
        with contextlib.closing(sqlite3.connect(old_file)) as connection:
            before = list(connection.iterdump())
        with pytest.raises(OperationalError):
            await open_database(f"sqlite://{old_file}")
        with contextlib.closing(sqlite3.connect(old_file)) as connection:
            assert list(connection.iterdump()) == before
        assert [found.name for found in old_file.parent.iterdir()] == [old_file.name]

    @pytest.mark.usefixtures("later_migration")
    async def test_a_file_in_use_is_not_migrated(self, old_file: Path) -> None:
        with contextlib.closing(sqlite3.connect(old_file)) as other:
            other.execute("PRAGMA journal_mode=WAL")
            other.execute("SELECT count(*) FROM operator").fetchall()
            with pytest.raises(DatabaseError, match="another process"):
                await open_database(f"sqlite://{old_file}")

    async def test_a_newer_file_is_refused(self, sqlite_url: str) -> None:
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite://"))) as connection:
            connection.execute(
                "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('pileward', '9999_x', ?)",
                (NOW,),
            )
            connection.commit()
        with pytest.raises(DatabaseTooNewError, match="9999_x"):
            await open_database(sqlite_url)

    @pytest.mark.parametrize(
        ("prepare", "words"),
        [
            (lambda path: path.mkdir(), "cannot use"),
            (lambda path: path.write_bytes(b"this is a letter, not a database" * 40), "not a database"),
        ],
    )
    async def test_what_is_no_database_is_named(self, tmp_path: Path, prepare: object, words: str) -> None:
        path = tmp_path / "thing.sqlite3"
        assert callable(prepare)
        prepare(path)
        with pytest.raises(DatabaseError, match=words) as caught:
            await open_database(f"sqlite://{path}")
        assert str(path) in str(caught.value)

    async def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DatabaseError, match="cannot write"):
            await open_database(f"sqlite://{tmp_path}/file/pileward.sqlite3")

    async def test_a_database_in_memory_is_refused(self) -> None:
        with pytest.raises(DatabaseError, match="name a file"):
            await open_database("sqlite://:memory:")

    async def test_two_openers_of_a_new_file_take_turns(self, tmp_path: Path) -> None:
        url = f"sqlite://{tmp_path / 'new.sqlite3'}"
        applied = await asyncio.gather(
            *(asyncio.to_thread(run_apart, migrate.migrate(url)) for _ in range(3))
        )
        assert sorted(map(len, applied)) == [0, 0, len(migrate.names_on_disk())]

    def test_a_process_that_fails_without_closing_ends(self, sqlite_url: str) -> None:
        program = (
            "import asyncio, sys\n"
            "from pileward.models.database import open_database\n"
            "async def main():\n"
            "    await open_database(sys.argv[1])\n"
            "    raise SystemExit(7)\n"
            "asyncio.run(main())\n"
        )
        done = subprocess.run([sys.executable, "-c", program, sqlite_url], timeout=30, check=False)
        assert done.returncode == 7


class TestPostgres:
    async def test_an_empty_database_must_be_migrated_first(self, empty_pg_url: str) -> None:
        with pytest.raises(SchemaBehindError, match="pileward migrate"):
            await open_database(empty_pg_url)
        assert await migrate.migrate(empty_pg_url) == migrate.names_on_disk()
        database = await open_database(empty_pg_url)
        assert await Operator.all().count() == 0
        await database.close()

    async def test_nodes_that_migrate_together_take_turns(self, empty_pg_url: str) -> None:
        applied = await asyncio.gather(
            *(asyncio.to_thread(run_apart, migrate.migrate(empty_pg_url)) for _ in range(3))
        )
        assert sorted(map(len, applied)) == [0, 0, len(migrate.names_on_disk())]

    async def test_a_failing_migration_leaves_nothing(
        self, pg_server: PostgresServer, pg_url: str, failing_migration: None
    ) -> None:
        before = statements(pg_server.dump(pg_url))
        with pytest.raises(OperationalError):
            await migrate.migrate(pg_url)
        assert statements(pg_server.dump(pg_url)) == before

    async def test_durability_gaps_are_named(self, pg_url: str) -> None:
        database = await open_database(pg_url)
        assert set(await database.durability_gaps()) == {"fsync", "synchronous_commit", "full_page_writes"}
        await database.close()

    @pytest.mark.slow
    async def test_an_outage_leaks_no_connections(self) -> None:
        with postgres_server(*FAST) as server:
            url = server.create()
            await migrate.migrate(url)
            database = await open_database(url + "?maxsize=2")
            for _ in range(5):
                async with database.transaction() as connection:
                    await connection.execute_query("SELECT 1")
                server.stop()
                for _ in range(3):
                    with pytest.raises(Exception) as caught:
                        async with database.transaction() as connection:
                            await connection.execute_query("SELECT 1")
                    assert is_outage(caught.value), repr(caught.value)
                server.start()
            async with asyncio.timeout(5), database.transaction() as connection:
                await connection.execute_query("SELECT 1")
            await database.close()


class TestUrls:
    @pytest.mark.parametrize("url", ["mysql://x@y/z", "nonsense", "", "sqlite"])
    async def test_other_databases_are_refused(self, url: str) -> None:
        with pytest.raises(DatabaseError, match="sqlite:///"):
            await open_database(url)

    async def test_an_unreachable_server_is_named_without_its_password(self) -> None:
        with pytest.raises(DatabaseError) as caught:
            await open_database("asyncpg://me:secret@127.0.0.1:1/nowhere")
        assert "127.0.0.1:1" in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_a_password_is_masked(self) -> None:
        assert masked("postgres://me:top@h/n") == "postgres://me:***@h/n"
        assert masked("sqlite:///a/b") == "sqlite:///a/b"


class TestTransactions:
    async def test_all_or_nothing(self, database: Database) -> None:
        with pytest.raises(IntegrityError):
            async with database.transaction():
                for _ in range(2):
                    await Operator.create(code="twice", name_zh="甲", created_at=NOW)
        assert await Operator.all().count() == 0

    async def test_foreign_keys_are_kept(self, database: Database) -> None:
        with pytest.raises(IntegrityError):
            await database.connection.execute_query(
                f"INSERT INTO tariff (operator_id, name, created_at) VALUES (77, 'x', '{NOW}')"
            )

    async def test_a_writer_waits_for_the_other_process(self, sqlite_url: str) -> None:
        """A transaction that reads before it writes survives a write of another process in between."""
        database = await open_database(sqlite_url)
        path = sqlite_url.removeprefix("sqlite://")
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            async def read_then_write() -> None:
                async with database.transaction():
                    assert await Operator.all().count() == 1
                    await Operator.create(code="second", name_zh="乙", created_at=NOW)

            writing = asyncio.create_task(read_then_write())
            await asyncio.sleep(0)
            other.execute(INSERT_OPERATOR, ("first", NOW))
            other.execute("COMMIT")
            await writing
        assert await Operator.all().count() == 2
        await database.close()

    async def test_a_locked_file_is_an_outage_and_frees_the_connection(self, sqlite_url: str) -> None:
        database = await open_database(sqlite_url + "?busy_timeout=50")
        path = sqlite_url.removeprefix("sqlite://")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OperationalError) as caught:
                async with database.transaction():
                    pass
            assert is_outage(caught.value)
            other.execute("ROLLBACK")
        async with asyncio.timeout(5), database.transaction():
            assert await Operator.all().count() == 0
        await database.close()

    async def test_a_wrong_statement_is_no_outage(self, database: Database) -> None:
        with pytest.raises(OperationalError) as caught:
            await database.connection.execute_query("SELECT no_such_column FROM operator")
        assert not is_outage(caught.value)


LATER = """
from tortoise import fields, migrations
from tortoise.migrations import operations as ops

async def note(apps, schema_editor):
    await schema_editor.client.execute_query("UPDATE operator SET name_en = 'noted'")

class Migration(migrations.Migration):
    dependencies = [("pileward", "{last}")]
    operations = [
        ops.AddField("Operator", "nickname", fields.CharField(max_length=20, db_default="none")),
        ops.RunPython(note, note),
    ]
"""


def add_migration(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Run with the real chain and one more migration behind it."""
    package = folder / "longer_chain"
    shutil.copytree(Path(__import__(databases.MIGRATIONS, fromlist=["x"]).__path__[0]), package)
    (package / "9999_later.py").write_text(text.format(last=migrate.names_on_disk()[-1]))
    for name in [name for name in sys.modules if name.startswith("longer_chain")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(migrate, "MIGRATIONS", "longer_chain")


@pytest.fixture
def old_file(migrated_file: Path, tmp_path: Path) -> Path:
    """A file of this version, with a row."""
    path = tmp_path / "old" / "pileward.sqlite3"
    path.parent.mkdir()
    shutil.copyfile(migrated_file, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(INSERT_OPERATOR, ("main", NOW))
        connection.commit()
    return path


@pytest.fixture
def later_migration(old_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program is one migration ahead of the file."""
    add_migration(monkeypatch, tmp_path, LATER)


@pytest.fixture
def failing_migration(
    old_file: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next migration adds a column and then fails."""
    if "pg_url" in request.fixturenames:
        request.getfixturevalue("pg_url")
    broken = LATER.replace("UPDATE operator SET name_en", "UPDATE operator SET no_such_column")
    add_migration(monkeypatch, tmp_path, broken)
