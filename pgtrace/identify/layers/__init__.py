"""Identifies the layer between the application and its driver, an ORM or a query builder, from
evidence on the wire.

A layer is reported separately from the driver: the driver decides how a query is sent, the layer
decides which queries are sent. The package is organised like `drivers`: one module per layer, with
its habits and the versions seen in the header, `evidence(seen)`, its remedies for findings, and
LAYER, which holds all of these. Without evidence for any layer there is none, or it does not show:
SQL that was written by hand looks the same when it is sent through a layer.

The list below is the order in which they are tried; a layer that builds on another comes before it.
To add a layer, add a module and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence
from pgtrace.identify.layers import aiopg, databases, django, hibernate, rails, sqlalchemy, tortoise

__all__ = ["BY_NAME", "LAYERS", "NONE", "Layer", "layer_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's name and its evidence; both are empty if there is no layer."""

    name: str = ""
    evidence: tuple[str, ...] = ()


NONE: Final = Layer()
LAYERS: Final[tuple[Client, ...]] = (
    databases.LAYER,
    sqlalchemy.LAYER,
    rails.LAYER,
    django.LAYER,
    hibernate.LAYER,
    tortoise.LAYER,
    aiopg.LAYER,
)
_OPENINGS: Final = tuple(layer.opening for layer in LAYERS if layer.opening is not None)
BY_NAME: Final = {layer.name: layer for layer in LAYERS}


def layer_of(seen: Evidence) -> Layer:
    """The first layer with evidence, and that evidence; NONE if no layer has any."""
    for layer in LAYERS:
        sentences = layer.evidence(seen)
        if sentences:
            return Layer(layer.name, sentences)
    return NONE


def is_opening(sql: str) -> bool:
    """Whether a layer sends that query on a new connection before the application's first one."""
    return any(opening.search(sql) for opening in _OPENINGS)
