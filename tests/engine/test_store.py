"""What the session keeps in memory, and what it evicts."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from engine.byte_cache import ByteCache
from engine.data.pairs import ImagePair
from engine.descriptors import registry
from engine.descriptors.registry import DescriptorEntry, DescriptorSpec
from engine.errors import ConfigError
from engine.inspection.requests import Recipe
from engine.inspection.store import MapKey
from engine.paths import FileStamp
from engine.vocabulary import PRECOMPUTED


@dataclass(frozen=True)
class NoSettings:
    pass


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    registry.list_descriptors()  # the built-in ones would refuse to register beside these
    for name in ("plain", PRECOMPUTED):
        entry = DescriptorEntry(name, name, "", NoSettings, lambda config: None, "a test")
        monkeypatch.setitem(registry._ENTRIES, name, entry)


@pytest.fixture
def pair(tmp_path: Path) -> ImagePair:
    for name in ("a.png", "b.png", "w.pth", "a.npy", "b.npy"):
        (tmp_path / name).write_bytes(b"one")
    return ImagePair(tmp_path / "a.png", tmp_path / "b.png")


def size_of(cache: ByteCache) -> int:
    with cache._lock:
        return sum(size for _, size in cache._entries.values())


def touch(path: Path) -> None:
    """Change a file's time of change, as saving it again does."""
    later = path.stat().st_mtime_ns + 5_000_000_000
    os.utime(path, ns=(later, later))


def plain(**settings) -> Recipe:
    return Recipe(spec=DescriptorSpec("plain", tuple(sorted(settings.items()))))


def test_the_least_recently_used_entry_leaves_when_there_is_no_room():
    cache: ByteCache[str, int] = ByteCache(100, keep_at_least=1)
    cache.put("a", 1, 40)
    cache.put("b", 2, 40)
    assert cache.get("a") == 1
    cache.put("c", 3, 40)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert size_of(cache) == 80


def test_an_entry_put_again_counts_once():
    cache: ByteCache[str, int] = ByteCache(100, keep_at_least=1)
    cache.put("a", 1, 60)
    cache.put("a", 2, 70)
    assert size_of(cache) == 70
    assert cache.get("a") == 2


def test_the_latest_entries_stay_even_beyond_the_budget():
    cache: ByteCache[str, int] = ByteCache(10, keep_at_least=2)
    for number, name in enumerate("abc"):
        cache.put(name, number, 1000)
    assert [cache.get(name) for name in "abc"] == [None, 1, 2]


def test_what_is_spare_leaves_first_and_not_at_all_once_it_was_asked_for():
    cache: ByteCache[str, int] = ByteCache(100, keep_at_least=2)
    cache.put("a", 1, 30)
    cache.put("spare 1", 2, 30, spare=True)
    cache.put("spare 2", 3, 30, spare=True)
    assert "spare 1" in cache
    cache.put("b", 4, 30)
    assert ("a" in cache, "spare 1" in cache, "spare 2" in cache) == (True, False, True)
    assert cache.get("spare 2") == 3
    cache.put("c", 5, 30)
    assert ("a" in cache, "spare 2" in cache) == (False, True)


def test_spare_entries_never_push_out_the_pair_that_is_shown():
    cache: ByteCache[str, int] = ByteCache(50, keep_at_least=2)
    cache.put("a", 1, 40)
    cache.put("b", 2, 40)
    for number in range(3):
        cache.put(f"spare {number}", 3, 40, spare=True)
    assert (cache.get("a"), cache.get("b")) == (1, 2)
    assert size_of(cache) == 80


def test_entries_are_dropped_by_their_key():
    cache: ByteCache[str, int] = ByteCache(100, keep_at_least=4)
    for name in ("a1", "a2", "b1"):
        cache.put(name, 0, 1)
    cache.drop(lambda key: key.startswith("a"))
    assert (cache.get("a1"), cache.get("a2"), cache.get("b1")) == (None, None, 0)


