"""The parser of the command line, made from the declared options of the commands.

Help answers at once: nothing imported here loads numpy, torch, OpenCV or Qt.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import engine
from engine.cli.command import Command, Shell
from engine.cli.commands import SUMMARIES
from engine.config import OptionInfo, describe_options, option_text, read_option
from engine.errors import ConfigError, DescSpaceError, quoted

_METAVARS = {"int": "N", "float": "X", "text": "NAME", "file": "FILE", "folder": "DIR"}


class UsageError(DescSpaceError):
    """The command was written wrongly; the text ends with where to read how."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves room for the names of commands and flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        # WORKAROUND argparse (seen in 3.11): the names of commands are measured without their
        # indentation, and the longest would get a line of its own.
        self._action_max_length = 19


class Parser(argparse.ArgumentParser):
    """Reports what is wrong in one sentence and leaves ending the process to the caller.

    Args:
        command: whose arguments these are; they are declared when they are needed.
        settings: as :class:`argparse.ArgumentParser` takes them.
    """

    def __init__(self, command: str = "", **settings: Any) -> None:
        self._undeclared = command
        super().__init__(
            formatter_class=_HelpFormatter, allow_abbrev=False, add_help=False, **settings
        )
        self._optionals.title = "other options"
        self.add_argument("-h", "--help", action="help", help="show this help and exit")

    def declare(self) -> None:
        """Give the parser the arguments of its command, unless it has them."""
        name, self._undeclared = self._undeclared, ""
        if name:
            module = importlib.import_module(f"engine.cli.commands.{name.replace('-', '_')}")
            _declare(self, module.COMMAND, SUMMARIES[name], self.prog.removesuffix(f" {name}"))

    def format_help(self) -> str:
        """The help page, with what all commands share at its end."""
        self.declare()
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Replaces argparse's message, which only lists all commands.
        if not isinstance(action, argparse._SubParsersAction) or value in action.choices:
            super()._check_value(action, value)
            return
        near = difflib.get_close_matches(str(value), action.choices, n=1)
        if near:
            self.error(f"there is no command {quoted(value)}, did you mean {near[0]!r}?")
        if Path(value).exists():
            self.error(
                f"{quoted(value)} is no command; open files with '{self.prog} view {value} …'"
            )
        self.error(f"there is no command {quoted(value)}; there are {', '.join(action.choices)}")

    def error(self, message: str) -> NoReturn:
        """Refuse the command."""
        sentence = message[:1].upper() + message[1:]
        raise UsageError(f"{sentence.rstrip('.')} (see '{self.prog} --help').")


