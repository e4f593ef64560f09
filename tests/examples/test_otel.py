"""examples/otel: the dashboard asks for metrics that exist, under the names that Prometheus gives them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from pgtrace.export.otlp import Sums

HERE = Path(__file__).parents[2] / "examples" / "otel"
UNITS = {"s": "_seconds", "By": "_bytes"}


def test_the_dashboard_asks_for_what_there_is() -> None:
    there = {
        f"{name.replace('.', '_')}{UNITS.get(unit, '')}_total" for name, unit, _ in (*Sums.NAMES.values(), Sums.WAIT, Sums.IO, Sums.GAP)
    }
    dashboard = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in re.findall(r"pgwire_\w+", target["expr"])}
    assert asked <= there
    assert len(asked) > 6
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_collector_has_both_pipelines() -> None:
    config = yaml.safe_load((HERE / "collector.yaml").read_text(encoding="utf-8"))
    assert set(config["service"]["pipelines"]) == {"traces", "metrics"}
    for pipeline in config["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(config[part])
