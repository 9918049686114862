"""`darkroom completion bash|zsh`: what the shell offers, made of the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from darkroom.cli.output import Output

BASH = """\
# darkroom: source this, e.g. from ~/.bashrc:  source <(darkroom completion bash)
_darkroom() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} place="" word
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case "$place $word" in
{nested}
        esac
    done
    local words="" choices=""
    case "$place" in
{words}
    esac
    case "$place $previous" in
{choices}
    esac
    if [[ -n $choices ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$current"))
    elif [[ $current == -* || -z $place || " {parents} " == *" $place "* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -o default -F _darkroom darkroom
"""
ZSH = """\
# darkroom: source this, e.g. from ~/.zshrc:  source <(darkroom completion zsh)
autoload -U +X bashcompinit && bashcompinit
"""
"""zsh runs functions of bash."""


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:  # Any: argparse's private type
    """`completion`."""
    parser = commands.add_parser("completion", help="what your shell completes; source it")
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(run=run, is_offline=True)


def run(arguments: argparse.Namespace, output: Output) -> None:
    """As text, unwrapped: a shell reads it."""
    output.results.file.write(script(arguments.root, arguments.shell))


def script(root: argparse.ArgumentParser, shell: str) -> str:
    """The completion of one shell."""
    rows = list(_commands(root, ""))
    nested = [f'            " {path}") place="{path}" ;;' for path, _ in rows if path and " " not in path]
    nested += [
        f'            "{path}") place="{path.replace(" ", "/")}" ;;' for path, _ in rows if " " in path
    ]
    words = [f'        "{_key(path)}") words="{" ".join(_words(parser))}" ;;' for path, parser in rows]
    choices = [
        f'        "{_key(path)} {flag}") choices="{" ".join(values)}" ;;'
        for path, parser in rows
        for flag, values in _choices(parser)
    ]
    parents = " ".join(_key(path) for path, parser in rows if path and _subparsers(parser))
    made = BASH.format(
        nested="\n".join(nested), words="\n".join(words), choices="\n".join(choices), parents=parents
    )
    return made if shell == "bash" else ZSH + made.partition("\n")[2]


def _key(path: str) -> str:
    return path.replace(" ", "/")


def _commands(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command with its path from the root, which is ""."""
    yield path, parser
    for name, inner in _subparsers(parser).items():
        yield from _commands(inner, f"{path} {name}".strip())


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _subparsers(parser)
    for action in parser._actions:
        yield from action.option_strings
        if not action.option_strings and action.choices and not _subparsers(parser):
            yield from map(str, action.choices)


def _choices(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    for action in parser._actions:
        if action.choices and not isinstance(action, argparse._SubParsersAction):
            for flag in action.option_strings:
                yield flag, [str(choice) for choice in action.choices]
