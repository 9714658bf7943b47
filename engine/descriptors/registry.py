"""The list of descriptors that exist, and how a choice of one is written down.

A module registers its builder when it is imported::

    @register_descriptor("raw-patch", title="Raw patch (baseline)", config=RawPatchConfig)
    def build_raw_patch(config: RawPatchConfig) -> RawPatch:
        return RawPatch(config)

A *family* opens any model of a library by the library's name for it, ``timm:resnet18``; it is
registered by :func:`register_family`.

The built-in ones are listed in :mod:`engine.descriptors.builtin`, which is imported at the first
question; a person's own file by :func:`engine.descriptors.plugins.load_plugin`; an installed
package's by its entry point.  This module itself needs no torch, so that a choice of descriptor can
be written down before torch is loaded.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from engine.config import build_config, config_values
from engine.descriptors.known_models import KnownModel
from engine.descriptors.model_names import ModelName, parse_model_name
from engine.descriptors.remembered import remembered_plugin
from engine.errors import ConfigError, DescSpaceError
from engine.paths import FileStamp
from engine.weight_titles import NO_WEIGHTS, RANDOM_WEIGHTS, SHIPPED_WEIGHTS, weights_title

if TYPE_CHECKING:
    from engine.descriptors.base import DenseDescriptor
    from engine.descriptors.families.hub_files import Published

BUILT_IN: Final = "built-in"
"""The source of the descriptors that come with this program."""

UPSAMPLER: Final = "upsampler"
"""The setting of networks that names a program which enlarges their maps."""

Builder = TypeVar("Builder", bound="Callable[..., DenseDescriptor]")


class FindsWeights(Protocol):
    """Finds the weights file of a descriptor with some settings."""

    def __call__(self, config: Any, /, *, load: bool) -> Path | None:
        """The file; None without one, or if a library would have to be loaded to tell."""


class FindsBeside(Protocol):
    """Finds the files that a file with weights names, such as those with its large tensors."""

    def __call__(self, file: Path, *, load: bool) -> Sequence[Path]:
        """Their paths; none where the file would have to be read first to tell."""


@dataclass(frozen=True, slots=True)
class DescriptorEntry:
    """One registered descriptor.

    Attributes:
        name: the word for command line and files.
        title: what a person reads.
        summary: one sentence on what it is.
        config: its settings class.  A class with a ``weights`` field takes a weights file.
        build: makes the descriptor from its settings.
        source: "built-in", or the plugin file or package it came from.
        by_pair: it is a :class:`~engine.descriptors.base.PairDescriptor`: the maps of an image
            depend on the other image too.
        weights_title: of the weights that it has with some settings, where these do not tell it.
        weights_file: the file they are read from, where these do not tell it either.
        files_beside: further files that this one names and needs.
        weights_page: where users get the weights that it cannot do without and that are not here.
    """

    name: str
    title: str
    summary: str
    config: type
    build: Callable[[Any], DenseDescriptor]
    source: str
    by_pair: bool = False
    weights_title: Callable[[Any], str] | None = None
    weights_file: FindsWeights | None = None
    files_beside: FindsBeside | None = None
    weights_page: str = ""

    @property
    def takes_weights(self) -> bool:
        """True if the settings have a ``weights`` field."""
        return any(field.name == "weights" for field in fields(self.config))


@dataclass(frozen=True, slots=True)
class FamilyEntry:
    """A library whose models are descriptors.

    Attributes:
        name: the word before the colon.
        title: what a person reads.
        summary: one sentence on what it opens.
        config: settings class of all its models, with a ``weights`` field unless they are files.
        build: makes the descriptor of a model from its settings.
        weights_title: of the weights that a model has with some settings; answers at once.
        weights_file: the file they are read from, with ``load=False`` at once and without loading
            the library, which may leave it unknown (None) until a model was built.
        files_beside: further files that this one names and needs, with ``load=False`` at once.
        published: where its weights can be had; may load the library.
        weights_bytes: about how long their file is; None where that is not known.
        models: lists what it knows by name; may import the library.
        opens: endings of files that are models of it by their paths; "/" for folders.
        extra: of this program, that installs the library; "" where none is needed.
    """

    name: str
    title: str
    summary: str
    config: type
    build: Callable[[ModelName, Any], DenseDescriptor]
    weights_title: Callable[[ModelName, Any], str]
    models: Callable[[], Iterable[KnownModel]] = tuple
    opens: tuple[str, ...] = ()
    extra: str = ""
    weights_file: Callable[..., Path | None] | None = None
    published: Callable[[ModelName], Published | None] | None = None
    weights_bytes: Callable[[ModelName], int | None] | None = None
    files_beside: FindsBeside | None = None


@dataclass(frozen=True, slots=True)
class DescriptorSpec:
    """A choice of descriptor with all its settings; hashable, so that maps can be cached by it.

    Attributes:
        name: registered name.
        settings: (name, value) of every setting, sorted by name.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def choice(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return self.name, dict(self.settings)

    @property
    def weights_file(self) -> Path | None:
        """The file that its settings class tells: one that is named, or the shipped one.

        None for random weights, and where the settings class does not tell it.
        """
        config: Any = build_config(
            get_descriptor(self.name).config, dict(self.settings), where=self.name
        )
        file: Path | None = getattr(config, "weights_file", None)
        return file

    def weights_stamps(self, *, load: bool = False) -> tuple[FileStamp, ...]:
        """The present state of every file that decides the numbers: weights and an upsampler's.

        Weights are those that the settings name, or a family finds.

        Args:
            load: let a family load its library to find them, which takes seconds; without it a
                model that was not asked for yet has none.

        Raises:
            DescSpaceError: a family cannot tell.
        """
        named = [file for name, file in self.settings if file and "weights" in name]
        entry = None if named else _find_entry(self.name)
        if entry is not None and entry.weights_file is not None:
            config: Any = build_config(entry.config, dict(self.settings), where=self.name)
            found = entry.weights_file(config, load=load)
            named += [] if found is None else [found]
            if found is not None and entry.files_beside is not None:
                named += entry.files_beside(found, load=load)
        named += [file for name, file in self.settings if file and name == UPSAMPLER]
        return tuple(FileStamp.of(file) for file in named)


_ENTRIES: dict[str, DescriptorEntry] = {}
_FAMILIES: dict[str, FamilyEntry] = {}
_source: ContextVar[str] = ContextVar("descriptor_source", default=BUILT_IN)


@contextlib.contextmanager
def registering_from(source: str) -> Iterator[None]:
    """Name ``source`` as the origin of all that registers inside the block."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def register_descriptor(
    name: str,
    *,
    title: str,
    config: type,
    summary: str = "",
    by_pair: bool = False,
    weights_page: str = "",
) -> Callable[[Builder], Builder]:
    """Register the decorated builder under ``name``.

    The arguments are those of :class:`DescriptorEntry`.

    Raises:
        ConfigError: the name is taken by another source.
    """

    def register(build: Builder) -> Builder:
        source = _source.get()
        taken = _ENTRIES.get(name)
        if taken is not None and taken.source != source:
            raise ConfigError(name, f"a descriptor of this name exists already ({taken.source})")
        _ENTRIES[name] = DescriptorEntry(
            name, title, summary, config, build, source, by_pair, weights_page=weights_page
        )
        return build

    return register


def register_family(
    name: str,
    *,
    title: str,
    config: type,
    summary: str,
    weights_title: Callable[[ModelName, Any], str],
    models: Callable[[], Iterable[KnownModel]] = tuple,
    opens: tuple[str, ...] = (),
    extra: str = "",
    weights_file: Callable[..., Path | None] | None = None,
    published: Callable[[ModelName], Published | None] | None = None,
    weights_bytes: Callable[[ModelName], int | None] | None = None,
    files_beside: FindsBeside | None = None,
) -> Callable[
    [Callable[[ModelName, Any], DenseDescriptor]], Callable[[ModelName, Any], DenseDescriptor]
]:
    """Register the decorated builder for all models whose names begin with ``name`` and a colon.

    The arguments are those of :class:`FamilyEntry`.
    """

    def register(
        build: Callable[[ModelName, Any], DenseDescriptor],
    ) -> Callable[[ModelName, Any], DenseDescriptor]:
        _FAMILIES[name] = FamilyEntry(
            name,
            title,
            summary,
            config,
            build,
            weights_title,
            models,
            opens,
            extra,
            weights_file,
            published,
            weights_bytes,
            files_beside,
        )
        return build

    return register


@contextlib.contextmanager
def replacing_source(source: str) -> Iterator[None]:
    """Replace the entries of a source; the old ones return if the block fails."""
    _load_builtin()  # inside the block it would register the built-in ones under this source
    before = dict(_ENTRIES)
    for name, entry in before.items():
        if entry.source == source:
            del _ENTRIES[name]
    try:
        with registering_from(source):
            yield
    except BaseException:
        _ENTRIES.clear()
        _ENTRIES.update(before)
        raise


def _load_builtin() -> None:
    """Import the built-in descriptors, and torch with them; costs nothing the second time."""
    importlib.import_module("engine.descriptors.builtin")


def list_descriptors() -> tuple[DescriptorEntry, ...]:
    """All registered descriptors, in order of registration."""
    _load_builtin()
    return tuple(_ENTRIES.values())


def list_families() -> tuple[FamilyEntry, ...]:
    """All families of models, in order of registration."""
    _load_builtin()
    return tuple(_FAMILIES.values())


def _entry(name: str) -> DescriptorEntry:
    """The entry of a registered name, or of a model of a family; KeyError if there is none."""
    entry = _ENTRIES.get(name)
    model = parse_model_name(name) if entry is None else None
    return _ENTRIES[name] if model is None else _model_entry(_FAMILIES[model.family], model)


@functools.lru_cache(maxsize=256)  # what was built is found again by its builder
def _model_entry(family: FamilyEntry, model: ModelName) -> DescriptorEntry:
    build = functools.update_wrapper(functools.partial(family.build, model), family.build)
    return DescriptorEntry(
        str(model),
        f"{family.title} {model.title}",
        family.summary,
        family.config,
        build,
        BUILT_IN,
        weights_title=functools.partial(family.weights_title, model),
        weights_file=None
        if family.weights_file is None
        else functools.partial(family.weights_file, model),
        files_beside=family.files_beside,
    )


def _find_entry(name: str) -> DescriptorEntry | None:
    try:
        return _entry(name)
    except (KeyError, ConfigError):
        return None


def get_descriptor(name: str) -> DescriptorEntry:
    """The entry called ``name``, or of a model of a family.

    Raises:
        ConfigError: there is none; the message lists what there is.
    """
    _load_builtin()
    try:
        return _entry(name)
    except KeyError:
        near = difflib.get_close_matches(name, _ENTRIES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(_ENTRIES)
        file = remembered_plugin(name)
        if file is not None:
            reason = f"there is no {name!r}; it was registered by {file}: add --plugin {file}"
        else:
            families = ", ".join(f"{family}:MODEL" for family in _FAMILIES)
            reason = (
                f"there is no {name!r}; {hint}known: {known}, {families}; one of your own needs "
                "--plugin FILE"
            )
        raise ConfigError("descriptor", reason) from None


def make_spec(name: str, values: Mapping[str, Any] | None = None) -> DescriptorSpec:
    """Check settings and write them down in full.

    Raises:
        ConfigError: unknown descriptor, unknown setting, or a value out of range.
    """
    entry = get_descriptor(name)
    if values and "weights" in values and not entry.takes_weights:
        raise ConfigError("weights", f"{name} takes no weights file")
    config: Any = build_config(entry.config, values or {}, where=name)
    settings = {
        key: tuple(value) if isinstance(value, list) else value  # hashable
        for key, value in config_values(config).items()
    }
    return DescriptorSpec(name=name, settings=tuple(sorted(settings.items())))


def weights_in_use(name: str, values: Mapping[str, Any] | None = None) -> str:
    """Which weights a descriptor really has with these settings, in words.

    The settings class tells it by a property ``weights_file``, as those of networks do that come
    with weights: the file that is read, None for random numbers.

    Returns:
        A file's or a run's name, or the word of :mod:`engine.weight_titles` for shipped weights,
        for random ones, or for a file that has to be chosen; "" for a descriptor that takes none,
        or is not registered yet.
    """
    try:
        entry = _entry(name)
        config: Any = build_config(entry.config, values or {}, where=name)
    except (KeyError, ConfigError):  # which is said where the values are
        return ""
    if entry.weights_title is not None:
        return entry.weights_title(config)
    if not entry.takes_weights:
        return ""
    if config.weights is not None:
        return weights_title(Path(config.weights))
    if not hasattr(config, "weights_file"):
        return NO_WEIGHTS
    return RANDOM_WEIGHTS if config.weights_file is None else SHIPPED_WEIGHTS


def weights_were_found(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a descriptor has weights that a family found for it; answers at once.

    A command line that is to do the same on another computer needs ``--download``.
    """
    if values.get("weights"):
        return False
    try:
        entry = _entry(name)
        if entry.weights_file is None:
            return False
        config = config_values(build_config(entry.config, values, where=name))
        return bool(DescriptorSpec(name, tuple(sorted(config.items()))).weights_stamps())
    except (KeyError, DescSpaceError):  # which is said where the values are
        return False


def build_descriptor(spec: DescriptorSpec) -> DenseDescriptor:
    """Make the descriptor that a spec names.

    Raises:
        ConfigError: the spec does not fit the registered settings.
        WeightsError: its weights cannot be used.
    """
    entry = get_descriptor(spec.name)
    return entry.build(build_config(entry.config, dict(spec.settings), where=spec.name))
