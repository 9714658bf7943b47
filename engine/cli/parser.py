"""The parser of the command line, and the flags that several commands share.

Help answers at once: nothing imported here loads numpy, torch, OpenCV or Qt.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import engine
from engine.config import OptionInfo, describe_options, read_yaml
from engine.errors import DescSpaceError
from engine.jobs.settings import DescribeConfig, resolve_settings
from engine.jobs.view_options import ViewOptions
from engine.progress import CancelToken, JobContext, Progress, Stage

if TYPE_CHECKING:
    from engine.cli.terminal import TerminalSink

Settings = TypeVar("Settings", bound=DescribeConfig)
OpenWindow = Callable[[ViewOptions], int]
DrawPdf = Callable[[Path, Path], None]
_METAVARS = {"int": "N", "float": "X", "text": "NAME", "file": "FILE", "numbers": "X,…"}


class UsageError(DescSpaceError):
    """The command was written wrongly; the text ends with where to read how."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What a command may use besides its arguments.

    Attributes:
        sink: listens to events.
        cancel: raised by Ctrl-C.
        open_window: shows the window until it is closed and returns the exit code.
        draw_pdf: draws a ``report.json`` into a PDF; None where nothing can.
    """

    sink: TerminalSink
    cancel: CancelToken
    open_window: OpenWindow
    draw_pdf: DrawPdf | None = None

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Show that something of unknown length goes on inside the block."""
        self.sink(Progress(stage, 0, 1))
        yield
        self.sink(Progress(stage, 1, 1))

    def context(self, device: str = "auto") -> JobContext:
        """What a job needs to run in this terminal."""
        return JobContext(emit=self.sink, cancel=self.cancel, device=device)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves room for the names of commands and flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        # WORKAROUND argparse (seen in 3.11): the names of commands are measured without their
        # indentation, and the longest would get a line of its own.
        self._action_max_length = 16


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence and leaves ending the process to the caller."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            add_help=False,
            **settings,
        )
        self._optionals.title = "other options"
        self.add_argument("-h", "--help", action="help", help="show this help and end")

    def format_help(self) -> str:
        """The help page, with what all commands share at its end."""
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Replaces argparse's message, which lists all commands and helps nobody who mistyped one.
        if not isinstance(action, Subparsers) or value in action.choices:
            super()._check_value(action, value)
            return
        near = difflib.get_close_matches(str(value), action.choices, n=1)
        if near:
            self.error(f"there is no command {value!r}, did you mean {near[0]!r}?")
        if Path(value).exists():
            self.error(f"{value!r} is no command; open files with '{self.prog} view {value} …'")
        self.error(f"there is no command {value!r}; there are {', '.join(action.choices)}")

    def error(self, message: str) -> NoReturn:
        """Refuse the command."""
        sentence = message[:1].upper() + message[1:]
        raise UsageError(f"{sentence.rstrip('.')} (see '{self.prog} --help').")


Subparsers = argparse._SubParsersAction  # the type argparse has no public name for


def build_parser(program: str) -> Parser:
    """The whole command line.

    Args:
        program: how the person called the program, for help and messages.
    """
    from engine.cli.commands import (
        bench,
        demo,
        describe,
        descriptors,
        doctor,
        download,
        evaluate,
        export,
        match,
        report,
        train,
        view,
    )

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
        help="show the version and end",
    )
    _add_common_flags(parser, top=True)
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=program
    )
    for module in (
        *(view, match, describe, evaluate, report, train, export),
        *(descriptors, demo, download, doctor, bench),
    ):
        module.add_parser(commands)
    parser.set_defaults(run=view.run_without_arguments)
    return parser


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line.

    Raises:
        UsageError: it is wrong.
        SystemExit: help or version was asked for and printed.
    """
    arguments, unknown = parser.parse_known_args(list(words))
    if unknown:
        spoken_to = _command_parser(parser, getattr(arguments, "command", None))
        spoken_to.error(_about_unknown(spoken_to, unknown[0]))
    return arguments


def add_command(
    commands: Subparsers[Parser], name: str, *, summary: str, usage: str = "", examples: str = ""
) -> Parser:
    """Add a command with the flags every command has.

    Args:
        commands: what :meth:`argparse.ArgumentParser.add_subparsers` gave.
        name: the word for it.
        summary: one line for the list of commands, and the first line of its own help.
        usage: what follows the name in the line of usage.
        examples: example lines, each beginning with the arguments after the program.
    """
    parser = commands.add_parser(name, help=summary, description=summary[:1].upper() + summary[1:])
    if usage:
        parser.usage = f"{parser.prog} {usage}"
    if examples:
        program = parser.prog.removesuffix(name)
        lines = "\n".join(f"  {program}{line}" for line in examples.strip().splitlines())
        parser.epilog = f"examples:\n{lines}"
    _add_common_flags(parser, top=False)
    return parser


def add_config_flags(
    parser: argparse.ArgumentParser, config: type, *, title: str, leave_out: Collection[str] = ()
) -> argparse._ArgumentGroup:
    """Add a flag for every setting of a class; its text is checked when the settings are built.

    A flag that is not given is None in the parsed arguments, under the setting's own name.
    """
    group = parser.add_argument_group(title)
    for info in describe_options(config):
        if info.name in leave_out:
            continue
        group.add_argument(
            flag_of(info),
            dest=info.name,
            metavar=_metavar(info),
            help=_help_of(info).replace("%", "%%"),
        )
    return group


def flag_of(info: OptionInfo) -> str:
    """The flag of a setting, without its unit: ``long_edge_px`` -> ``--long-edge``."""
    name = info.name.removesuffix(f"_{info.unit}") if info.unit else info.name
    return "--" + name.replace("_", "-")


def range_of(info: OptionInfo) -> str:
    """The allowed values in words, "" when all of the kind are."""
    if info.choices:
        return " | ".join(info.choices)
    unit = f" {info.unit}" if info.unit else ""
    low, high = info.low, info.high
    if low is not None and high is not None:
        return f"{low:.10g} to {high:.10g}{unit}"
    if low is not None:
        return f"at least {low:.10g}{unit}"
    if high is not None:
        return f"at most {high:.10g}{unit}"
    return ""


def whole_number(*, low: int, high: int | None = None) -> Callable[[str], int]:
    """A converter for whole numbers between two bounds, both allowed."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < low or (high is not None and number > high):
            bounds = f"at least {low}" + ("" if high is None else f" and at most {high}")
            raise argparse.ArgumentTypeError(f"{number} is out of range, it must be {bounds}")
        return number

    return convert


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """Two images or a sequence, and the homography between them."""
    group = parser.add_argument_group("which pair")
    group.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="A B | SEQUENCE",
        help="two images, or the folder of an HPatches sequence",
    )
    group.add_argument(
        "--pair",
        type=whole_number(low=2),
        metavar="K",
        help="of a sequence: the number of the second image, 2 to 6 in HPatches (default: 2)",
    )
    group.add_argument(
        "--homography",
        type=Path,
        metavar="FILE",
        help="of two images: 3×3 numbers that take pixels of A to pixels of B",
    )


