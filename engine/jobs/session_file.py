"""Session files: what a window shows, as a small text that people can read and send.

A session is JSON: the pair, its truth, the descriptors, the settings that change what is seen, the
pins and the view.  Names of files are relative to the session where both lie below one folder, so a
folder can move with its session; the text also says where it was saved, so the session can move
alone.  What is found in neither place is looked for by its name beside the session.

Nothing here runs code, and nothing imports torch: a descriptor of a plugin is named with its file,
and whoever opens the session asks the user.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Final, TypeVar

from engine.config import build_config, config_values, describe_options, option
from engine.descriptors.model_names import FILE_FAMILIES, ModelName, network_of
from engine.descriptors.registry import get_descriptor
from engine.errors import ConfigError, DescSpaceError, SessionError, quoted
from engine.files import parse_json, read_input, write_atomically
from engine.heat_range import FITTED, HeatRange
from engine.matching.colouring import MOST_COMPONENTS
from engine.truth.base import TruthSource
from engine.truth.homography import HomographySource
from engine.truth.named import FILE_SETTINGS, join_named, split_named
from engine.truth.points import HeldPointsSource
from engine.vocabulary import (
    MOST_COMPARED,
    SEPARATION_PX,
    Colormap,
    PcaFit,
    Placement,
    PointsKind,
    Precision,
    Side,
    TruthOrigin,
    ViewMode,
)

VERSION: Final = 1
_FORMAT: Final = "Descriptor Space session"
_LOCAL_FOLDER: Final = "local-dir:"
_MOST_BYTES: Final = 1 << 20
_WIDTH: Final = 100
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")

Part = tuple[float, float, float, float]
"""A part of an image in sight: left, top, width and height in pixels, whose centres are whole."""

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPair:
    """Which pair: two images, or one of a set of pairs, or of the demo."""

    image_a: Path | None = option(None, help="the first of two images")
    image_b: Path | None = option(None, help="the second of two images")
    video_b: Path | None = option(None, help="image b is a frame of this video")
    frame_b: int = option(0, help="its number, from 0", low=0, high=10**9)
    dataset: Path | None = option(None, help="folder or file with pairs")
    layout: str = option("", help="its layout, where the user named it")
    demo: bool = option(False, help="the set is the demo, which every computer can make")
    group: str = option("", help="the group of the pair in its set")
    index: int = option(0, help="the number of the pair in its group", low=0, high=10**9)
    range_a: str | None = option(None, help="which values of image a are black and white")
    range_b: str | None = option(None, help="which values of image b are black and white")


@dataclass(frozen=True, slots=True)
class SavedTruth:
    """What is known of the pair.

    Attributes:
        of_set: what the set of pairs says; false for two images, and where it was removed.
        text: names files of any kind, as :func:`engine.truth.named.named_truth` takes them.
        source: a truth that is in no file: estimated, or made from pins.
    """

    of_set: bool = False
    text: str = ""
    source: TruthSource | None = None


@dataclass(frozen=True, slots=True)
class SavedDescriptor:
    """A descriptor with its settings.

    Attributes:
        name: registered name, or that of a network.
        values: settings that differ from the defaults.
        map_files: map files of both images, for precomputed maps.
        plugin: the Python file that registers it; running it needs the user's consent.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    map_files: tuple[Path, Path] | None = None
    plugin: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSettings:
    """The settings of the program that change what is seen; the device is the computer's choice."""

    long_edge_px: int = option(640, help="long edge when describing", low=0, high=8192)
    precision: Precision = option("float32", help="arithmetic of networks")
    colormap: Colormap = option("viridis", help="colours of scalar maps")
    heat: HeatRange = FITTED
    opacity: float = option(0.65, help="of colours over the image", low=0.0, high=1.0)
    peaks: int = option(5, help="best matches marked for a probe", low=1, high=20)
    separation_px: float = option(
        SEPARATION_PX, help="between the peaks, as described", low=1.0, high=512.0
    )
    exclude_px: float = option(
        32.0, help="that self-similarity leaves out, as described", low=0.0, high=4096.0
    )
    correct_px: float = option(3.0, help="a match this close is right", low=0.1, high=100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPin:
    """A pinned point."""

    number: int = option(1, help="what it is called", low=1, high=10**6)
    image: Side = option("a", help="the image it is in")
    x_px: float = option(0.0, help="its column")
    y_px: float = option(0.0, help="its row")
    width_px: float = option(0.0, help="of a box around it, whose mean asks; 0 for none", low=0.0)
    height_px: float = option(0.0, help="of that box", low=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMatches:
    """The settings and thresholds of many matches at once."""

    descriptor: int = option(0, help="which one matches", low=0, high=MOST_COMPARED)
    points: PointsKind = option("harris", help="how query points are chosen")
    count: int = option(200, help="how many", low=1, high=1_000_000)
    seed: int = option(0, help="of their choice")
    min_similarity: float = option(-1.0, help="matches below are hidden", low=-1.0, high=1.0)
    max_ratio: float = option(1.0, help="matches above are hidden", low=0.0, high=1.0)
    min_confidence: float = option(0.0, help="less sure ones are hidden", low=0.0, high=1.0)
    mutual_only: bool = option(False, help="hide those that do not match back")
    visible: bool = option(True, help="draw them")
    matched: bool = option(False, help="there were matches")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """How the pair is shown; names as in the window's state where they mean the same."""

    mode: ViewMode = option("heat", help="what the panes show")
    linked: bool = option(False, help="both panes share pan and zoom")
    arrangement: Placement = option("auto", help="panes side by side or above one another")
    blink: bool = option(False, help="in warp mode, the other image instead of the blend")
    self_similarity: bool = option(False, help="heat map in the query's own image, too")
    own_ranges: bool = option(False, help="fit heat maps' colours for each descriptor alone")
    pca_fit: PcaFit = option("both", help="images that the PCA basis is fitted on")
    pca_basis: Path | None = option(None, help="the file with the basis")
    pca_level: int = option(0, help="which member of a set PCA shows", low=0, high=10_000)
    pca: tuple[int, int, int] = option(
        (1, 2, 3), help="components that are red, green and blue; negative ones are flipped",
        low=-MOST_COMPONENTS, high=MOST_COMPONENTS, metavar="three numbers",
    )  # fmt: skip
    pca_foreground: float | None = option(
        None, help="share of the first component's range; negative for what is below",
        low=-1.0, high=1.0,
    )  # fmt: skip
    part_a: Part | None = option(
        None, help="left, top, width and height of what is in sight; none for all of it",
        metavar="four numbers",
    )  # fmt: skip
    part_b: Part | None = option(
        None, help="the same of image b", metavar="four numbers"
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """All of a session, with absolute paths.

    Attributes:
        pair: which pair.
        truth: what is known of it.
        descriptors: the shown one first, those beside it behind; at least one.
        settings: of the program.
        pins: in order of pinning.
        selected: number of the selected pin, 0 for none.
        probe: where the pointer was, as a pin whose number means nothing; None for nowhere.
        matches: of many points.
        view: how it is shown.
    """

    pair: SavedPair
    truth: SavedTruth = SavedTruth()
    descriptors: tuple[SavedDescriptor, ...] = ()
    settings: SavedSettings = SavedSettings()
    pins: tuple[SavedPin, ...] = ()
    selected: int = 0
    probe: SavedPin | None = None
    matches: SavedMatches = SavedMatches()
    view: SavedView = SavedView()


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was read.

    Attributes:
        session: its content, with paths on this computer.
        notes: a sentence for each file that was found by its name alone.
    """

    session: SavedSession
    notes: tuple[str, ...] = ()


def write_session(path: Path, session: SavedSession) -> None:
    """Write a session.

    Raises:
        OutputError: it cannot be written.
        FileError: a file of the truth is gone.
    """
    write_atomically(path, session_text(session, path.absolute().parent).encode("utf-8"))


def read_session(path: Path) -> OpenedSession:
    """Read a session; whether its files are there shows when they are opened.

    Raises:
        SessionError: it is no session, of a newer version, damaged, or its images are missing.
    """
    data = read_input(path, SessionError, missing="does not exist", most_bytes=_MOST_BYTES)
    try:
        values = parse_json(data.decode("utf-8"))
    except ValueError as error:
        raise SessionError(path, f"is no session, or is damaged ({error})") from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise SessionError(path, "is no session of this program")
    version = values.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SessionError(path, f"has the version {quoted(version)}, which is none")
    if version > VERSION:
        raise SessionError(
            path, f"has version {version}, and this program reads up to {VERSION}: update it"
        )
    reader = _Reader(path, str(values.get("saved in", "")))
    try:
        return OpenedSession(reader.session(values), tuple(reader.notes))
    except ConfigError as error:
        raise SessionError(path, f"{error.field}: {error.reason}") from error


def session_text(session: SavedSession, folder: Path) -> str:
    """A session as text.

    Args:
        session: all of it.
        folder: where the text will be, absolute.
    """
    writer = _Writer(folder)
    values: dict[str, Any] = {
        "format": _FORMAT,
        "version": VERSION,
        "saved in": folder.as_posix(),
        "pair": writer.options(session.pair),
        "truth": writer.truth(session.truth),
        "descriptors": [writer.descriptor(one) for one in session.descriptors],
        "settings": config_values(session.settings),
        "pins": [config_values(pin) for pin in session.pins],
        "selected pin": session.selected,
        "probe": _point_values(session.probe),
        "matches": config_values(session.matches),
        "view": writer.options(session.view, all_of_them=True),
    }
    return f"{_pretty(values)}\n"


def _point_values(probe: SavedPin | None) -> dict[str, Any] | None:
    if probe is None:
        return None
    return {"image": probe.image, "x_px": probe.x_px, "y_px": probe.y_px}


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with short lists and sections on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (indent and len(indent) + len(line) <= _WIDTH):
        return line
    inner = f"{indent}  "
    if isinstance(value, dict) and value:
        rows = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_pretty(one, inner)}"
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + _pretty(one, inner) for one in value) + f"\n{indent}]"
    return line


class _Writer:
    """Turns paths into what the session names them by."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, path: Path) -> str:
        """Relative, with slashes, where both lie below one folder; else absolute."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        with contextlib.suppress(ValueError):  # another drive
            common = Path(os.path.commonpath([absolute, self._folder]))
            if common != Path(common.anchor):
                return Path(os.path.relpath(absolute, self._folder)).as_posix()
        return absolute.as_posix()

    def options(self, values: Any, *, all_of_them: bool = False) -> dict[str, Any]:
        """Options of a section; those at their defaults are left out where nothing is lost."""
        return {
            name: self.path(own) if isinstance(own := getattr(values, name), Path) else value
            for name, value in config_values(values).items()
            if all_of_them or value not in (None, "", 0, False)
        }

    def truth(self, truth: SavedTruth) -> Any:
        """Where the truth comes from, or what it is."""
        if truth.of_set:
            return "of the set"
        if truth.text:
            kind, files, settings = split_named(truth.text, Path())
            for name in FILE_SETTINGS:
                if name in settings:
                    settings[name] = self.path(Path(settings[name]))
            return {"kind": kind, "files": [self.path(file) for file in files], **settings}
        source = truth.source
        if isinstance(source, HomographySource):
            rows = source.h_b_from_a.tolist()
            return {"homography": rows, "origin": source.origin}
        if isinstance(source, HeldPointsSource):
            return {"points": [list(row) for row in source.rows], "origin": source.origin}
        return None

    def descriptor(self, descriptor: SavedDescriptor) -> dict[str, Any]:
        """A descriptor; settings that name files stand apart."""
        found: dict[str, Any] = {"name": descriptor.name}
        name = network_of(descriptor.name)
        file = None if name is None else _file_of(name)
        if name is not None and file is not None:
            found = {"name": _without_file(name), "network": self.path(file)}
            if name.layers:
                found["layers"] = list(name.layers)
        files = _file_settings(descriptor)
        values = {key: one for key, one in descriptor.values.items() if key not in files}
        if values:
            found["settings"] = json.loads(json.dumps(values, default=str))
        if files:
            found["files"] = {key: self.path(path) for key, path in files.items()}
        if descriptor.map_files is not None:
            found["maps"] = [self.path(path) for path in descriptor.map_files]
        if descriptor.plugin is not None:
            found["plugin"] = self.path(descriptor.plugin)
        return found


class _Reader:
    """Reads a session, and finds the files that it names.

    Attributes:
        notes: sentences on files that were found by their names alone.
    """

    def __init__(self, path: Path, saved_in: str) -> None:
        self._path = path
        self._folder = path.absolute().parent
        self._saved_in = saved_in
        self.notes: list[str] = []

    def session(self, values: Mapping[str, Any]) -> SavedSession:
        """All of it, strictly.

        Raises:
            ConfigError: a part is missing, unknown or wrong.
            SessionError: the images are missing.
        """
        known = {"format", "version", "saved in", "pair", "truth", "descriptors", "settings"}
        known |= {"pins", "selected pin", "probe", "matches", "view"}
        for name in values:
            if name not in known:
                raise ConfigError(str(name), "there is no such part of a session")
        pair = self._pair(values.get("pair"))
        pins = tuple(
            build_config(SavedPin, one, where=f"pins[{number}]")
            for number, one in _entries(values, "pins")
        )
        if len({pin.number for pin in pins}) != len(pins):
            raise ConfigError("pins", "two of them have the same number")
        probe = values.get("probe")
        values = _with_heat_range(values)
        view = _section(SavedView, values, "view")
        if view.pca_basis is not None:
            view = replace(view, pca_basis=self.find(str(values["view"]["pca_basis"])))
        if 0 in view.pca:
            raise ConfigError("view.pca", "counts components from 1; 0 is none")
        for name in ("part_a", "part_b"):
            part = getattr(view, name)
            if part is not None and min(part[2:]) <= 0:
                raise ConfigError(f"view.{name}", "its width and height must be above 0")
        descriptors = tuple(
            self._descriptor(one, f"descriptors[{number}]")
            for number, one in _entries(values, "descriptors")
        )
        if len(descriptors) > 1 + MOST_COMPARED:
            raise ConfigError("descriptors", f"at most {1 + MOST_COMPARED} can be shown")
        matches = _section(SavedMatches, values, "matches")
        if matches.descriptor >= max(1, len(descriptors)):
            raise ConfigError("matches.descriptor", "there is no such descriptor in the session")
        return SavedSession(
            pair=pair,
            truth=self._truth(values.get("truth")),
            descriptors=descriptors,
            settings=_section(SavedSettings, values, "settings"),
            pins=pins,
            selected=_selected(values.get("selected pin", 0), pins),
            probe=None if probe is None else _read(SavedPin, probe, "probe"),
            matches=matches,
            view=view,
        )

    def find(self, text: str) -> Path:
        """A file or folder that the session names; where it should be if it is nowhere.

        It is looked for relative to the session, then where that was saved, and then by ever
        shorter ends of its path beside the session.
        """
        named = _posix(text)
        wanted = Path(os.path.normpath(self._folder / named))
        places = [wanted]
        if self._saved_in:
            places.append(Path(os.path.normpath(Path(_posix(self._saved_in)) / named)))
        for place in places:
            if place.exists():
                return place
        parts = [part for part in named.parts if part not in ("..", "/") and ":" not in part]
        for start in range(len(parts)):
            place = self._folder.joinpath(*parts[start:])
            if place.exists():
                self.notes.append(f"{text} was found by its name, as {place}.")
                return place
        return wanted

    def _pair(self, values: Any) -> SavedPair:
        pair = _read(SavedPair, values, "pair")
        images = (pair.image_a, pair.image_b or pair.video_b)
        found: dict[str, Path] = {}
        for name in ("image_a", "image_b", "video_b", "dataset"):
            if getattr(pair, name) is not None:
                found[name] = self.find(str(values[name]))
                if not found[name].exists():
                    raise SessionError(
                        self._path,
                        f"names {quoted(values[name])}, which is neither there nor beside the "
                        "session",
                    )
        if [None not in images, pair.dataset is not None, pair.demo].count(True) != 1:
            raise ConfigError("pair", "is two images, a dataset, or the demo")
        return replace(pair, **found)  # type: ignore[arg-type]

    def _truth(self, values: Any) -> SavedTruth:
        if values is None or values == "of the set":
            return SavedTruth(of_set=values is not None)
        if not isinstance(values, dict):
            raise ConfigError("truth", f"{quoted(values)} is no truth")
        if "files" in values:
            rest = {name: str(one) for name, one in values.items() if name not in ("kind", "files")}
            for name in FILE_SETTINGS:
                if name in rest:
                    rest[name] = str(self.find(rest[name]))
            files = [self.find(str(one)) for _, one in _entries(values, "files")]
            return SavedTruth(text=join_named(values.get("kind"), files, rest))
        origin = _read(_Origin, {"origin": values.get("origin", "estimated")}, "truth").origin
        shape = 3 if "homography" in values else 4
        rows = _numbers(values.get("homography", values.get("points")), shape)
        if "homography" in values:
            if len(rows) != shape:
                raise ConfigError("truth.homography", "has three rows")
            flat = tuple(number for row in rows for number in row)
            return SavedTruth(source=HomographySource(flat, origin))
        held = tuple((row[0], row[1], row[2], row[3]) for row in rows)
        return SavedTruth(source=HeldPointsSource(held, origin))

    def _descriptor(self, values: Any, where: str) -> SavedDescriptor:
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            raise ConfigError(where, "needs a name")
        parts = {"name", "settings", "files", "maps", "plugin", "network", "layers"}
        for unknown in set(values) - parts:
            raise ConfigError(f"{where}.{unknown}", "there is no such part of a descriptor")
        name = values["name"]
        if "network" in values:
            layers = tuple(str(one) for _, one in _entries(values, "layers"))
            file = self.find(str(values["network"]))
            name = f"{name}:{file}" + (f"@{','.join(layers)}" if layers else "")
        own, files = values.get("settings", {}), values.get("files", {})
        if not isinstance(own, dict) or not isinstance(files, dict):
            raise ConfigError(where, "its settings and files are names with values")
        own = {**own, **{key: str(self.find(str(one))) for key, one in files.items()}}
        maps = [self.find(str(one)) for _, one in _entries(values, "maps")]
        if len(maps) not in (0, 2):
            raise ConfigError(f"{where}.maps", "are the files of both images")
        plugin = values.get("plugin")
        return SavedDescriptor(
            name=name,
            values=MappingProxyType(own),
            map_files=(maps[0], maps[1]) if maps else None,
            plugin=None if plugin is None else self.find(str(plugin)),
        )


def _posix(text: str) -> PurePosixPath:
    """A path as a session has it; also one that was written on Windows."""
    if _DRIVE.match(text) and os.name != "nt":
        return PurePosixPath(PureWindowsPath(text).as_posix())
    return PurePosixPath(text)


def _file_of(name: ModelName) -> Path | None:
    """The file or folder that a network's name holds."""
    if name.family in FILE_FAMILIES:
        return name.file
    if name.model.startswith(_LOCAL_FOLDER):
        return Path(name.model.removeprefix(_LOCAL_FOLDER))
    return None


def _without_file(name: ModelName) -> str:
    if name.family in FILE_FAMILIES:
        return name.family
    return f"{name.family}:{_LOCAL_FOLDER.removesuffix(':')}"


def _file_settings(descriptor: SavedDescriptor) -> dict[str, Path]:
    """The settings of a descriptor that name a file or folder that is there."""
    try:
        options = describe_options(get_descriptor(descriptor.name).config)
    except DescSpaceError:  # of a plugin that is not loaded, or of a library that is gone
        return {}
    kinds = {info.name for info in options if info.kind in ("file", "folder")}
    found = {}
    for name in kinds & set(descriptor.values):
        value = descriptor.values[name]
        with contextlib.suppress(TypeError, ValueError, OSError):  # a word, or none
            if Path(value).exists():
                found[name] = Path(value)
    return dict(sorted(found.items()))


def _read(kind: type[Config], values: Any, where: str) -> Config:
    if not isinstance(values, Mapping):
        raise ConfigError(where, "is a section and needs names and values")
    return build_config(kind, values, where=where)


def _section(kind: type[Config], values: Mapping[str, Any], name: str) -> Config:
    return _read(kind, values.get(name, {}), name)


def _with_heat_range(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A session in present words; the first ones held the range of heat maps in their view."""
    view = values.get("view", {})
    if not isinstance(view, Mapping) or not view.keys() & {"heat_auto", "heat_low", "heat_high"}:
        return values
    view = dict(view)
    fitted, low, high = (view.pop(f"heat_{name}", None) for name in ("auto", "low", "high"))
    settings = values.get("settings", {})
    if fitted is False and isinstance(settings, Mapping):
        ends = {"low": 0.0 if low is None else low, "high": 1.0 if high is None else high}
        settings = {**settings, "heat": {"kind": "fixed", **ends}}
    return {**values, "view": view, "settings": settings}


def _entries(values: Mapping[str, Any], name: str) -> Iterator[tuple[int, Any]]:
    """The entries of a list, numbered from 1."""
    found = values.get(name, [])
    if not isinstance(found, list):
        raise ConfigError(name, "is a list")
    return iter(enumerate(found, start=1))


def _selected(value: Any, pins: Sequence[SavedPin]) -> int:
    if value in {0, *(pin.number for pin in pins)} and isinstance(value, int):
        return int(value)
    raise ConfigError("selected pin", f"{quoted(value)} is the number of no pin")


def _numbers(rows: Any, count: int) -> list[tuple[float, ...]]:
    """Rows of so many finite numbers."""
    if not isinstance(rows, list) or not rows:
        raise ConfigError("truth", "needs rows of numbers")
    read = []
    for row in rows:
        if not isinstance(row, list) or len(row) != count:
            raise ConfigError("truth", f"a row has {count} numbers, not {quoted(row)}")
        read.append(_read(_Numbers, {"row": row}, "truth").row)
    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Who made a truth."""

    origin: TruthOrigin = option("estimated", help="who made it")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """Finite numbers."""

    row: tuple[float, ...] = option((), help="the numbers")
