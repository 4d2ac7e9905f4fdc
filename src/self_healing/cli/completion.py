"""``completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the script by which a shell completes these commands and their options.

    bash: self-healing completion bash > ~/.local/share/bash-completion/completions/self-healing
    zsh: self-healing completion zsh > ~/.zfunc/_self-healing, with ~/.zfunc in fpath before compinit
    fish: self-healing completion fish > ~/.config/fish/completions/self-healing.fish
    """
    from self_healing.cli import NAME, build

    print(build().generate_completion(prog_name=NAME, shell=shell))
    return 0