def add_descriptor_sources(group: argparse._ArgumentGroup) -> None:
    """Where descriptors come from beside the built-in ones, and their own settings."""
    group.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the descriptor, such as stride_px=4; may be given more than once",
    )
    group.add_argument(
        "--plugin",
        dest="plugins",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="Python file that registers a descriptor; its code will run",
    )


def add_settings_file(group: argparse._ArgumentGroup) -> None:
    """A YAML file with any of the settings."""
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file with these settings by their full names, such as long_edge_px, and the "
        "descriptor's own under 'settings:'; --set and flags win over it",
    )


def settings_from(
    arguments: argparse.Namespace, config: type[Settings]
) -> tuple[Settings, dict[str, Any]]:
    """The settings of a command that has :func:`add_config_flags` and :func:`add_settings_file`.

    Returns:
        The job's settings, and the descriptor's own.

    Raises:
        ConfigError: a setting has a wrong name or value.
    """
    flags = {info.name: getattr(arguments, info.name) for info in describe_options(config)}
    maps = getattr(arguments, "maps", None)
    if maps and flags["descriptor"] is None:
        flags["descriptor"] = "precomputed"
    return resolve_settings(
        config,
        from_file=read_yaml(arguments.config) if arguments.config is not None else None,
        overrides=arguments.settings,
        flags=flags,
    )


def add_maps_flag(group: argparse._ArgumentGroup) -> None:
    """Maps that some other program made."""
    group.add_argument(
        "--maps",
        nargs=2,
        default=[],
        type=Path,
        metavar=("A", "B"),
        help="precomputed maps of both images (.npz or .npy), for the descriptor 'precomputed'",
    )


def _add_common_flags(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Flags that may stand before or after the command: the inner ones leave the outer alone."""
    for flag, words in (
        ("--quiet", "no progress, only warnings and errors"),
        ("--debug", "show the trace of an unexpected error"),
    ):
        parser.add_argument(
            flag, action="store_true", help=words, default=False if top else argparse.SUPPRESS
        )


def _help_of(info: OptionInfo) -> str:
    allowed = "" if info.choices else range_of(info)
    default = "" if info.default in (None, "") else f"default: {_default_text(info.default)}"
    notes = "; ".join(text for text in (allowed, default) if text)
    return f"{info.help} ({notes})" if notes else info.help


def _default_text(default: Any) -> str:
    if not isinstance(default, tuple):
        return str(default)
    return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in default)


def _metavar(info: OptionInfo) -> str:
    if info.choices:
        return "|".join(info.choices)
    return info.unit.upper() if info.unit else _METAVARS.get(info.kind, "VALUE")


def _command_parser(parser: Parser, command: str | None) -> Parser:
    for action in parser._actions:
        if isinstance(action, Subparsers) and command in action.choices:
            found: Parser = action.choices[command]
            return found
    return parser


def _about_unknown(parser: Parser, word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is one argument too many"
    flag = word.partition("=")[0]
    near = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"there is no option {flag}{hint}"
