"""Names of models: family, model, layers."""

import pytest

from engine.descriptors.model_names import ModelName, parse_model_name
from engine.descriptors.registry import get_descriptor, list_families, make_spec, weights_in_use
from engine.errors import ConfigError
from engine.weight_titles import RANDOM_WEIGHTS


@pytest.mark.parametrize(
    ("text", "family", "model", "layers"),
    [
        ("timm:resnet18", "timm", "resnet18", ()),
        ("timm:resnet18@layer3", "timm", "resnet18", ("layer3",)),
        ("timm:vit@8,-1", "timm", "vit", ("8", "-1")),
        ("timm:vit.lvd142m@blocks.3", "timm", "vit.lvd142m", ("blocks.3",)),
        ("onnx:/home/a@b/net.onnx", "onnx", "/home/a@b/net.onnx", ()),
        ("onnx:C:\\nets@home\\net.onnx@features", "onnx", "C:\\nets@home\\net.onnx", ("features",)),
        ("transformers:facebook/dinov2-small@3", "transformers", "facebook/dinov2-small", ("3",)),
        ("timm:local-dir:/nets/x@2", "timm", "local-dir:/nets/x", ("2",)),
    ],
)
def test_a_name_is_taken_apart_and_put_together(
    text: str, family: str, model: str, layers: tuple[str, ...]
) -> None:
    name = parse_model_name(text)
    assert name == ModelName(family, model, layers)
    assert str(name) == text


@pytest.mark.parametrize(
    "text", ["daisy", "C:\\my_network.py", "https://example.org/net", "", "a:b"]
)
def test_other_names_are_not_of_a_family(text: str) -> None:
    assert parse_model_name(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("timm:", "names no model"),
        ("timm:@3", "names no model"),
        ("timm:vit@", "no layer behind"),
        ("timm:vit@3,", "no layer behind"),
        ("timm:vit@3 4", "no layer behind"),
    ],
)
def test_a_part_that_is_missing_is_named(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_model_name(text)


def test_every_model_of_a_family_is_an_entry_and_always_the_same_one() -> None:
    entry = get_descriptor("timm:resnet18@layer3")
    assert entry is get_descriptor("timm:resnet18@layer3")
    assert entry.name == "timm:resnet18@layer3"
    assert "resnet18, layer layer3" in entry.title
    assert entry.takes_weights
    assert "timm" in {family.name for family in list_families()}


def test_an_unknown_family_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"there is no 'tim:resnet18'.*timm:MODEL"):
        get_descriptor("tim:resnet18")


def test_settings_are_checked_before_the_library_is_loaded() -> None:
    spec = make_spec("timm:resnet18", {"untrained": True})
    assert dict(spec.settings)["untrained"] is True
    with pytest.raises(ConfigError, match="facet"):
        make_spec("timm:resnet18", {"facet": "keys"})
    assert weights_in_use("timm:resnet18", {"untrained": True}) == RANDOM_WEIGHTS
    assert weights_in_use("timm:resnet18", {"weights": "/nets/mine.pth"}) == "mine.pth"
