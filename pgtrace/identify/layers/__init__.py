"""The layer between the application and its driver, an ORM or a query builder, identified from
evidence on the wire.

A layer is named separately from the driver: the driver decides how a query travels, the layer which
queries there are. The package has the shape of `drivers`: one module for each layer, with its
habits in the header and the versions they were seen with, `evidence(seen)`, its remedies for
findings, and LAYER, which holds all of that. No evidence for any of them means that there is no
layer, or none that shows: SQL written by hand and sent through a layer is SQL written by hand.

The list below is the order in which they are asked; a layer that builds on another comes before it.
A new layer is a module and a line here.
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
    """A layer's name and its evidence; empty without any."""

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
    """The layer with evidence, and that evidence; NONE if there is none for any."""
    for layer in LAYERS:
        sentences = layer.evidence(seen)
        if sentences:
            return Layer(layer.name, sentences)
    return NONE


def is_opening(sql: str) -> bool:
    """Whether a layer asks a new connection that, before the application asks anything."""
    return any(opening.search(sql) for opening in _OPENINGS)
