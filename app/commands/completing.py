"""`factwire completion`: what a shell needs to complete commands and options."""

import argparse

from app.commands.exits import Exit
from app.commands.parsing import Commands, Parser, add_command
from app.settings import Settings

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
