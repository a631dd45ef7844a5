"""Tables of the project database. Times are UTC; JSON columns hold what `codec.encode` makes."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DDL, JSON, DateTime, ForeignKey, Index, LargeBinary, String, TypeDecorator, event
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "Base",
    "ContentRow",
    "DecisionRow",
    "ExportRow",
    "FileRow",
    "ItemChangeRow",
    "ItemRow",
    "PlanRow",
    "RunRow",
    "SettingRow",
    "pack",
]


class UtcTime(TypeDecorator[datetime]):
    """A time zone aware time, stored as UTC (SQLite forgets the zone)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Packed(TypeDecorator[Any]):
    """JSON data, compressed: values of 61 tilts shrink to a tenth."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Deflate."""
        return None if value is None else pack(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Inflate."""
        return None if value is None else json.loads(zlib.decompress(value))


def pack(value: Any) -> bytes:
    """JSON data as they are stored."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: UtcTime}  # noqa: RUF012


class SettingRow(Base):
    """Properties of the project: the version of its tables, its name."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class PlanRow(Base):
    """A workflow as requested, with parameters; `resume` uses the last one."""

    __tablename__ = "plans"
    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    workflow: Mapped[dict[str, Any]]
    command: Mapped[str]
    runs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Ids of the runs of its nodes, by node, as far as they were begun."""


class RunRow(Base):
    """One step with one set of parameters over one set of inputs."""

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[str]
    """Name of the step in its workflow; a second run of the same node has the same one."""
    step: Mapped[str]
    step_version: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    input_run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    links: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Runs of further inputs by role, for steps that have more than one."""
    outputs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """For an input that is not the main output of its run: which output it is, by role."""
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[datetime]
    ended: Mapped[datetime | None]
    environment: Mapped[dict[str, Any]]
    items: Mapped[list[ItemRow]] = relationship(back_populates="run", order_by="ItemRow.name")


class ItemRow(Base):
    """One item in one run: its result, its first error, or why it was left out."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    name: Mapped[str]
    key: Mapped[str] = mapped_column(String(64), index=True)
    input_item_id: Mapped[int | None] = mapped_column(ForeignKey("items.id"))
    other_inputs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Ids of the items of further inputs, by role."""
    gathered: Mapped[list[Any]] = mapped_column(default=list)
    """Ids of the items a gathering step took, if there are several."""
    output: Mapped[str] = mapped_column(default="")
    """Which output of the step this is; "" for the main one."""
    part_of: Mapped[int | None] = mapped_column(ForeignKey("items.id"), index=True)
    """The item whose work gave this one; None for an item that a step processed."""
    state: Mapped[str] = mapped_column(String(16))
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(default="")
    """Why the item was left out."""
    reused_from: Mapped[int | None] = mapped_column(ForeignKey("items.id"))
    started: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    device: Mapped[str] = mapped_column(default="cpu")
    host: Mapped[str] = mapped_column(default="")
    own_parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Parameters in which this item differs from its run."""
    made_from: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """Keys of its inputs by role, and the decisions applied to them; null if unknown."""
    run: Mapped[RunRow] = relationship(back_populates="items")
    files: Mapped[list[FileRow]] = relationship(back_populates="item")
    content: Mapped[ContentRow | None] = relationship(lazy="raise")

    __table_args__ = (
        Index("items_of_a_run", "run_id", "output", "name", unique=True),
        Index("states_of_a_run", "run_id", "state", "part_of"),  # counted without reading the items
    )


class ContentRow(Base):
    """Value and curves of an item, in a separate table, so that reading states and figures is fast."""

    __tablename__ = "contents"
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    value: Mapped[Any] = mapped_column(Packed, nullable=True)
    records: Mapped[Any] = mapped_column(Packed, nullable=True, deferred=True)


class FileRow(Base):
    """A file an item made, relative to the project."""

    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    role: Mapped[str]
    path: Mapped[str] = mapped_column(index=True)
    bytes: Mapped[int]
    cleaned: Mapped[datetime | None] = mapped_column(default=None)
    """When the file was removed to save space; its item can be made again."""
    item: Mapped[ItemRow] = relationship(back_populates="files")


class ExportRow(Base):
    """A file written outside the project, so that its source can be found."""

    __tablename__ = "exports"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    format: Mapped[str] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(index=True)
    bytes: Mapped[int] = mapped_column(index=True)
    sha256: Mapped[str]
    """Digest of the content; empty for a large file, which is a link or copy of a file of the project."""
    created: Mapped[datetime]


class DecisionRow(Base):
    """A decision of a user; rows are only added, by `store.decisions`."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(primary_key=True)
    batch: Mapped[int]
    """Id of the first event of its batch."""
    kind: Mapped[str]
    item: Mapped[str] = mapped_column(index=True)
    target: Mapped[str]
    value: Mapped[str]
    """JSON as text: a column of JSON would turn "1e3" into a number."""
    who: Mapped[str]
    role: Mapped[str]
    page: Mapped[str]
    why: Mapped[str]
    created: Mapped[datetime]
    undoes: Mapped[int | None]


class ItemChangeRow(Base):
    """The last change of an item, kept by triggers: readers that know the others read only what changed."""

    __tablename__ = "item_changes"
    number: Mapped[int] = mapped_column(primary_key=True)
    """Grows with every change of any item."""
    item_id: Mapped[int] = mapped_column(index=True)
    """No foreign key: that an item was deleted is a change too."""


_NOTED = (("items", "id"), ("files", "item_id"))
"""Tables that hold what is read of an item without its value, and where its id stands in them."""


def _trigger(table: str, change: str, item: str) -> str:
    row = "OLD" if change == "DELETE" else "NEW"
    # The new row gets the highest number, and is never the one deleted: numbers do not come twice.
    return (
        f"CREATE TRIGGER IF NOT EXISTS note_{change.lower()}_{table} AFTER {change} ON {table} BEGIN "
        f"INSERT INTO item_changes (item_id) VALUES ({row}.{item}); "
        f"DELETE FROM item_changes WHERE item_id = {row}.{item} "
        "AND number < (SELECT max(number) FROM item_changes); END"
    )


for _table, _item in _NOTED:
    for _change in ("INSERT", "UPDATE", "DELETE"):
        _noting = DDL(_trigger(_table, _change, _item))  # type: ignore[no-untyped-call]
        event.listen(Base.metadata, "after_create", _noting)
