"""What a command of the command line is, and what it is given to run."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from engine.config import describe_options, nest, read_yaml
from engine.errors import printable
from engine.jobs.command_line import ViewOptions
from engine.jobs.settings import resolve_settings
from engine.loading import loading
from engine.progress import CancelToken, JobContext, Progress, Stage

if TYPE_CHECKING:
    from engine.cli.terminal import TerminalSink

Options = TypeVar("Options")
OpenWindow = Callable[[ViewOptions], int]
DrawPdf = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True)
class Shell:
    """What a command may use besides its arguments.

    Attributes:
        sink: listens to events.
        cancel: set by Ctrl-C.
        open_window: shows the window until it is closed and returns the exit code.
        draw_pdf: draws a report's HTML for paper into a PDF; None where nothing can.
        out: where results go, and nothing else does.
    """

    sink: TerminalSink
    cancel: CancelToken
    open_window: OpenWindow
    draw_pdf: DrawPdf | None = None
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def print(self, text: object, end: str = "\n") -> None:
        """Print a result.  What is printed otherwise, by a plugin say, goes to stderr."""
        print(printable(text, keep="\n"), end=end, file=self.out)

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Show that something of unknown length is running inside the block."""
        self.sink(Progress(stage, 0, 1))
        yield
        self.sink(Progress(stage, 1, 1))

    @contextlib.contextmanager
    def loading_torch(self) -> Iterator[None]:
        """Show that torch is loaded by the imports inside the block, which take less time there."""
        with self.stage(Stage.LOADING_TORCH), loading("torch"):
            yield

    def context(self, device: str = "auto") -> JobContext:
        """What a job needs to run in this terminal."""
        return JobContext(emit=self.sink, cancel=self.cancel, device=device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        run: runs it with its parsed arguments and returns the exit code.
        options: classes of settings and options, whose declarations become its arguments.
        usage: what follows the name in the line of usage.
        examples: lines that begin with the name.
        description: the first lines of its help, instead of its summary.
        needs_torch: torch's libraries are linked while it looks at its arguments and files.
    """

    run: Callable[[Namespace, Shell], int]
    options: tuple[type, ...] = ()
    usage: str = "[option …]"
    examples: tuple[str, ...] = ()
    description: str = ""
    needs_torch: bool = False


def is_first_process() -> bool:
    """Whether this process reports: of those that torchrun starts only the first one does."""
    return int(os.environ.get("RANK", "0")) == 0


def options_from(arguments: Namespace, options: type[Options]) -> Options:
    """The options of a class, as they were given."""
    names = {field.name for field in fields(options)}  # type: ignore[arg-type]
    return options(**{name: value for name, value in vars(arguments).items() if name in names})


def settings_from(
    arguments: Namespace, config: type[Options], **standing: Any
) -> tuple[Options, dict[str, Any]]:
    """The settings of a command, resolved from its file, ``--set`` and flags.

    Args:
        arguments: the parsed ones.
        config: the settings class.
        standing: settings that hold where no flag says otherwise.

    Returns:
        The job's settings, and the descriptor's own.

    Raises:
        ConfigError: a setting has a wrong name or value.
    """
    file: Path | None = vars(arguments).get("config")
    return resolve_settings(
        config,
        from_file=None if file is None else read_yaml(file),
        overrides=vars(arguments).get("settings", ()),
        flags={**standing, **flags_from(arguments, config)},
    )


def flags_from(arguments: Namespace, config: type) -> dict[str, Any]:
    """The settings that flags gave, nested."""
    given = vars(arguments)
    names = [info.name for info in describe_options(config, sections=True)]
    return nest({name: given[name] for name in names if name in given})
