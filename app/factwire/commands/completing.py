"""`factwire completion`: what a shell needs to complete commands and options."""

import argparse

from factwire.commands.exits import Exit
from factwire.commands.parsing import Commands, Parser, add_command
from factwire.settings import Settings

SHELLS = ("bash", "zsh", "tcsh")


def add_to(commands: "Commands[Parser]", whole: Parser) -> None:
    def complete(options: argparse.Namespace, settings: Settings) -> int:
        import shtab

        print(shtab.complete(whole, shell=options.shell))
        return Exit.DONE

    parser = add_command(
        commands, "completion", "print a script that completes commands", 'eval "$(factwire completion bash)"', complete
    )
    parser.add_argument("shell", choices=SHELLS)
