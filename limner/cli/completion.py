"""`limner completion SHELL`: a script that completes verbs, methods, options and their values in a shell.

The script holds everything that it offers, so that the Tab key starts no Python. What it offers is read from the verbs themselves: each
calls `parse` with the dataclass of its arguments and with the command as the user types it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from tyro.conf import Positional, arg

from limner.cli.arguments import options, parse

Shell = Literal["bash", "zsh", "fish"]
TAKES_MODEL = ("generate", "evaluate", "explore", "export", "words", "compare")
"""Verbs whose first word may be a shipped model."""

DESCRIPTION = """Print a script that lets the Tab key complete verbs, methods, options and their values.

examples:
  limner completion bash > ~/.local/share/bash-completion/completions/limner
  limner completion zsh > "${fpath[1]}/_limner"
  limner completion fish > ~/.config/fish/completions/limner.fish
  source <(limner completion bash)       for this shell alone

Print it again after an update of Limner, and to know methods from other packages."""


@dataclass(frozen=True, kw_only=True)
class CompletionArguments:
    shell: Annotated[Positional[Shell], arg(metavar="SHELL")]
    """bash, zsh or fish."""


@dataclass
class Command:
    """What may follow some words of a command line."""

    options: list[str] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    """The values of options that have a few."""
    words: list[str] = field(default_factory=list)
    """What may stand where no option does; files may, too."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(CompletionArguments, argv, prog="limner completion", description=DESCRIPTION)
    print(SCRIPTS[arguments.shell](commands()))
    return 0


def commands() -> dict[str, Command]:
    """Every command by its words, such as "explore edit" or "train gan-cls"; "" is the bare `limner`."""
    from limner.cli.main import VERBS
    from limner.core import folder
    from limner.core.recipes import trainable_names
    from limner.data.catalog import BUILT_IN
    from limner.interop import importer

    found: dict[str, Command] = {"": Command(["--help", "--version", "--with"], words=list(VERBS))}
    for prog, shape in _shapes():
        _add(found.setdefault(prog, Command()), shape)
    for kind in map(importer.get, importer.names()):
        _add(found.setdefault(f"import {kind.name}", Command()), kind.options)
    for name in trainable_names():
        _add(found.setdefault(f"train {name}", Command()), *_training(name))
    for name in [name for name in found if " " in name]:  # such as "explore edit"
        parent, _, word = name.partition(" ")
        found.setdefault(parent, Command(["--help"])).words.append(word)
    for name, command in found.items():
        if name == "completion":
            command.words += get_args(Shell)
        elif name.split(" ")[0] in TAKES_MODEL and name != "explore":
            command.words += folder.shipped("method")
    for command in found.values():
        if "--data" in command.options:
            command.choices["--data"] = [*BUILT_IN]
    return found


def _shapes() -> Iterator[tuple[str, type]]:
    """The dataclasses of arguments, each with its command, as the files of this package pass them to `parse`."""
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "parse" or not isinstance(node.args[0], ast.Name):
                continue
            prog = next((word.value for word in node.keywords if word.arg == "prog"), None)
            if isinstance(prog, ast.Constant):
                name = ".".join(path.relative_to(Path(__file__).parent).with_suffix("").parts)
                module = importlib.import_module(f"limner.cli.{name.removesuffix('.__init__')}")
                yield str(prog.value).partition(" ")[2], getattr(module, node.args[0].id)


def _training(name: str) -> tuple[type, Any]:
    """The arguments of `limner train NAME`, with the settings that become flags."""
    from limner.cli.train import TrainArguments
    from limner.core.recipes import GROUPS, from_preset

    recipe = from_preset(name, "cpu", "")
    groups = {group: getattr(recipe, group) for group in GROUPS}
    return TrainArguments, TrainArguments(name=name, data="", out=Path(), preset="cpu", resolution=recipe.resolution, **groups)


def _add(command: Command, shape: type, default: Any = None) -> None:
    """Let a command take the options of a dataclass of arguments."""
    known = [option for option in options(shape, default) if option not in command.options]
    command.options += [*known, *(["--help"] if "--help" not in command.options else [])]
    command.choices |= dict(_choices(shape, default))


def _choices(shape: type, default: Any = None, prefix: str = "--") -> Iterator[tuple[str, list[str]]]:
    """The options of a dataclass that take one of a few words."""
    plain = get_origin(shape) or shape
    hints = get_type_hints(plain, include_extras=True)
    for item in dataclasses.fields(plain):
        value = getattr(default, item.name, None)
        name = f"{prefix}{item.name.replace('_', '-')}"
        if dataclasses.is_dataclass(value):
            short = next((note.name for note in getattr(hints[item.name], "__metadata__", ()) if getattr(note, "name", None)), None)
            yield from _choices(type(value), value, f"{prefix}{short or item.name.replace('_', '-')}.")
        elif words := [str(word) for word in _literals(hints[item.name])]:
            yield name, words


