"""python3 -m tools completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
# Which variable the shell asks the command through.
VARIABLE = "_MUSTER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints the script with which a shell completes the command `muster`.

    \b
    Examples:
      eval "$(muster completion bash)"          # in ~/.bashrc
      eval "$(muster completion zsh)"           # in ~/.zshrc
      muster completion fish > ~/.config/fish/completions/muster.fish
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    click.echo(of_shell(context.find_root().command, {}, "muster", VARIABLE).source())
