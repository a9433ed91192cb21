"""`factwire completion`: print a script that completes commands and options in a shell."""

import argparse

import shtab

from factwire.cli.arguments import Parser
from factwire.cli.exit_codes import Exit
from factwire.settings import Settings

EXAMPLE = 'eval "$(factwire completion bash)"'
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=run)
    parser.add_argument("shell", choices=SHELLS)


def run(options: argparse.Namespace, settings: Settings) -> int:
    print(shtab.complete(options.all_commands(), shell=options.shell))
    return Exit.DONE
