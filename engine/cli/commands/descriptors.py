"""``descriptors``: what there is to choose from, with all settings."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.parser import Parser, Shell, Subparsers, add_command, range_of
from engine.config import describe_options
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.descriptors.registry import DescriptorEntry


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "descriptors",
        summary="list the descriptors with their settings",
        usage="[NAME …] [option …]",
        examples="descriptors\ndescriptors daisy\ndescriptors --plugin my_network.py",
    )
    group = parser.add_argument_group("which")
    group.add_argument("names", nargs="*", metavar="NAME", help="only these")
    group.add_argument(
        "--plugin",
        dest="plugins",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="Python file that registers a descriptor; its code will run",
    )
    group.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Print the list."""
    with shell.stage(Stage.LOADING_TORCH):
        from engine.descriptors.registry import get_descriptor, list_descriptors
        from engine.jobs.recipe import load_descriptor_sources

    load_descriptor_sources(arguments.plugins, shell.context())
    shell.sink.close()
    entries = [get_descriptor(name) for name in arguments.names] or list(list_descriptors())
    if arguments.json:
        import json

        print(json.dumps([_plain(entry) for entry in entries], indent=2, default=str))
    else:
        print("\n\n".join(as_text(entry) for entry in entries))
    return 0


def as_text(entry: DescriptorEntry) -> str:
    """One descriptor with its settings, as paragraphs for a terminal."""
    source = "" if entry.source == "built-in" else f"  [{entry.source}]"
    lines = [f"{entry.name}  —  {entry.title}{source}"]
    if entry.summary:
        lines += textwrap.wrap(entry.summary, 96, initial_indent="  ", subsequent_indent="  ")
    options = describe_options(entry.config)
    width = max((len(info.name) for info in options), default=0)
    for info in options:
        notes = [f"default {'none' if info.default is None else info.default}", range_of(info)]
        indent = " " * (width + 6)
        lines += textwrap.wrap(
            f"{info.name:<{width}}  {info.help} ({'; '.join(note for note in notes if note)})",
            96,
            initial_indent="    ",
            subsequent_indent=indent,
            drop_whitespace=True,
        )
    return "\n".join(lines)


def _plain(entry: DescriptorEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "summary": entry.summary,
        "source": entry.source,
        "settings": [dataclasses.asdict(info) for info in describe_options(entry.config)],
    }
