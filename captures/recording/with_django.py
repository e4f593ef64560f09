"""Django's ORM over psycopg and psycopg2, in a process of its own for each capture: Django is set
up once for a process, and takes the driver it finds.

Django prefers psycopg 3. Where psycopg2 is wanted the process is told that there is none, as in an
environment without it. A model of the table is all there is of an application. The pool is
psycopg's: with psycopg2 Django has none.
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from captures.recording.scenarios import BATCH, Play, Target


def _model(url: str, options: dict[str, Any]) -> Any:
    """Set Django up, with the driver that can be imported; the table as a model."""
    import django
    from django.conf import settings
    from django.db import models

    parts = urlsplit(url)
    place = {"HOST": parts.hostname, "PORT": parts.port, "USER": parts.username, "PASSWORD": parts.password, "NAME": parts.path[1:]}
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, **place}}, USE_TZ=True)
    django.setup()

    class Item(models.Model):
        id = models.IntegerField(primary_key=True)
        name = models.TextField()
        price = models.DecimalField(max_digits=10, decimal_places=2, null=True)

        class Meta:
            app_label = "captures"
            db_table = "item"

    return Item


def connect(item: Any) -> None:
    from django.db import connection

    connection.ensure_connection()


def one_query(item: Any) -> None:
    list(item.objects.filter(id=7))


def ten_queries(item: Any) -> None:
    for number in range(1, 11):
        item.objects.get(id=number)


def executemany(item: Any) -> None:
    item.objects.bulk_create(item(id=number, name=name, price=None if price is None else Decimal(price)) for number, name, price in BATCH)


def failure(item: Any) -> None:
    from django.db import IntegrityError, transaction

    try:
        with transaction.atomic():
            row = item.objects.get(id=1)
            row.price += 1
            row.save()
            item.objects.create(id=1, name="twice")
    except IntegrityError:
        pass


def pool(item: Any) -> None:
    from django.db import connection

    for number in range(1, 4):
        item.objects.values_list("name").get(id=number)
        connection.close()  # gives it back


WORKS = {
    "connect": connect,
    "one_query": one_query,
    "ten_queries": ten_queries,
    "executemany": executemany,
    "failure": failure,
    "pool": pool,
}


def _play(driver: str, scenario: str) -> Play:
    def main(target: Target) -> None:
        subprocess.run([sys.executable, "-m", __name__, driver, scenario, target.url], check=True)

    return main


PLAYS = {
    "psycopg": {scenario: _play("psycopg", scenario) for scenario in WORKS},
    "psycopg2": {scenario: _play("psycopg2", scenario) for scenario in WORKS if scenario != "pool"},
}


def _main(driver: str, scenario: str, url: str) -> None:
    if driver == "psycopg2":
        sys.modules["psycopg"] = None  # type: ignore[assignment]
    item = _model(url, {"pool": {"min_size": 1, "max_size": 1}} if scenario == "pool" else {})
    from django.db import connection

    WORKS[scenario](item)
    connection.close()
    if scenario == "pool":
        connection.close_pool()


if __name__ == "__main__":
    _main(*sys.argv[1:])
