"""``descriptors``: what there is to choose from, with all settings."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from
from engine.config import describe_options, option
from engine.jobs.command_line import Plugins
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.descriptors.registry import DescriptorEntry

_JSON_FIELDS = ("name", "kind", "default", "help", "unit", "low", "high", "choices", "optional")


@dataclass(frozen=True, kw_only=True)
class DescriptorsOptions(Plugins):
    """Which descriptors to list."""

    names: tuple[str, ...] = option((), help="only these", flag="", metavar="NAME", group="which")
    json: bool = option(False, help="print the list as JSON")


def run(arguments: Namespace, shell: Shell) -> int:
    """Print the list."""
    with shell.stage(Stage.LOADING_TORCH):
        from engine.descriptors.registry import get_descriptor, list_descriptors
        from engine.jobs.recipe import load_descriptor_sources

    options = options_from(arguments, DescriptorsOptions)
    load_descriptor_sources(options.plugins, shell.context())
    shell.sink.close()
    entries = [get_descriptor(name) for name in options.names] or list(list_descriptors())
    if options.json:
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
        notes = [f"default {'none' if info.default is None else info.default}", info.range_text]
        lines += textwrap.wrap(
            f"{info.name:<{width}}  {info.help} ({'; '.join(filter(None, notes))})",
            96,
            initial_indent="    ",
            subsequent_indent=" " * (width + 6),
        )
    return "\n".join(lines)


def _plain(entry: DescriptorEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "summary": entry.summary,
        "source": entry.source,
        "settings": [
            {name: getattr(info, name) for name in _JSON_FIELDS}
            for info in describe_options(entry.config)
        ],
    }


COMMAND = Command(
    usage="[NAME …] [option …]",
    examples=("descriptors", "descriptors daisy", "descriptors --plugin my_network.py"),
    options=(DescriptorsOptions,),
    run=run,
)
