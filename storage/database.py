"""Opens the operations database: SQLite beside the journal by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import StaticPool

BUSY_S = 30  # another process may hold SQLite's one writer's place this long
CHUNK = 500  # values in one IN list; SQLite takes 999 in its oldest builds

AWAY: tuple[type[SQLAlchemyError], ...] = (DBAPIError, NoConnectionError)  # locked, full, or not there: try again


def in_words(trouble: BaseException) -> str:
    """Return why a database refused, without the statement that it refused."""
    return str(getattr(trouble, "orig", None) or trouble)


class Database:
    """Transactions over one database; SQLite commits survive a power cut (WAL, synchronous=FULL).

    Args:
        url: an SQLAlchemy URL, ``sqlite:///…/operations.db`` or ``postgresql+psycopg://…``.

    Attributes:
        file: of an SQLite database, None where it is elsewhere or in memory only.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        self.file: Path | None = None
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY_S, "check_same_thread": False}
            if parsed.database in (None, "", ":memory:"):
                options["poolclass"] = StaticPool
            else:
                self.file = Path(str(parsed.database))
        self.engine = create_engine(parsed, **options)
        self._writer = self.engine.execution_options(writes=True)
        self._lock = RLock()  # our own threads queue here instead of at the file's lock
        if self.is_sqlite:
            event.listen(self.engine, "connect", _on_connect)
            event.listen(self.engine, "begin", _on_begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection inside a reading transaction."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside a writing transaction, committed at the block's end, undone when it raises."""
        with self._lock, self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def insert(self, table: Table, *, update: Sequence[str] = (), conflict: str) -> Any:  # noqa: ANN401 - by dialect
        """Return an INSERT that leaves a row of the same ``conflict`` column alone, or sets its ``update`` columns."""
        maker = sqlite.insert if self.is_sqlite else postgresql.insert
        statement = maker(table)
        if not update:
            return statement.on_conflict_do_nothing(index_elements=[conflict])
        changes = {name: statement.excluded[name] for name in update}
        return statement.on_conflict_do_update(index_elements=[conflict], set_=changes)


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ``values`` in pieces that fit an IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def _on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    connection.isolation_level = None  # transactions are begun below, so that a writer waits instead of failing
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_S * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
