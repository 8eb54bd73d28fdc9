"""The command line: fit, compare, check, describe; plugins, conformance, new-plugin."""

from mmframe.cli.group import main
from mmframe.cli.models import check, compare, describe, fit
from mmframe.cli.plugins import conformance, new_plugin, plugins

for _command in (fit, compare, check, describe, plugins, conformance, new_plugin):
    main.add_command(_command)

__all__ = ["main"]
