"""Members fitted to parts of a scene, held against changes of view that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.descriptors.base import Member
from engine.descriptors.local_fits import fit_members
from engine.descriptors.members import member_matrix

SIZE_PX = (640, 480)


def points(count: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return spread * torch.tensor(SIZE_PX, dtype=torch.float64)


def project(matrix: Tensor, points_px: Tensor) -> Tensor:
    moved = torch.cat([points_px, torch.ones(len(points_px), 1)], dim=1).double() @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def linear(member: Member) -> Tensor:
    return member_matrix(member, SIZE_PX)[0][:2, :2]


def test_one_change_everywhere_is_one_member_though_a_third_of_the_matches_is_wrong():
    truth = Member(0.8, 40.0, 2.0, 30.0)
    asked = points(300)
    found = asked @ linear(truth).T + 17
    found[::3] = points(100, seed=1)
    (member,) = fit_members(asked, found, parts=9, size_px=SIZE_PX)
    torch.testing.assert_close(linear(member), linear(truth), atol=0.02, rtol=0)


def test_under_strong_perspective_each_part_has_a_member_of_its_own():
    matrix = torch.tensor([[1.0, 0.1, 5.0], [0.0, 1.0, 3.0], [0.0015, 0.0, 1.0]]).double()
    asked = points(600)
    members = fit_members(asked, project(matrix, asked), parts=9, size_px=SIZE_PX)
    assert len(members) > 2
    for middle in ((100.0, 240.0), (320.0, 240.0), (540.0, 240.0)):
        around = torch.tensor(middle).double() + 0.5 * torch.tensor(
            [[1, 0], [-1, 0], [0, 1], [0, -1]]
        )
        right, left, down, up = project(matrix, around)
        truth = torch.stack([right - left, down - up], dim=1)
        off = [
            torch.linalg.matrix_norm(linear(one) @ torch.linalg.inv(truth) - torch.eye(2), 2)
            for one in members
        ]
        assert min(off) < 0.3


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(points(300) * torch.tensor([1.0, -1.0]), id="mirrored"),
        pytest.param(points(300) * torch.tensor([1.0, 0.05]), id="seen from the edge"),
        pytest.param(torch.zeros(300, 2), id="all in one place"),
        pytest.param(points(300) * 6, id="six times as large"),
        pytest.param(points(300) / 6, id="six times as small"),
    ],
)
def test_what_no_view_can_be_gives_no_member(moved: Tensor):
    assert fit_members(points(300), moved, parts=4, size_px=SIZE_PX) == []


def test_few_matches_give_no_member():
    assert fit_members(points(9), points(9), parts=4, size_px=SIZE_PX) == []
    assert len(fit_members(points(10), points(10), parts=4, size_px=SIZE_PX)) == 1


def test_points_in_one_line_or_one_place_do_no_harm():
    line = torch.linspace(0, 400, 60).double()[:, None].expand(60, 2)
    for asked in (line, line * 0 + 40):
        for member in fit_members(asked, asked + 3, parts=3, size_px=SIZE_PX):
            assert 0 < member.scale < 100
