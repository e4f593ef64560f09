"""Orders with their lines, as SQLAlchemy maps them, and two ways to read them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    """All tables."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    lines: Mapped[list[Line]] = relationship(order_by="Line.id")


class Line(Base):
    """A line of an order."""

    __tablename__ = "order_line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    item: Mapped[str]


def items_one_by_one(session: Session) -> dict[int, list[str]]:
    """What was ordered: a query for the orders, and one more for each of them."""
    return {order.id: [line.item for line in order.lines] for order in session.scalars(select(Order))}


def items_at_once(session: Session) -> dict[int, list[str]]:
    """What was ordered: two queries, however many orders there are."""
    query = select(Order).options(selectinload(Order.lines))
    return {order.id: [line.item for line in order.lines] for order in session.scalars(query)}
