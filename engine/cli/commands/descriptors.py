"""``descriptors``: what there is to choose from, with all settings, and whether it is true."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from
from engine.config import describe_options, option
from engine.jobs.command_line import OwnSettings
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.descriptors.registry import DescriptorEntry

_ANY_MODEL = "MODEL"
_JSON_FIELDS = ("name", "kind", "default", "help", "unit", "low", "high", "choices", "optional")


@dataclass(frozen=True, kw_only=True)
class DescriptorsOptions(OwnSettings):
    """Which descriptors to list or to check."""

    names: tuple[str, ...] = option((), help="only these", flag="", metavar="NAME", group="which")
    check: Path | None = option(
        None, help="hold the descriptors that this plugin file registers, or else the ones named, "
        "against what they declare; the file's code will run; ends with 1 where they differ",
        metavar="FILE|NAME", group="what to print",
    )  # fmt: skip
    write_probes: Path | None = option(
        None, help="write images into this new folder for your network to describe; then "
        "--check-maps measures where the cells of its map files lie", metavar="FOLDER",
        group="what to print",
    )  # fmt: skip
    stride_px: float = option(
        8.0, help="about the stride of the maps that --write-probes is for", unit="px",
        low=1, high=128, group="what to print",
    )  # fmt: skip
    check_maps: Path | None = option(
        None, help="hold the map files beside the images that --write-probes wrote against the "
        "stride and offset they declare; ends with 1 where they differ", metavar="FOLDER",
        group="what to print",
    )  # fmt: skip
    json: bool = option(False, help="print it as JSON")


def run(arguments: Namespace, shell: Shell) -> int:
    """Print the list, or what a check found: 1 where something is not as it is declared."""
    with shell.loading_torch():
        from engine.descriptors.registry import (
            get_descriptor,
            list_descriptors,
            list_families,
            make_spec,
        )
        from engine.jobs.fetch import fetch_missing
        from engine.jobs.recipe import load_descriptor_sources

    options = options_from(arguments, DescriptorsOptions)
    if options.write_probes is not None:
        return _write_probes(options.write_probes, options.stride_px, shell)
    if options.check_maps is not None:
        return _check_maps(options, options.check_maps, shell)
    load_descriptor_sources(options.plugins, shell.context())
    if options.download:
        named = [*options.names, *([str(options.check)] if options.check else [])]
        fetch_missing([(name, {}) for name in named], shell.context())
    if options.check is not None:
        return _check(options, options.check, shell)
    for name in options.names:
        if not name.endswith(f":{_ANY_MODEL}"):  # only then a family knows its weights
            make_spec(name).weights_stamps(load=True)
    shell.sink.close()
    every_family = (get_descriptor(f"{family.name}:{_ANY_MODEL}") for family in list_families())
    entries = [get_descriptor(name) for name in options.names]
    entries = entries or [*list_descriptors(), *every_family]
    if options.json:
        shell.print(json.dumps([_plain(entry) for entry in entries], indent=2, default=str))
    else:
        shell.print("\n\n".join(as_text(entry) for entry in entries))
    return 0


def _check(options: DescriptorsOptions, place: Path, shell: Shell) -> int:
    """Check the descriptors of a file, or a registered one."""
    from engine.config import parse_overrides
    from engine.descriptors.check import check_thoroughly
    from engine.descriptors.registry import get_descriptor, list_descriptors, make_spec
    from engine.jobs.check import report_json, report_text
    from engine.jobs.recipe import load_descriptor_sources

    if place.suffix == ".py" or place.exists():
        load_descriptor_sources((place,), shell.context())
        source = str(place.expanduser().absolute())
        found = [entry.name for entry in list_descriptors() if entry.source == source]
        names = [name for name in options.names or found if name in found] or found
    else:
        names = [str(place), *options.names]
    values = parse_overrides(options.settings)
    reports = []
    for name in names:
        with shell.stage(Stage.CHECKING):
            reports.append(check_thoroughly(make_spec(name, values)))
    shell.sink.close()
    checked = [(one, get_descriptor(one.name)) for one in reports]
    if options.json:
        shell.print(json.dumps([report_json(one, its.source) for one, its in checked], indent=2))
    else:
        shell.print("\n\n".join(report_text(one, its.title, its.source) for one, its in checked))
    return 1 if any(one.refusals or one.warnings for one in reports) else 0


def _write_probes(folder: Path, about_px: float, shell: Shell) -> int:
    from engine.descriptors.map_check import write_probe_images

    count = write_probe_images(folder.expanduser(), about_px=about_px, context=shell.context())
    shell.sink.close()
    shell.print(
        f"{count} images in {folder}. Write the map of each beside it under the same name "
        f"(image0.npz for image0.png), then: descriptors --check-maps {folder}"
    )
    return 0


def _check_maps(options: DescriptorsOptions, folder: Path, shell: Shell) -> int:
    from engine.descriptors.map_check import check_map_files
    from engine.jobs.check import report_json, report_text

    report = check_map_files(folder.expanduser(), shell.context())
    shell.sink.close()
    if options.json:
        shell.print(json.dumps([report_json(report, str(folder))], indent=2))
    else:
        shell.print(report_text(report, "Precomputed maps", str(folder)))
    return 1 if report.refusals or report.warnings else 0


def as_text(entry: DescriptorEntry) -> str:
    """One descriptor with its settings, as paragraphs for a terminal."""
    source = "" if entry.source == "built-in" else f"  [{entry.source}]"
    lines = [f"{entry.name}  —  {entry.title}{source}"]
    if entry.summary:
        lines += textwrap.wrap(entry.summary, 96, initial_indent="  ", subsequent_indent="  ")
    from engine.descriptors.registry import weights_in_use

    options = describe_options(entry.config)
    width = max((len(info.name) for info in options), default=0)
    for info in options:
        default = "none" if info.default is None else info.default
        if info.name == "weights" and not entry.name.endswith(f":{_ANY_MODEL}"):
            default = weights_in_use(entry.name)
        notes = [f"default {default}", info.range_text]
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
    examples=(
        "descriptors",
        "descriptors daisy",
        "descriptors --plugin my_network.py",
        "descriptors --check my_network.py --set weights=my_weights.pth",
        "descriptors --check timm:resnet18@2,3",
        "descriptors --write-probes probes --stride 8",
        "descriptors --check-maps probes",
    ),
    options=(DescriptorsOptions,),
    run=run,
    needs_torch=True,
)
