"""descspace: what its vectors contain, and which members a pair keeps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image as PilImage
from torch import Tensor

from engine.data.pairs import ImagePair
from engine.descriptors import descspace
from engine.descriptors.base import Choice, Member, Part
from engine.descriptors.descspace import (
    BALANCED,
    ROBUST,
    DescSpace,
    DescSpaceConfig,
    DescSpaceFast,
    Look,
    SetPlan,
)
from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.members import make_view, member_matrix
from engine.descriptors.networks import make_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.shared_plane import SharedViews
from engine.descriptors.tensors import to_luminance
from engine.descriptors.vote import MemberPoints, Vote
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import sample_map, warp_images
from engine.images import write_image
from engine.inspection.requests import MatchRequest, Recipe
from engine.inspection.session import Session
from engine.progress import JobContext
from engine.vocabulary import Side

PHOTOS = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def network() -> DescSpaceNetwork:
    return make_network(DescSpaceNetwork, None)


def photo(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def describe(network: DescSpaceNetwork, images: Tensor, **shares: float) -> Tensor:
    wider = DescSpaceConfig(**shares).wider
    with torch.inference_mode():
        (level,) = DescSpaceFast(network, None, wider=wider).describe(images)
    return level.values[0].flatten(1)


def test_similarity_is_the_mean_of_near_and_wider_surroundings(network: DescSpaceNetwork):
    images = photo(96, 120)
    near = describe(network, images, half_share=0, quarter_share=0)
    all_three = describe(network, images, half_share=0.3, quarter_share=0.1)
    assert (len(near), len(all_three)) == (128, 384)
    expected = 0.6 * near.T @ near
    ys, xs = torch.meshgrid(4.0 * torch.arange(24), 4.0 * torch.arange(30), indexing="ij")
    places = torch.stack([xs, ys], dim=-1).view(1, -1, 2)
    # The wider parts, by another way: small images described, and their maps read at the cells.
    for scale, share in ((0.5, 0.3), (0.25, 0.1)):
        with torch.inference_mode():
            small = network(make_view(to_luminance(images)[:, None], Member(scale)).images)
        # Pixel x of the image is pixel (x + 0.5) / 2 - 0.5 of its half.
        read = sample_map(small, CellGrid(4.0, 0.0), (places + 0.5) * scale - 0.5)[0]
        wide = torch.nn.functional.normalize(read, dim=1).T
        expected += share * wide.T @ wide
    torch.testing.assert_close(all_three.T @ all_three, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("half_share", "quarter_share", "expected"),
    [(0.0, 0.0, (128, 16)), (0.3, 0.0, (256, 32)), (0.0, 0.2, (256, 64)), (0.3, 0.2, (384, 64))],
)
def test_what_has_no_share_is_not_described(
    half_share: float, quarter_share: float, expected: tuple[int, int], network: DescSpaceNetwork
):
    wider = DescSpaceConfig(half_share=half_share, quarter_share=quarter_share).wider
    made = DescSpaceFast(network, None, wider=wider)
    assert (made.dim, made.shift_period_px) == expected


def test_a_wide_member_is_described_more_by_its_surroundings(network: DescSpaceNetwork):
    """Three tenths of what the near ones count, .5, go to the others, which have .3 and .2."""
    images, plan = photo(96, 120), SetPlan(asking_a=((0.5, 0.5),), given_away=0.3)
    descriptor = DescSpace(network, None, wider=DescSpaceConfig().wider, plan=plan)
    with torch.inference_mode():
        usual, wide = descriptor.describe_members(
            images, (Member(), Member(wide=True)), None, lambda: None
        )
    assert (usual.member, wide.member) == (Member(), Member(wide=True))
    assert usual.grid == wide.grid
    for made, shares in ((usual, (0.3, 0.2)), (wide, (0.39, 0.26))):
        expected = describe(network, images, half_share=shares[0], quarter_share=shares[1])
        torch.testing.assert_close(made.values[0].flatten(1), expected, atol=1e-5, rtol=0)


# ---- what a pair keeps --------------------------------------------------------------------------

PLAN = SetPlan(asking_a=((0.5, 0.5),), kept=3, least=0.3)


def looks(agreeing: list[int], *, spread_px: float = 24.0) -> tuple[Look, Look]:
    """Looks at a pair in which so many points agree under each turn of image a.

    Their movements differ by up to ``spread_px``, in pixels of image b as it was.
    """
    points, grey = 100, torch.zeros(1, 1, 16, 16)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(points, 32, generator=generator), dim=1)
    places = 80 * torch.rand(points, 2, generator=generator)
    far = 100.0 * torch.arange(1.0, points + 1)[:, None]
    asking = []
    for turn, count in enumerate(agreeing):
        moved = places + spread_px / 2 * torch.rand(points, 2, generator=generator)
        moved[count:] -= far[count:]  # each its own way
        asking.append(MemberPoints(Member(0.5, turn * 30.0), vectors, moved))
    offering = (MemberPoints(Member(0.5), vectors, places + 30),)
    return Look(grey, places.double(), tuple(asking), ()), Look(grey, places.double(), (), offering)


def turns_kept(
    network: DescSpaceNetwork, plan: SetPlan, agreeing: list[int], *, spread_px: float = 24.0
) -> list[float]:
    descriptor = DescSpace(network, None, wider=(), plan=plan)
    choice = descriptor.choose(*looks(agreeing, spread_px=spread_px))
    return [member.angle_deg for member in choice.members_a]


def test_members_far_behind_the_best_one_are_left_out(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [10, 10, 10, 60, 10, 30, 12]) == [90.0, 150.0]


def test_a_member_that_fits_the_whole_scene_closely_is_kept_alone(network: DescSpaceNetwork):
    agreeing = [10, 60, 10, 30, 10, 12]
    assert turns_kept(network, PLAN, agreeing, spread_px=8.0) == [30.0]
    assert turns_kept(network, PLAN, agreeing, spread_px=24.0) == [30.0, 90.0, 0.0]


def test_surroundings_count_more_where_one_member_fits_the_whole_scene(network: DescSpaceNetwork):
    plan = replace(PLAN, given_away=0.3)
    descriptor = DescSpace(network, None, wider=(), plan=plan)
    for spread_px, wide in ((8.0, True), (24.0, False)):
        choice = descriptor.choose(*looks([10, 60, 10, 30, 10, 12], spread_px=spread_px))
        assert {member.wide for member in (*choice.members_a, *choice.members_b)} == {wide}


def test_images_are_enlarged_where_no_member_fits_and_only_so_far(network: DescSpaceNetwork):
    agreeing = [10, 60, 10, 30, 10, 12]
    for plan, edge_px, spread_px, expected in (
        (PLAN, 16, 24.0, 1.0),
        (replace(PLAN, detail=1.4), 16, 24.0, 1.4),
        (replace(PLAN, detail=1.4), 16, 8.0, 1.0),  # the member that fits is kept alone
        (replace(PLAN, detail=2.0), 640, 24.0, 1.4),
        (replace(PLAN, detail=2.0), 1200, 24.0, 1.0),
    ):
        descriptor = DescSpace(network, None, wider=(), plan=plan)
        look_a, look_b = looks(agreeing, spread_px=spread_px)
        look_a = replace(look_a, grey=torch.zeros(1, 1, 12, edge_px))
        choice = descriptor.choose(look_a, look_b)
        assert [member.scale for member in choice.members_b] == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("edge_px", "area", "largest"), [(16, 100.0, 5.0), (1000, 100.0, 1.0), (16, 6.0, 2.0)]
)
def test_the_views_of_a_pair_are_bounded(
    edge_px: int, area: float, largest: float, network: DescSpaceNetwork
):
    """Of two members that are agreed about, one shows things five times as large as the winner."""
    plan = replace(PLAN, asking_a=((0.5, 0.5), (0.5, 0.1)), kept=8, least=0.01, area=area)
    look_a, look_b = looks([10, 10, 10, 60, 10, 10])
    far = replace(look_b.offering[0], member=Member(0.1))
    descriptor = DescSpace(network, None, wider=(), plan=plan)
    choice = descriptor.choose(
        replace(look_a, grey=torch.zeros(1, 1, 12, edge_px)),
        replace(look_b, offering=(*look_b.offering, far)),
    )
    (member_b,) = choice.members_b
    growths = [member.growth for member in choice.members_a]
    assert max(growths) <= largest * 1.001
    assert max(growths) / member_b.scale == pytest.approx(5.0 if edge_px == 16 else 1.0)
    assert member_b.growth**2 + sum(growth**2 for growth in growths) <= area * 1.001


def test_no_more_members_are_kept_than_planned(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [50, 60, 45, 40, *[5] * 8]) == [30.0, 0.0, 60.0]


def test_fewer_members_are_kept_beside_a_plane(
    network: DescSpaceNetwork, monkeypatch: pytest.MonkeyPatch
):
    seen = Member(angle_deg=7.0, part=Part((8.0, 8.0), (16.0, 16.0)))
    agreeing = [5, 5, 45, 60, 50, 40, *[5] * 6]
    few = replace(PLAN, kept_beside_plane=(1, 2))
    assert turns_kept(network, few, agreeing) == [90.0, 120.0, 60.0]
    descriptor = DescSpace(network, None, wider=(), plan=few)
    votes, _, _ = descriptor.vote(*looks(agreeing))
    for beside_plane, fitted in ((True, votes[:1]), (False, votes[:3])):
        kept = descriptor._keep(votes, votes[:3], weak=False, beside_plane=beside_plane)
        assert kept == [*fitted, *votes[:2]]
    monkeypatch.setattr(
        descspace, "find_shared_views", lambda *_, **__: SharedViews(seen, None, matches=60)
    )
    assert turns_kept(network, few, agreeing) == [90.0, 120.0, 7.0]
    assert turns_kept(network, PLAN, agreeing) == [90.0, 120.0, 60.0, 7.0]


def test_what_is_little_turned_is_described_upright_too(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [10, 60, 10, 10, 10, 12]) == [30.0, 0.0]
    assert turns_kept(network, PLAN, [10, 60, 10, 40, 10, 50]) == [30.0, 150.0, 0.0]  # for a third
    assert turns_kept(network, PLAN, [10, 10, 60, 10, 10, 12]) == [60.0]


def test_where_no_member_stands_out_images_stay_upright(network: DescSpaceNetwork):
    descriptor = DescSpace(network, None, wider=(), plan=PLAN)
    choice = descriptor.choose(*looks([10, 10, 10, 11]))
    assert choice.members_a == choice.members_b == (Member(),)
    assert "turned 90° counter-clockwise; 11 points agree, 10 by chance" in choice.weak_vote
    # With some support, the winner's member is added to the upright one, not put in its place.
    choice = descriptor.choose(*looks([10, 10, 10, 28]))
    assert choice.members_a == (Member(1.0, 90.0), Member())
    assert choice.weak_vote.startswith("Weak vote: b is turned 90° counter-clockwise; 28 points")
    choice = descriptor.choose(*looks([10, 10, 10, 60]))
    assert choice.weak_vote == ""
    assert Member() not in choice.members_a


def test_where_the_winner_is_weak_one_that_contradicts_it_may_win(network: DescSpaceNetwork):
    """Members that are fitted around it are agreed about by more points."""
    descriptor = DescSpace(network, None, wider=(), plan=PLAN)
    look_a, look_b = looks([10, 22, 10, 10, 10, 10, 10, 21])

    def fit(_asker: Look, _other: Look, votes: list[Vote]) -> list[Vote]:
        turned = votes[0].asking.member.angle_deg
        return [replace(votes[0], agreeing=90.0 if turned == 210.0 else 20.0)]

    descriptor._fit_parts = fit  # type: ignore[method-assign]
    votes, fine, support = descriptor.vote(look_a, look_b)
    assert votes[0].asking.member.angle_deg == fine[0].asking.member.angle_deg == 210.0
    assert (support.agreeing, support.fitted) == (21.0, 90.0)


def test_where_the_winner_is_weak_what_contradicts_it_does_not_lead_its_fits(
    network: DescSpaceNetwork,
):
    descriptor = DescSpace(network, None, wider=(), plan=PLAN)
    led: list[list[float]] = []

    def fit(_asker: Look, _other: Look, votes: list[Vote]) -> list[Vote]:
        turns = [vote.asking.member.angle_deg for vote in votes[:3]]
        led.append(turns)
        return [replace(votes[0], agreeing=90.0 if turns == [30.0, 60.0, 0.0] else 20.0)]

    descriptor._fit_parts = fit  # type: ignore[method-assign]
    votes, fine, support = descriptor.vote(*looks([13, 22, 14, 10, 10, 10, 20, 19]))
    assert led == [[30.0, 180.0, 210.0], [30.0, 60.0, 0.0]]
    assert votes[0].asking.member.angle_deg == fine[0].asking.member.angle_deg == 30.0
    assert (support.agreeing, support.fitted) == (22.0, 90.0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([10, 10, 10, 28], [10, 60, 10, 10], 30.0),  # turned by 30° in the second look
        ([10, 10, 10, 28], [10, 18, 10, 10], 90.0),
        ([10, 10, 10, 60], None, 90.0),  # sure at once
    ],
)
def test_a_vote_that_is_not_sure_is_held_again(
    network: DescSpaceNetwork, first: list[int], second: list[int] | None, expected: float
):
    descriptor = DescSpace(network, None, wider=(), plan=replace(PLAN, sure=0.9))

    def look(_grey: Tensor, side: Side, _check: object, *, closely: bool) -> Look:
        assert closely
        assert second is not None, "nobody asked for this"
        return replace(looks(second)[side == "b"], closely=True)

    descriptor._look = look  # type: ignore[method-assign]
    choice = descriptor.choose(*looks(first))
    assert choice.members_a[0].angle_deg == expected


def test_a_second_look_compares_mirrored_images_and_wider_surroundings(network: DescSpaceNetwork):
    plan = SetPlan(asking_a=((0.5, 0.5),), turns=2, points=50, flipped=True, sure=1.0)
    descriptor = DescSpace(network, None, wider=(), plan=plan)
    grey = to_luminance(photo(96, 120))[:, None]
    with torch.inference_mode():
        first, second = (
            descriptor._look(grey, "a", lambda: None, closely=closely) for closely in (False, True)
        )
    assert [one.vectors.shape[1] for one in (first.asking[0], second.asking[0])] == [128, 256]
    assert second.closely
    assert torch.equal(first.points_px, second.points_px)


# ---- whether a pair can tell ---------------------------------------------------------------------


def part_of(name: str, rows: slice, columns: slice) -> Tensor:
    pixels = np.asarray(PilImage.open(PHOTOS / name).convert("RGB"))[rows, columns]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None] / 255


def chosen(image_a: Tensor, image_b: Tensor, name: str = "descspace") -> Choice:
    descriptor = build_descriptor(make_spec(name))
    assert isinstance(descriptor, DescSpace)
    with torch.inference_mode():
        look_a = descriptor.look(image_a, "a", lambda: None)
        return descriptor.choose(look_a, descriptor.look(image_b, "b", lambda: None))


def test_a_pair_that_is_turned_round_and_one_that_is_enlarged_get_their_members():
    image = part_of("chelsea.png", slice(60, 220), slice(90, 290))
    choice = chosen(image, image.flip(2, 3))
    assert choice.weak_vote == ""
    assert "turned 180°" in choice.text
    assert all(abs(member.angle_deg - 180) < 10 for member in choice.members_a)
    near = torch.nn.functional.interpolate(
        image[..., 40:120, 50:150], scale_factor=2, mode="bicubic"
    ).clamp(0, 1)
    for one, other, growth in ((image, near, 2.0), (near, image, 0.5)):
        choice = chosen(one, other)
        assert choice.weak_vote == ""
        best, member_b = choice.members_a[0], choice.members_b[0]
        assert best.growth / member_b.scale == pytest.approx(growth, rel=0.1)
        # Both are also shown cut to what the near one shows.
        cut = choice.members_a[-1] if growth > 1 else choice.members_b[-1]
        assert cut.part is not None
        shown = [edge * cut.scale / (2.0 if growth > 1 else 1.0) for edge in cut.part.size]
        assert shown == pytest.approx([100 * member_b.scale, 80 * member_b.scale], rel=0.05)
        assert cut.part.middle_px == pytest.approx((99.5, 79.5), abs=3)
        assert len(choice.members_b) == (1 if growth > 1 else 2)


def test_a_plane_that_leans_is_also_seen_in_perspective():
    image_a = part_of("coffee.png", slice(0, 399), slice(0, 599))
    matrix = torch.tensor([[0.8, 0.1, 20.0], [-0.1, 0.9, 30.0], [-8e-4, 2e-4, 1.0]]).double()
    image_b = warp_images(image_a, matrix[None], (500, 400), outside="edge")
    choice = chosen(image_a, image_b)
    assert re.search(r"; \d+ matches lie on a plane, which is also compared", choice.text)
    seen, scale_b = choice.members_a[-1], choice.members_b[0].scale
    assert seen.part is not None
    to_view, _ = member_matrix(seen, (599, 399))
    places = torch.tensor([[x, y, 1.0] for x in (50, 200, 330) for y in (60, 300)]).double()
    there, true = (places @ one.T for one in (to_view, matrix))
    expected = (true[:, :2] / true[:, 2:] + 0.5) * scale_b - 0.5
    off_px = (there[:, :2] / there[:, 2:] - expected) / scale_b
    assert float(off_px.norm(dim=1).max()) < 4


def test_a_plane_is_measured_again_by_what_was_seen_of_it():
    """More points find their places in the right perspective, so the plane is more precise."""
    image_a = part_of("coffee.png", slice(0, 399), slice(0, 599))
    matrix = torch.tensor([[0.8, 0.1, 20.0], [-0.1, 0.9, 30.0], [-8e-4, 2e-4, 1.0]]).double()
    image_b = warp_images(image_a, matrix[None], (500, 400), outside="edge")
    network = make_network(DescSpaceNetwork, DescSpaceConfig().weights_file)
    descriptor = DescSpace(network, None, wider=(), plan=BALANCED)
    matches, off_px = [], []
    with torch.inference_mode():
        look_a = descriptor.look(image_a, "a", lambda: None)
        look_b = descriptor.look(image_b, "b", lambda: None)
    for again in (False, True):
        descriptor.plan = replace(BALANCED, plane_again=again)
        with torch.inference_mode():
            choice = descriptor.choose(look_a, look_b)
        matches.append(int(re.search(r"; (\d+) matches lie", choice.text).group(1)))
        to_view, _ = member_matrix(choice.members_a[-1], (599, 399))
        places = torch.tensor([[x, y, 1.0] for x in (50, 200, 330) for y in (60, 300)]).double()
        there, true = (places @ one.T for one in (to_view, matrix))
        expected = (true[:, :2] / true[:, 2:] + 0.5) * choice.members_b[0].scale - 0.5
        off_px.append(float((there[:, :2] / there[:, 2:] - expected).norm(dim=1).mean()))
    assert matches[1] > 1.2 * matches[0]
    assert off_px[1] < off_px[0]


def test_images_that_have_nothing_in_common_are_compared_as_they_are():
    image_a = part_of("chelsea.png", slice(60, 220), slice(90, 290))
    image_b = part_of("coffee.png", slice(100, 260), slice(200, 400))
    choice = chosen(image_a, image_b)
    (member_b,) = choice.members_b
    assert member_b in choice.members_a  # the same size on both sides, upright
    found = re.search(
        r"(\d+) points agree, (\d+) by chance; right with .* of (\d+) %", choice.weak_vote
    )
    assert found is not None
    agreeing, chance, percent = map(int, found.groups())
    assert agreeing > chance
    assert percent < 70  # less than a vote is trusted from


@pytest.mark.parametrize("name", ["descspace", "descspace-robust"])
@pytest.mark.parametrize(
    ("picture", "top_px", "left_px", "size_px", "points"),
    [
        ("brick.png", 100, 300, (64, 48), "grid"),
        ("chelsea.png", 100, 200, (20, 20), "grid"),
        ("chelsea.png", 100, 200, (25, 25), "grid"),
        ("chelsea.png", 100, 180, (80, 64), "grid"),  # here the vote knows
        (
            "coffee.png",
            60,
            80,
            (64, 48),
            "harris",
        ),  # corners beyond the upright member's last cells
    ],
)
def test_a_small_picture_is_found_again_in_itself(
    tmp_path, picture, top_px, left_px, size_px, points, name
):
    width, height = size_px
    image = part_of(picture, slice(top_px, top_px + height), slice(left_px, left_px + width))
    path = tmp_path / "a.png"
    write_image(path, (255 * image[0].permute(1, 2, 0)).round().byte().numpy())
    recipe = Recipe(spec=make_spec(name), device="cpu")
    request = MatchRequest(pair=ImagePair(path, path), recipe=recipe, points=points, count=240)
    table = Session().match(request, JobContext())
    assert table.textured.sum() > 0.8 * len(table.textured)
    off_px = np.abs(table.points_b - table.points_a).max(axis=1)
    assert off_px[table.textured].max() <= 2  # half a cell of the network


def test_a_scene_that_leans_by_parts_is_described_by_members_that_fit_them():
    """One half of the scene is squeezed to half its width, the other one is drawn wider."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 3, 30, 40, generator=generator)
    image_a = torch.nn.functional.interpolate(coarse, size=(240, 320), mode="bicubic").clamp(0, 1)
    squeezed = torch.nn.functional.avg_pool2d(image_a[..., :160], (1, 2))
    wider = torch.nn.functional.interpolate(image_a[..., 160:], (240, 208), mode="bilinear")
    image_b = torch.cat([squeezed, wider], dim=3)
    descriptor = build_descriptor(make_spec("descspace-robust"))
    assert isinstance(descriptor, DescSpace)
    with torch.inference_mode():
        looks = (descriptor.look(image, side, lambda: None)
                 for image, side in ((image_a, "a"), (image_b, "b")))  # fmt: skip
        choice = descriptor.choose(*looks)
    matrices = [member_matrix(one, (320, 240))[0][:2, :2] for one in choice.members_a]
    scale_b = choice.members_b[0].scale
    for growth in (0.5, 1.3):
        truth = torch.diag(torch.tensor([growth, 1.0]))
        off = min(float((one / scale_b - truth).abs().max()) for one in matrices)
        assert off < 0.1
    assert len(choice.members_a) <= ROBUST.parts + ROBUST.kept_beside


