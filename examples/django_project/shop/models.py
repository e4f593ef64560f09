"""Orders with their lines, and two ways to read them."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order."""

    customer = models.CharField(max_length=80)


class Line(models.Model):
    """A line of an order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    item = models.CharField(max_length=80)


def items_one_by_one() -> dict[int, list[str]]:
    """What was ordered: a query for the orders, and one more for each of them."""
    return {order.pk: [line.item for line in order.lines.all()] for order in Order.objects.all()}


def items_at_once() -> dict[int, list[str]]:
    """What was ordered: two queries, however many orders there are."""
    return {order.pk: [line.item for line in order.lines.all()] for order in Order.objects.prefetch_related("lines")}
