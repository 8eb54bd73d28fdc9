"""Commands for plugins: plugins, conformance, new-plugin."""

from __future__ import annotations

import importlib
import json
import os
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mmframe.cli.group import FAILED
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import SpecError
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.hookspecs import API_VERSION, ENTRY_POINT_GROUP
from mmframe.registry.loader import PluginRecord
from mmframe.registry.registry import Registry
from mmframe.registry.rules import KINDS
from mmframe.template.write import PARTS, write_plugin


def _packages(registry: Registry) -> list[dict[str, Any]]:
    """One row a distribution: what it offers by name, and what it observes."""
    collecting = {hook for hook, _ in KINDS.values()}

    def distribution(record: PluginRecord) -> tuple[str, str]:
        return record.distribution, record.version

    loaded = sorted((r for r in registry.records if r.error is None), key=distribution)
    rows = []
    for (name, version), records in groupby(loaded, key=distribution):
        mine = list(records)
        rows.append(
            {
                "distribution": name,
                "version": version,
                "offers": sorted({o.name for r in mine for o in r.offers}),
                "observes": sorted({hook for r in mine for hook in r.hooks} - collecting),
            }
        )
    return rows


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def plugins(registry: Registry, as_json: bool) -> None:
    """List the plugin packages, what is registered, and what failed to load and why."""
    packages = _packages(registry)
    if as_json:
        rows = [
            {
                "kind": e.kind,
                "name": e.name,
                "aliases": list(e.aliases),
                "distribution": e.distribution,
                "version": e.version,
            }
            for e in registry.entries
        ]
        broken = [
            {"name": r.name, "distribution": r.distribution, "version": r.version, "error": r.error}
            for r in registry.failures
        ]
        document = {"api_version": API_VERSION, "packages": packages, "registered": rows, "failed": broken}
        click.echo(json.dumps(document, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table("kind", "name", "aliases", "from")
    for kind in KINDS:
        for e in sorted(registry.of_kind(kind), key=lambda e: e.qualified):
            table.add_row(kind, e.name, ", ".join(e.aliases), f"{e.distribution} {e.version}")
    console.print(table)
    click.echo(f"packages (entry points of the group {ENTRY_POINT_GROUP}):")
    for row in packages:
        hears = f", hears {', '.join(row['observes'])}" if row["observes"] else ""
        click.echo(f"  {row['distribution']} {row['version']}: {_counted(len(row['offers']))}{hears}")
    for r in registry.failures:
        click.echo(f"failed: {r.name} of {r.distribution} {r.version}: {r.error}")


def _counted(names: int) -> str:
    return "1 name" if names == 1 else f"{names} names"


@click.command()
@click.argument("target")
@click.option("--rule", "rules", multiple=True, help="Check this rule only; may be repeated.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(min=1), help="A number of points; may be repeated.")
def conformance(target: str, rules: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    """Run the conformance kit on TARGET, written module:Object (a class, or an instance with its options).

    Every rule is checked; exit code 1 where one is broken.
    """
    from mmframe.testing import ConformanceError, conformance_cases
    from mmframe.testing.case import chosen

    plugin = _target(target)
    cases = conformance_cases(plugin, **({"sizes": sizes} if sizes else {}))
    try:
        cases = chosen(cases, rules or None)
    except SpecError as problem:
        raise click.UsageError(str(problem)) from None
    broken = 0
    for case in cases:
        try:
            case.check()
        except ConformanceError as problem:
            broken += 1
            click.echo(f"FAILED  {problem}", err=True)
        else:
            click.echo(f"ok  {case.rule.says}")
    if broken:
        click.echo(f"{broken} of {len(cases)} rules broken", err=True)
        sys.exit(FAILED)


def _target(target: str) -> Any:
    """What `module:Object` names, as an instance. Raises UsageError."""
    module, colon, attribute = target.partition(":")
    if not colon:
        raise click.UsageError("TARGET is written module:Object")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
        plugin = found() if isinstance(found, type) else found
    except Exception as problem:  # importing somebody's module may raise anything
        raise click.UsageError(f"{target}: {type(problem).__name__}: {problem}") from None
    if not isinstance(plugin, (CovarianceStructure, Parameterization, OptimizerStage)):
        raise click.UsageError(f"{target} is not a covariance structure, a parameterization or an optimizer stage")
    return plugin


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(PARTS)), default="structure", help="What the package offers.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="The folder to make it in.",
)
def new_plugin(name: str, kind: str, into: Path) -> None:
    """Write a plugin package called NAME: it installs, passes its tests and fits at once."""
    folder = write_plugin(name, kind, into)
    click.echo(f"{folder}: written · next:")
    click.echo(f"  python -m pip install --editable '{folder}[test]'")
    click.echo(f"  python -m pytest {folder}")