def build_parser(program: str) -> Parser:
    """The whole command line.

    Args:
        program: how the program was called, for help and messages.
    """
    parser = Parser(
        prog=program,
        usage=f"{program} [COMMAND …]",
        description=(
            "Descriptor Space: see what a dense image descriptor does.\n"
            "Without a command the window opens."
        ),
        epilog=(
            "examples:\n"
            f"  {program}                                  open the window\n"
            f"  {program} view a.jpg b.jpg                 open two photos\n"
            f"  {program} match a.jpg b.jpg --out m.csv    match them without a window\n"
            f"  {program} COMMAND --help                   explain a command\n\n"
            "exit codes: 0 done, 1 refused or failed (one sentence says why), 130 stopped\n"
            "Coordinates are pixels of the original files; the centre of the top-left pixel is 0,0."
        ),
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"Descriptor Space {engine.__version__}",
        help="show the version and exit",
    )
    _add_common_flags(parser, default=False)
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=program
    )
    for name, summary in SUMMARIES.items():
        commands.add_parser(name, command=name, help=summary)
    parser.set_defaults(
        run=_open_window, parser=parser, options=(), needs_torch=False, commands=commands.choices
    )
    return parser


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line.

    Returns:
        The values of the options that were given, checked, under their names; the command's
        ``run``; and ``quiet`` and ``debug``.

    Raises:
        UsageError: it is wrong.
        SystemExit: help or version was asked for and printed.
    """
    commands: dict[str, Parser] = parser.get_default("commands")
    for word in words:
        if word in commands:
            commands[word].declare()
    arguments, unknown = parser.parse_known_args(list(words))
    command: Parser = arguments.parser
    if unknown:
        command.error(_about_unknown(command, unknown[0]))
    for options in arguments.options:
        for info in describe_options(options, sections=True):
            if info.name in arguments:
                if _is_empty_path(info, getattr(arguments, info.name)):
                    command.error(f"argument {info.flag or _metavar(info)}: the path is empty")
                try:
                    value = read_option(options, info.name, getattr(arguments, info.name))
                except ConfigError as error:
                    command.error(f"argument {info.flag or _metavar(info)}: {error.reason}")
                setattr(arguments, info.name, value)
    return arguments


def _open_window(arguments: argparse.Namespace, shell: Shell) -> int:
    """What the program does without a command."""
    from engine.cli.commands import view

    return view.run(arguments, shell)


def _declare(parser: Parser, command: Command, summary: str, program: str) -> None:
    parser.usage = f"{parser.prog} {command.usage}"
    parser.description = command.description or summary[:1].upper() + summary[1:]
    parser.epilog = "\n".join(["examples:", *(f"  {program} {line}" for line in command.examples)])
    parser.set_defaults(
        run=command.run, parser=parser, options=command.options, needs_torch=command.needs_torch
    )
    _add_common_flags(parser, default=argparse.SUPPRESS)
    groups: dict[str, argparse._ArgumentGroup] = {}
    title = "options"
    for options in command.options:
        for info in describe_options(options, sections=True):
            title = info.group or title
            if info.flag is not None:
                if title not in groups:
                    groups[title] = parser.add_argument_group(title)
                _add_argument(groups[title], info)


def _add_argument(group: argparse._ArgumentGroup, info: OptionInfo) -> None:
    """One option; an option that is not given is absent from the parsed arguments."""
    words: dict[str, Any] = {
        "help": _help_of(info).replace("%", "%%"),
        "default": argparse.SUPPRESS,
        "metavar": _metavar(info),
    }
    if info.kind == "bool":
        del words["metavar"]
        words["action"] = argparse.BooleanOptionalAction if info.default else "store_true"
    elif info.repeated:
        words["action"] = "append"
    elif info.separator == " ":
        words["metavar"] = tuple(words["metavar"].split())
        words["nargs"] = len(words["metavar"])
    if info.flag:
        group.add_argument(info.flag, dest=info.name, required=info.required, **words)
    elif info.kind == "numbers":
        group.add_argument(info.name, nargs="+" if info.required else "*", **words)
    else:
        group.add_argument(info.name, **words)


def _add_common_flags(parser: argparse.ArgumentParser, *, default: Any) -> None:
    """Flags for before and after the command; the inner ones leave the outer ones alone."""
    for flag, words in (
        ("--quiet", "no progress, only warnings and errors"),
        ("--debug", "show the trace of an unexpected error"),
    ):
        parser.add_argument(flag, action="store_true", help=words, default=default)


def _help_of(info: OptionInfo) -> str:
    notes = ["" if info.choices else info.range_text]
    if info.kind != "bool" and info.default not in (None, "", ()):
        notes.append(f"default: {option_text(info.default)}")
    text = "; ".join(filter(None, notes))
    return f"{info.help} ({text})" if text else info.help


def _is_empty_path(info: OptionInfo, value: Any) -> bool:
    """True for ``--weights "$FILE"`` with an unset variable, which must not pass for no option."""
    return info.kind in ("file", "folder") and isinstance(value, str) and not value.strip()


def _metavar(info: OptionInfo) -> str:
    if info.metavar or info.choices:
        return info.metavar or "|".join(info.choices)
    return info.unit.upper() if info.unit else _METAVARS.get(info.kind, "X,…")


def _about_unknown(parser: Parser, word: str) -> str:
    if not word.startswith("-"):
        return f"{quoted(word)} is one argument too many"
    flag = word.partition("=")[0]
    near = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"there is no option {flag}{hint}"
