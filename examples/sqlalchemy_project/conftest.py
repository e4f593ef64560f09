"""An engine that lives as long as the run, and for each test a session in a transaction that is
rolled back: SQLAlchemy's own recipe.

The connection goes through pgtrace because its URL is `pgtrace_url`. What the fixtures do here is
outside a test's window, which counts only the test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from models import Base, Line, Order
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session


@pytest.fixture(scope="session")
def engine(pgtrace_url: str) -> Iterator[Engine]:
    engine = create_engine(pgtrace_url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.add_all(Order(customer="Ada", lines=[Line(item="tea"), Line(item="salt")]) for _ in range(5))
            session.commit()
            yield session
        transaction.rollback()
