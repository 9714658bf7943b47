"""Fetch the published weights of named networks; tell where they are.  Loads torch.

Nothing is ever fetched unless the user asks for it, by ``--download``, by the command ``download``
or by a click.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.config import build_config
from engine.data.download import Patience
from engine.data.hub import (
    OFFLINE_REASON,
    HubFile,
    ask_hub,
    download_hub_file,
    download_torch_file,
    offline,
)
from engine.descriptors.families.hub_files import HubRepo, Published, listed_parts
from engine.descriptors.known_models import WeightsState
from engine.descriptors.model_names import ModelName, parse_model_name
from engine.descriptors.registry import FamilyEntry, get_descriptor, list_families
from engine.errors import ConfigError, DownloadError, quoted
from engine.progress import JobContext, Note, Saved

_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWeights:
    """Where the weights of a named network are.

    Attributes:
        state: see :class:`~engine.descriptors.known_models.KnownModel`.
        title: what the weights are called; "" if there are none.
        address: where they can be fetched from; "" if nowhere.
        size_mb: about how much would be fetched; None where that is not known.
    """

    state: WeightsState
    title: str = ""
    address: str = ""
    size_mb: float | None = None


def model_weights_state(name: str) -> ModelWeights:
    """Where the weights of a named network are.  Asks no network, but may load a library.

    Args:
        name: of a descriptor; one that is no model of a family has state "unknown".

    Raises:
        ConfigError: the family knows no such model, or its library is not installed.
        WeightsError: the model's folder or file cannot be used.
    """
    found = _family_of(name)
    if found is None:
        return ModelWeights(state="unknown")
    family, model = found
    published = None if family.published is None else family.published(model)
    address = "" if published is None else published.address
    if _missing(published):
        return ModelWeights(
            state="download" if published is None or published.fetchable else "by-hand",
            title=published.title if published else "",
            address=address,
            size_mb=_size_mb(family, model),
        )
    config: Any = family.config()
    file = None if family.weights_file is None else family.weights_file(model, config, load=True)
    if file is None:
        return ModelWeights(state="none" if family.weights_file is not None else "unknown")
    title = family.weights_title(model, config)
    return ModelWeights(
        state="here" if published is None else "cached", title=title, address=address
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchJob:
    """Fetch the published weights of some named networks.

    Attributes:
        names: of descriptors, such as ``timm:resnet18``.
        patience: with servers.
    """

    names: tuple[str, ...]
    patience: Patience | None = None

    def run(self, context: JobContext) -> tuple[Path, ...]:
        """Fetch what is not on this computer.

        Returns:
            The files with the weights.

        Raises:
            ConfigError: a name means no model, or one whose weights nobody published.
            DownloadError: a server cannot be reached, refuses, or sends something else.
            OutputError: the cache cannot be written, or the disk is too small.
            JobCancelled: what was loaded is kept; the same call continues there.
        """
        return tuple(self._fetch(name, context) for name in self.names)

    def _fetch(self, name: str, context: JobContext) -> Path:
        found = _family_of(name)
        published = None
        if found is not None and found[0].published is not None:
            published = found[0].published(found[1])
        if published is None:
            raise ConfigError("download", f"nobody published weights of {name} for its library")
        file = published.cached()
        if file is not None and not _missing(published):
            context.emit(Note(f"{published.title} is there already; nothing was loaded."))
            return file
        if published.inner is not None and _missing(published.inner):
            self._load(published.inner, context)
        file = self._load(published, context)
        context.emit(Saved(file, f"weights of {name}"))
        return file

    def _load(self, published: Published, context: JobContext) -> Path:
        repo = published.repo
        if repo is None:
            target = published.url_file
            if target is None:
                raise DownloadError(published.url, "is of a format that is not read")
            if not published.url_sha256:
                raise DownloadError(
                    published.url,
                    "tells no hash of its content; load it yourself and name it with --weights",
                )
            if offline():
                raise DownloadError(published.url, OFFLINE_REASON)
            return download_torch_file(
                published.url,
                target,
                context,
                sha256_start=published.url_sha256,
                patience=self.patience,
            )
        files = self._files(published, repo, context)
        size_mb = max(1, round(sum(one.size_bytes for one in files) / _MB))
        context.emit(Note(f"Loading {size_mb} MB from {published.address}."))
        for name in published.beside:
            small = ask_hub(repo.name, repo.revision, (name,), context, patience=self.patience)
            if small is not None:
                download_hub_file(small, context, patience=self.patience)
        paths = [download_hub_file(one, context, patience=self.patience) for one in files]
        return paths[0]

    def _files(
        self, published: Published, repo: HubRepo, context: JobContext
    ) -> tuple[HubFile, ...]:
        """The file with the weights, or the list of its parts and these.

        Raises:
            DownloadError: there is none, or a part is missing.
            WeightsError: the list is damaged.
        """
        patience = self.patience
        found = ask_hub(repo.name, repo.revision, published.names, context, patience=patience)
        if found is not None:
            return (found,)
        listed = ask_hub(repo.name, repo.revision, published.lists, context, patience=patience)
        if listed is None:
            raise DownloadError(published.address, "has no file of weights that is known here")
        files = [listed]
        for name in listed_parts(download_hub_file(listed, context, patience=patience)):
            # Of the same commit: all of them have to be of one training.
            part = ask_hub(repo.name, listed.commit, (name,), context, patience=patience)
            if part is None:
                raise DownloadError(
                    published.address, f"lists {quoted(name)}, but does not have it"
                )
            files.append(part)
        return tuple(files)


def fetch_missing(choices: Iterable[tuple[str, Mapping[str, Any]]], context: JobContext) -> None:
    """Fetch what some descriptors lack with their settings; for ``--download``.

    Args:
        choices: (name, settings) of each; those that need nothing are passed over.
        context: receives progress, and is checked for cancelling.

    Raises:
        DescSpaceError: as :meth:`FetchJob.run`.
    """
    names = []
    for name, values in choices:
        found = _family_of(name)
        if found is None or found[0].published is None:
            continue
        config: Any = build_config(found[0].config, values, where=name)
        if config.weights is None and not getattr(config, "untrained", False):
            names += [name] if _missing(found[0].published(found[1])) else []
    FetchJob(names=tuple(dict.fromkeys(names))).run(context)


def _family_of(name: str) -> tuple[FamilyEntry, ModelName] | None:
    model = parse_model_name(name)
    if model is None:
        return None
    families = {one.name: one for one in list_families()}
    get_descriptor(name)  # which says what there is if it is none of them
    return families[model.family], model


def _missing(published: Published | None) -> bool:
    """Whether some of what was published is not on this computer."""
    if published is None:
        return False
    needed = published.beside[:1]
    if published.repo is not None and needed and published.repo.cached(needed) is None:
        return True
    return published.cached() is None


def _size_mb(family: FamilyEntry, model: ModelName) -> float | None:
    size = None if family.weights_bytes is None else family.weights_bytes(model)
    return None if size is None else size / _MB
