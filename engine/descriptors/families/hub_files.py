"""Where the published weights of a named network lie on this computer.  Nothing here loads them.

Libraries keep what they downloaded in shared places: the Hugging Face hub's cache (``HF_HOME`` or
``HF_HUB_CACHE``, as the hub's own library reads them) and torch's (``TORCH_HOME``).  They are only
looked into, without any network; :mod:`engine.jobs.fetch` adds to them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import torch.hub

from engine.descriptors.families.libraries import FETCHES, use_library
from engine.errors import ConfigError, WeightsError, quoted
from engine.files import parse_json, read_input

CONFIG_FILE: Final = "config.json"

WEIGHTS_FILES: Final = (
    *("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("pytorch_model.bin", "pytorch_model.pth", "model.pth"),
    *("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth"),
)
"""What timm calls the file with the weights in a repository or folder; the first one counts."""

_URL_SHA256: Final = re.compile(r"-([0-9a-f]{8,64})\.")
_SUFFIXES: Final = (".safetensors", ".pth", ".pth.tar", ".pt", ".bin", ".tar", ".ckpt")


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository of models on the Hugging Face hub.

    Attributes:
        name: ``owner/name``.
        revision: branch, tag or commit.
    """

    name: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> HubRepo:
        """From ``owner/name`` or ``owner/name@revision``.

        Raises:
            ConfigError: no repository can have this name, or the hub's library is not installed.
        """
        name, _, revision = text.partition("@")
        _import_hub()
        validate = importlib.import_module("huggingface_hub.utils").validate_repo_id
        try:
            validate(name)
        except ValueError as error:
            raise ConfigError("descriptor", f"{quoted(name)} names no hub repository") from error
        parts = PurePosixPath(revision).parts
        if revision.startswith("/") or "\\" in revision or ".." in parts or "\0" in revision:
            raise ConfigError("descriptor", f"{quoted(revision)} names no revision")
        return cls(name, revision or "main")

    def cached(self, names: Sequence[str]) -> Path | None:
        """The first of some files that is in the hub's cache; None if there is none.

        Args:
            names: paths inside the repository.
        """
        try:
            look_up = _import_hub().try_to_load_from_cache
        except ConfigError:
            return None
        for name in names:
            try:
                found = look_up(self.name, name, revision=self.revision)
            except (OSError, ValueError):  # a cache or a name that cannot be read
                continue
            if isinstance(found, str):
                return Path(found)
        return None

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that somebody published.

    Attributes:
        repo: the hub's repository that has them; None if none does.
        names: how their file may be called there, the best first.
        url: where else they are; "" for nowhere.
        lists: how the list of files may be called in which weights are kept in several parts.
        beside: files of the repository that belong to them; the first one is needed, further ones
            are left out where it lacks them.
        inner: weights of another network inside this one, which are needed, too.
    """

    repo: HubRepo | None = None
    names: tuple[str, ...] = WEIGHTS_FILES
    url: str = ""
    lists: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    inner: Published | None = None

    @property
    def title(self) -> str:
        """What these weights are called."""
        return str(self.repo) if self.repo is not None else PurePosixPath(self._url_path).name

    @property
    def address(self) -> str:
        """Where they are, for people."""
        return f"huggingface.co/{self.repo}" if self.repo is not None else self.url

    @property
    def url_file(self) -> Path | None:
        """Where torch keeps the file of ``url``; None without one that can be read safely."""
        name = PurePosixPath(self._url_path).name
        if not name.endswith(_SUFFIXES):
            return None
        return Path(torch.hub.get_dir()) / "checkpoints" / name

    @property
    def url_sha256(self) -> str:
        """How the SHA-256 of the file of ``url`` begins, as torch's hub names it; "" if unnamed."""
        told = _URL_SHA256.search(PurePosixPath(self._url_path).name)
        return told[1] if told is not None else ""

    @property
    def fetchable(self) -> bool:
        """Whether a download can be checked: the hub tells hashes, elsewhere only a name may."""
        checked = self.repo is not None or bool(self.url_file is not None and self.url_sha256)
        return checked and (self.inner is None or self.inner.fetchable)

    def remedy(self, what: str = "them") -> str:
        """A sentence on how to have the weights, ``what`` being what a download brings."""
        if self.fetchable:
            return f"{FETCHES} {what} from {self.address}."
        return (
            f"Load them yourself from {self.address} and choose that file as its weights: nothing "
            "tells there whether a download is whole."
        )

    def cached(self) -> Path | None:
        """The file on this computer, or the list of its parts; None if anything is not there.

        Raises:
            WeightsError: the list is damaged.
        """
        if self.inner is not None and self.inner.cached() is None:
            return None
        found = None if self.repo is None else self.repo.cached(self.names)
        if found is None and self.repo is not None and self.lists:
            found = self.repo.cached(self.lists)
            if found is not None and not all(
                (found.parent / part).is_file() for part in listed_parts(found)
            ):
                return None
        if found is None:
            found = self.url_file
        return found if found is not None and found.is_file() else None

    @property
    def _url_path(self) -> str:
        return urlsplit(self.url).path


def cached_repos() -> list[str]:
    """The repositories that have anything in the hub's cache, by name.

    Raises:
        ConfigError: the hub's library is not installed.
    """
    _import_hub()
    cache = Path(importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE)
    folders = cache.glob("models--*--*")
    return sorted(one.name.removeprefix("models--").replace("--", "/") for one in folders)


def folder_weights(folder: Path) -> Path | None:
    """The file with the weights in a folder laid out as a repository of the hub.

    Returns:
        None if there is none.

    Raises:
        WeightsError: there are several, none under a name that tells which one is meant.
    """
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    for suffix in _SUFFIXES:
        files = sorted(one for one in folder.glob(f"*{suffix}") if one.is_file())
        if len(files) > 1:
            listed = ", ".join(one.name for one in files[:3])
            raise WeightsError(folder, f"holds several weights files ({listed}); name one of them")
        if files:
            return files[0]
    return None


def listed_parts(path: Path) -> tuple[str, ...]:
    """The names of the files that a list of the parts of weights names, in order.

    Raises:
        WeightsError: it is damaged, or names something else than files beside it.
    """
    try:
        values = parse_json(read_input(path, WeightsError))
    except ValueError as error:
        raise WeightsError(path, f"is damaged or no JSON ({error})") from error
    listed = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise WeightsError(path, "lists no files")
    for one in listed.values():
        try:
            beside = PurePosixPath(safe_file_name(one)).name == one
        except ValueError:
            beside = False
        if not beside:
            raise WeightsError(path, f"lists {quoted(one)}, which is not in its folder")
    return tuple(sorted(set(listed.values())))


def safe_file_name(name: object) -> str:
    """A path inside a repository, if it stays inside.

    Raises:
        ValueError: it does not, or is no path.
    """
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or "\\" in name
        or ":" in name
        or any(part in ("", ".", "..") for part in name.split("/"))
    ):
        raise ValueError(f"{quoted(name)} names no file of a repository")
    return name


def _import_hub() -> Any:
    return use_library("huggingface_hub", extra="timm")
