"""``install-desktop``: put the program among the applications of a Linux desktop."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass

from engine.cli.command import Command, Shell, options_from
from engine.config import option


@dataclass(frozen=True, kw_only=True)
class DesktopOptions:
    """Whether the entry comes or goes."""

    remove: bool = option(False, help="remove entry, icon and type again", group="what to do")


def run(arguments: Namespace, shell: Shell) -> int:
    """Write or remove the files, and print their names."""
    from engine.jobs.desktop_entry import (
        check_desktop,
        desktop_data_folder,
        install_desktop_entry,
        program_words,
        remove_desktop_entry,
    )

    check_desktop()
    folder = desktop_data_folder()
    if options_from(arguments, DesktopOptions).remove:
        found = remove_desktop_entry(folder)
        if not found:
            shell.sink.note("There is no entry to remove.")
    else:
        found = install_desktop_entry(folder, program_words())
    for path in found:
        shell.print(path)
    return 0


COMMAND = Command(
    usage="[option …]",
    examples=("install-desktop", "install-desktop --remove"),
    description="Put the program with its icon among the applications of this user's Linux "
    "desktop, and let it\nopen session files (.descspace). The files go to $XDG_DATA_HOME, by "
    "default ~/.local/share.",
    options=(DesktopOptions,),
    run=run,
)
