"""Migrations lead to exactly the tables, and only `serve` changes an existing database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from claude_code_api.errors import StorageFailure
from claude_code_api.secret import Secret
from claude_code_api.storage import migrations
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.storage.tables import metadata


def described(connection: Connection) -> dict[str, Any]:
    """All that SQLite knows of each table, in an order of our own."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "foreign": sorted(map(str, inspector.get_foreign_keys(table))),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "indexes": sorted(
                (
                    str(index["name"]),
                    index["column_names"],
                    index["unique"],
                    str(index["dialect_options"].get("sqlite_where")),
                )
                for index in inspector.get_indexes(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def url(path: Path) -> Secret:
    return Secret(f"sqlite+aiosqlite:///{path / 'gateway.db'}")


async def set_version(path: Path, version: str) -> None:
    async with Database.open(url(path), DataDirectory(path)) as database, database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


async def test_the_migrations_lead_to_exactly_the_tables(tmp_path: Path) -> None:
    async with Database.open(url(tmp_path), DataDirectory(tmp_path)) as database, database.read() as connection:
        migrated = await connection.run_sync(described)
        assert await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []
    engine = create_engine("sqlite://")
    with engine.connect() as plain:
        metadata.create_all(plain)
        assert described(plain) == migrated
    engine.dispose()
    assert set(migrated) == set(metadata.tables)


def test_the_head_is_the_newest_migration_and_the_line_is_straight() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]
    assert scripts.get_bases() == ["0001"]


async def test_any_command_creates_a_fresh_database(tmp_path: Path) -> None:
    async with Database.open(url(tmp_path), DataDirectory(tmp_path)) as database, database.read() as connection:
        assert await connection.run_sync(migrations.version) == migrations.HEAD


async def test_a_newer_database_is_refused_by_all_and_left_alone(tmp_path: Path) -> None:
    await set_version(tmp_path, "9999")
    for migrate in (False, True):
        with pytest.raises(StorageFailure, match="a newer release"):
            async with Database.open(url(tmp_path), DataDirectory(tmp_path), migrate=migrate):
                pytest.fail("opened")


async def test_an_older_database_is_migrated_by_serve_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Database.open(url(tmp_path), DataDirectory(tmp_path)):
        pass
    (next_release := tmp_path / "migrations" / "versions").mkdir(parents=True)
    for script in (Path(migrations.__file__).parent / "versions").glob("*.py"):
        (next_release / script.name).write_text(script.read_text())
    (next_release / "r9998_more.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '9998'\ndown_revision = '{migrations.HEAD}'\n"
        "def upgrade():\n    op.create_table('more', sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    monkeypatch.setattr(migrations, "HEAD", "9998")
    monkeypatch.setattr(migrations, "__file__", str(next_release.parent / "__init__.py"))
    with pytest.raises(StorageFailure, match="run `serve` once"):
        async with Database.open(url(tmp_path), DataDirectory(tmp_path)):
            pytest.fail("opened")
    async with (
        Database.open(url(tmp_path), DataDirectory(tmp_path), migrate=True) as database,
        database.read() as connection,
    ):
        assert await connection.run_sync(migrations.version) == "9998"
        assert await connection.run_sync(lambda c: inspect(c).has_table("more"))


async def test_a_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "migrations" / "versions"
    broken.mkdir(parents=True)
    (broken / "r0001_broken.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('id', sa.Integer))\n    op.execute('no SQL')\n"
    )
    monkeypatch.setattr(migrations, "HEAD", "0001")
    monkeypatch.setattr(migrations, "__file__", str(broken.parent / "__init__.py"))
    with pytest.raises(StorageFailure, match="syntax error"):
        async with Database.open(url(tmp_path), DataDirectory(tmp_path)):
            pytest.fail("opened")
    engine = create_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    engine.dispose()
    with pytest.raises(StorageFailure, match="another program"):
        async with Database.open(url(tmp_path), DataDirectory(tmp_path), migrate=True):
            pytest.fail("opened")
