"""The command group: which plugins are there, and how errors and warnings are shown."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click

from mmframe import __version__
from mmframe.errors import MmframeError, SpecError
from mmframe.registry.registry import default_registry, installed_registry, strict_registry

FAILED = 1


def _fail(problem: MmframeError) -> NoReturn:
    lines = [str(i) for i in problem.issues] if isinstance(problem, SpecError) else [str(problem)]
    for line in lines:
        click.echo(f"error: {line}", err=True)
    sys.exit(FAILED)


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {message}", err=True)


class _Group(click.Group):
    """Errors that mmframe raises on purpose are messages, not tracebacks; warnings are lines."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show
                return super().invoke(ctx)
        except MmframeError as problem:
            if os.environ.get("MMFRAME_TRACEBACK"):
                traceback.print_exc()
            _fail(problem)
        except OSError as problem:
            click.echo(f"error: {problem}", err=True)
            sys.exit(FAILED)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="mmframe")
@click.option("--strict-plugins", is_flag=True, help="A plugin package that fails to load is an error.")
@click.pass_context
def main(ctx: click.Context, strict_plugins: bool) -> None:
    """Linear mixed-effects models from YAML specifications."""
    quiet = ctx.invoked_subcommand == "plugins"  # it lists what failed
    ctx.obj = strict_registry() if strict_plugins else installed_registry() if quiet else default_registry()