@pytest.mark.parametrize("flipped", [False, True])
def test_what_the_look_described_is_not_described_again(network: DescSpaceNetwork, flipped: bool):
    """The image as it is, and at half size; a quarter, and an enlarged image, the look lacks."""
    described: list[tuple[int, ...]] = []
    handle = network.register_forward_hook(lambda _, args, __: described.append(args[0].shape[2:]))
    plan = SetPlan(asking_a=((0.5, 0.5), (0.5, 1.0)), turns=2, points=50, flipped=flipped)
    descriptor = DescSpace(network, None, wider=DescSpaceConfig().wider, plan=plan)
    images, members = photo(96, 120), (Member(), Member(1.5))
    with torch.inference_mode():
        look = descriptor.look(images, "b", lambda: None)
        described.clear()
        reused = descriptor.describe_members(images, members, look, lambda: None)
        upright = [(24, 30), (144, 180), (72, 90), (36, 45)]
        # The last column of a mirrored image is the first cell's.
        mirrored = [(96, 121), (48, 61), (24, 33), (144, 181), (72, 93), (36, 45)]
        assert sorted(described) == sorted([*upright, *(mirrored if flipped else [])])
        made = descriptor.describe_members(images, members, None, lambda: None)
    handle.remove()
    for one, other in zip(reused, made, strict=True):
        assert torch.equal(one.values, other.values)
        assert (one.grid, one.member) == (other.grid, other.member)
