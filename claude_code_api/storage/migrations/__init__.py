"""Bringing a database to the version of this program: Alembic without its configuration file.

A change of `tables.py` is a new file in `versions/` (the next number, `down_revision` the one before) and a new
`HEAD`; tests hold that the files lead to exactly the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from claude_code_api.errors import StorageFailure

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

HEAD = "0011"
"""The version that this program works with. Written here so that an ordinary start need not load Alembic."""


def version(connection: Connection) -> str | None:
    """The version of the database, None for an empty one. StorageFailure where its tables are not ours."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found
    if tables:
        raise StorageFailure("The database holds tables of another program.")
    return None


def load() -> Callable[[Connection, bool], None]:
    """What brings a database to HEAD, in the transaction that the given connection has begun.

    The flag is whether an older database may be migrated; a fresh one always is. Loading reads and imports
    files, which is no work for the event loop; the result reads none.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).parent))
    known = {script.revision for script in scripts.walk_revisions()}

    def upgrade(connection: Connection, migrate: bool) -> None:
        found = version(connection)
        if found == HEAD:
            return  # another process was faster
        if found is not None and found not in known:
            raise StorageFailure(
                f"The database is of version {found}, which a newer release made; this one knows {HEAD}."
            )
        if found is not None and not migrate:
            raise StorageFailure(
                f"The database is of version {found}, this release needs {HEAD}: run `serve` once to migrate it."
            )

        def steps(revision: str, context: MigrationContext) -> object:
            return scripts._upgrade_revs(HEAD, revision)  # as Alembic's own commands do; there is no public way

        with EnvironmentContext(Config(), scripts, fn=steps) as environment:
            environment.configure(connection=connection)
            environment.run_migrations()

    return upgrade
