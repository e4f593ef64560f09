"""Budgets in Django's TestCase and with pytest-django's `db`. The test database is reached through
pgtrace, although the tests do not mention it.

A TestCase runs in a transaction, and each of its tests in a savepoint. SAVEPOINT, ROLLBACK TO and
RELEASE, and the check of deferred constraints at the end, are round trips of the test: 6 of the 8
in test_items_at_once. assertNumQueries does not count them; the wire does.
"""

from __future__ import annotations

import pytest
from django.test import TestCase
from shop.models import Line, Order, items_at_once, items_one_by_one


def make_orders() -> None:
    orders = Order.objects.bulk_create(Order(customer="Ada") for _ in range(5))
    Line.objects.bulk_create(Line(order=order, item=item) for order in orders for item in ("tea", "salt"))


class OrderTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        make_orders()

    @pytest.fixture(autouse=True)
    def _pgtrace(self, pgtrace):
        self.pgtrace = pgtrace

    @pytest.mark.pgtrace(round_trips=8, errors=0)
    def test_items_at_once(self):
        assert len(items_at_once()) == 5

    def test_a_block(self):
        with self.pgtrace.expect(round_trips=2), self.assertNumQueries(2):
            items_at_once()

    def test_one_by_one(self):
        with self.pgtrace.record("one by one") as trace:
            items_one_by_one()
        assert trace.statement('SELECT ... FROM "shop_line" WHERE ...').executions == 5


@pytest.mark.django_db
@pytest.mark.pgtrace(round_trips=5)
def test_with_pytest_django():
    make_orders()
    assert len(items_at_once()) == 5