def _literals(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif hasattr(hint, "__metadata__") or get_origin(hint) is not None:
        for part in get_args(hint)[: 1 if hasattr(hint, "__metadata__") else None]:
            yield from _literals(part)


def bash(found: dict[str, Command]) -> str:
    """The script for bash: files are offered where no word fits."""
    return "\n".join(
        [
            "# Completion of limner in bash; `limner completion --help` says where this file goes.",
            "_limner() {",
            '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" part words=""',
            '    for part in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '        case "${command:+$command }$part" in',
            f'            {_quoted(found)}) command="${{command:+$command }}$part" ;;',
            "        esac",
            "    done",
            *_cases(found, '    case "$command $before" in', "words={} ;;", "    esac"),
            '    if [[ -z $words && $word == -* ]]; then case "$command" in',
            *(f"        {shlex.quote(name)}) words={shlex.quote(' '.join(command.options))} ;;" for name, command in found.items()),
            '    esac; elif [[ -z $words ]]; then case "$command" in',
            *(f"        {shlex.quote(name)}) words={shlex.quote(' '.join(command.words))} ;;" for name, command in found.items()),
            "    esac; fi",
            '    COMPREPLY=($(compgen -W "$words" -- "$word"))',
            "}",
            "complete -o default -F _limner limner",
        ]
    )


def zsh(found: dict[str, Command]) -> str:
    """The script for zsh."""
    return "\n".join(
        [
            "#compdef limner",
            "_limner() {",
            '    local word="$words[CURRENT]" before="$words[CURRENT-1]" command="" part offered=""',
            '    for part in "${(@)words[2,CURRENT-1]}"; do',
            '        case "${command:+$command }$part" in',
            f'            {_quoted(found)}) command="${{command:+$command }}$part" ;;',
            "        esac",
            "    done",
            *_cases(found, '    case "$command $before" in', "offered={} ;;", "    esac"),
            '    if [[ -z $offered && $word == -* ]]; then case "$command" in',
            *(f"        {shlex.quote(name)}) offered={shlex.quote(' '.join(command.options))} ;;" for name, command in found.items()),
            '    esac; elif [[ -z $offered ]]; then case "$command" in',
            *(f"        {shlex.quote(name)}) offered={shlex.quote(' '.join(command.words))} ;;" for name, command in found.items()),
            "    esac; fi",
            "    [[ $word == -* ]] || _files",
            "    compadd -- ${=offered}",
            "}",
            'if [[ $funcstack[1] == _limner ]]; then _limner "$@"; else compdef _limner limner; fi',
        ]
    )


def fish(found: dict[str, Command]) -> str:
    """The script for fish, which offers files by itself."""
    return "\n".join(
        [
            "# Completion of limner in fish; `limner completion --help` says where this file goes.",
            "function __limner_offered",
            "    set -l given (commandline -opc)",
            "    set -l command ''",
            "    for part in $given[2..-1]",
            '        switch (string trim "$command $part")',
            f'            case {_quoted(found, " ")}; set command (string trim "$command $part")',
            "        end",
            "    end",
            *_cases(found, '    switch "$command $given[-1]"', "string split -- ' ' {}; return", "    end", "case {};"),
            "    if string match -q -- '-*' (commandline -ct)",
            '        switch "$command"',
            *(f"            case {shlex.quote(name)}; string split -- ' ' {shlex.quote(' '.join(c.options))}" for name, c in found.items()),
            "        end",
            "        return",
            "    end",
            '    switch "$command"',
            *(
                f"        case {shlex.quote(name)}; string split -- ' ' {shlex.quote(' '.join(c.words))}"
                for name, c in found.items()
                if c.words
            ),
            "    end",
            "end",
            "complete -c limner -a '(__limner_offered)'",
        ]
    )


def _quoted(found: dict[str, Command], between: str = "|") -> str:
    return between.join(shlex.quote(name) for name in found if name)


def _cases(found: dict[str, Command], begin: str, then: str, end: str, case: str = "{})") -> Iterator[str]:
    """What to offer behind the options that take one of a few words."""
    yield begin
    for name, command in found.items():
        for option, words in command.choices.items():
            yield f"        {case.format(shlex.quote(f'{name} {option}'))} {then.format(shlex.quote(' '.join(words)))}"
    yield end


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
"""What writes the script of each shell."""