def test_an_entry_cannot_be_dropped_while_it_is_looked_up():
    """The key, asked for its hash by the look-up, lets another thread try to drop the entry."""
    cache: ByteCache[object, int] = ByteCache(100, keep_at_least=4)

    class Key:
        looked_up = False
        hashed = 0

        def __hash__(self) -> int:
            self.hashed += self.looked_up
            if self.hashed == 2:  # the entry is found, and about to be marked as used
                thread = threading.Thread(target=cache.drop, args=(lambda key: True,))
                thread.start()
                thread.join(0.2)
            return 7

    key = Key()
    cache.put(key, 1, 10)
    cache.put("newer", 2, 10)
    key.looked_up = True
    assert cache.get(key) == 1


def test_threads_may_use_one_cache_at_once_and_the_budget_holds():
    cache: ByteCache[int, int] = ByteCache(50, keep_at_least=1)
    faults: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for number in range(300):
                cache.put((number * 7 + offset) % 20, number, 10)
                cache.get(number % 20)
                assert size_of(cache) <= 50
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_key_is_the_same_while_nothing_changes_and_differs_per_side(pair):
    assert MapKey.of(pair, "a", plain()) == MapKey.of(pair, "a", plain())
    assert MapKey.of(pair, "a", plain()) != MapKey.of(pair, "b", plain())


def test_one_file_on_both_sides_has_one_key(pair):
    same = ImagePair(pair.path_a, pair.path_a)
    assert MapKey.of(same, "a", plain()) == MapKey.of(same, "b", plain())


def test_a_relative_path_and_its_absolute_one_have_one_key(pair, monkeypatch):
    monkeypatch.chdir(pair.path_a.parent)
    near = ImagePair(Path("a.png"), Path("b.png"))
    assert MapKey.of(near, "a", plain()) == MapKey.of(pair, "a", plain())


@pytest.mark.parametrize(
    "change", [{"long_edge_px": 320}, {"device": "cpu"}, {"precision": "bfloat16"}]
)
def test_another_recipe_has_another_key(pair, change):
    assert MapKey.of(pair, "a", plain()) != MapKey.of(pair, "a", replace(plain(), **change))


def test_a_changed_image_or_weights_file_has_another_key(pair):
    weights = pair.path_a.parent / "w.pth"
    recipe = plain(weights=str(weights))
    before = MapKey.of(pair, "a", recipe)
    touch(weights)
    after_weights = MapKey.of(pair, "a", recipe)
    touch(pair.path_a)
    assert len({before, after_weights, MapKey.of(pair, "a", recipe)}) == 3


def test_a_plugin_that_is_loaded_again_has_another_key(pair, monkeypatch):
    before = MapKey.of(pair, "a", plain())
    again = DescriptorEntry("plain", "", "", NoSettings, lambda config: 1, "a test")
    monkeypatch.setitem(registry._ENTRIES, "plain", again)
    assert MapKey.of(pair, "a", plain()) != before


def test_map_files_matter_to_precomputed_maps_alone_and_to_their_own_side(pair):
    folder = pair.path_a.parent
    files = (folder / "a.npy", folder / "b.npy")
    read = Recipe(spec=DescriptorSpec(PRECOMPUTED), map_files=files)
    before = MapKey.of(pair, "a", read)
    assert MapKey.of(pair, "a", replace(read, long_edge_px=100)) == before
    touch(files[1])
    assert MapKey.of(pair, "a", read) == before
    touch(files[0])
    assert MapKey.of(pair, "a", read) != before
    assert MapKey.of(pair, "a", plain()) == MapKey.of(pair, "a", replace(plain(), map_files=files))


def test_a_key_knows_the_files_it_reads(pair):
    weights = pair.path_a.parent / "w.pth"
    key = MapKey.of(pair, "a", plain(weights=str(weights)))
    assert key.reads(pair.path_a)
    assert key.reads(weights)
    assert not key.reads(pair.path_b)


def test_an_unknown_descriptor_has_no_key(pair):
    with pytest.raises(ConfigError, match="nonesuch"):
        MapKey.of(pair, "a", Recipe(spec=DescriptorSpec("nonesuch")))


def test_a_missing_file_has_a_stamp_that_a_present_one_never_has(tmp_path):
    path = tmp_path / "Ж.png"
    missing = FileStamp.of(path)
    path.write_bytes(b"")
    assert missing.size_bytes == -1
    assert FileStamp.of(path).size_bytes == 0
    assert FileStamp.of("nul\0byte").size_bytes == -1
