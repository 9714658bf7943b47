"""PCA colours, held against numpy's SVD and against data with known directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import BasisFileError, OutputError
from engine.matching.colouring import Colouring
from engine.matching.projection import NEUTRAL, PcaBasis, fit_basis, load_basis, project, save_basis


def cloud(generator, count=400, dim=8):
    """Descriptors with clearly different spreads along fixed, tilted directions."""
    spreads = torch.tensor([3.0, 2.0, 1.2, 0.6, 0.3, 0.2, 0.1, 0.05])[:dim]
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
    return torch.randn(count, dim, generator=generator) * spreads @ turn + 0.7


def fit(*maps, sample_limit=10_000):
    return fit_basis(maps, sample_limit=sample_limit, fitted_on="a test")


def test_directions_and_explained_variance_are_those_of_an_svd(generator):
    one, two = cloud(generator), cloud(generator, count=150)
    basis = fit(one, two)
    stacked = torch.cat([one, two]).double().numpy()
    centred = stacked - stacked.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(basis.explained, (singular**2 / (singular**2).sum())[:3], rtol=1e-9)
    cosines = np.abs((basis.components * directions[:3]).sum(axis=1))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-9)
    np.testing.assert_allclose(basis.mean, stacked.mean(axis=0))


def test_the_same_data_gives_the_same_basis_to_the_bit(generator):
    data = cloud(generator, count=3000)
    first, second = fit(data, sample_limit=500), fit(data.clone(), sample_limit=500)
    np.testing.assert_array_equal(first.components, second.components)
    np.testing.assert_array_equal(first.low, second.low)


def test_mirrored_or_slightly_changed_data_keeps_the_signs(generator):
    data = cloud(generator)
    basis = fit(data)
    mirrored = fit(2 * data.mean(0) - data)
    np.testing.assert_allclose(mirrored.components, basis.components, atol=1e-5)
    for _ in range(20):
        shaken = fit(data + 0.02 * torch.randn(data.shape, generator=generator))
        assert ((shaken.components * basis.components).sum(axis=1) > 0.9).all()


def test_two_nearly_equal_large_entries_of_opposite_sign_do_not_flip_a_direction(generator):
    """Where the rule "the largest entry is positive" would flip, the sum of cubes does not."""
    steps = torch.randn(500, 1, generator=generator)
    one = fit(steps * torch.tensor([[0.60, -0.59, 0.40]]))
    two = fit(steps * torch.tensor([[0.59, -0.60, 0.40]]))
    assert one.components[0] @ two.components[0] > 0.99


def test_a_perfectly_balanced_direction_has_a_sign_too(generator):
    steps = torch.randn(500, 1, generator=generator)
    basis = fit(steps * torch.tensor([[1.0, -1.0]]))
    np.testing.assert_allclose(basis.components[0], [0.5**0.5, -(0.5**0.5)])


def test_the_middle_98_percent_of_the_sample_fill_the_colours(generator):
    data = cloud(generator, count=2000)
    basis = fit(data)
    colours = project(basis, data[None])[0]
    assert colours.dtype == np.uint8
    shades = (data.double().numpy() - basis.mean) @ basis.components.T
    for channel in range(3):
        low, high = np.percentile(shades[:, channel], [1, 99])
        inside = (shades[:, channel] > low) & (shades[:, channel] < high)
        expected = 255 * (shades[inside, channel] - low) / (high - low)
        np.testing.assert_allclose(colours[inside, channel], expected, atol=0.51)
        assert (colours[shades[:, channel] > high, channel] == 255).all()
        assert (colours[shades[:, channel] < low, channel] == 0).all()


def test_zero_vectors_are_grey_and_do_not_touch_the_fit(generator):
    data = cloud(generator)
    with_zeros = torch.cat([data, torch.zeros(100, 8)])
    np.testing.assert_array_equal(fit(with_zeros).components, fit(data).components)
    np.testing.assert_array_equal(fit(with_zeros).low, fit(data).low)
    colours = project(fit(data), with_zeros.reshape(10, 50, 8))
    assert (colours.reshape(-1, 3)[400:] == NEUTRAL).all()
    assert colours.reshape(-1, 3)[:400].std() > 20


@pytest.mark.parametrize("dim", [1, 2])
def test_short_descriptors_leave_the_other_colours_neutral(generator, dim):
    data = cloud(generator, dim=dim)
    basis = fit(data)
    colours = project(basis, data[None])
    assert (colours[..., dim:] == NEUTRAL).all()
    assert all(colours[..., channel].std() > 20 for channel in range(dim))
    assert (basis.explained[dim:] == 0).all()
    assert basis.explained.sum() == pytest.approx(1.0)


def test_data_on_a_line_has_one_direction_only(generator):
    line = torch.randn(300, 1, generator=generator) @ torch.tensor([[1.0, 2.0, -0.5, 0.3, 0.1]])
    basis = fit(line + 5)
    np.testing.assert_allclose(basis.explained, [1, 0, 0], atol=1e-9)
    assert (basis.components[1:] == 0).all()
    assert (project(basis, (line + 5)[None])[..., 1:] == NEUTRAL).all()


@pytest.mark.parametrize(
    "map_",
    [torch.zeros(9, 4), torch.zeros(0, 4), torch.ones(9, 4), torch.ones(1, 4)],
    ids=["all zero", "empty", "constant", "single"],
)
def test_a_map_without_variance_is_grey_and_nowhere_nan(map_):
    basis = fit(map_)
    assert np.isfinite(basis.mean).all()
    assert (basis.explained == 0).all()
    assert (project(basis, torch.rand(2, 3, 4)) == NEUTRAL).all()


def test_each_map_adds_at_most_the_limit_to_the_sample():
    """One map lies at 0, the other at 1: the mean tells how many of each were used."""
    small = torch.full((50, 1), 2.0)
    large = torch.full((9000, 1), 1.0)
    assert fit(small, large, sample_limit=150).mean[0] == pytest.approx((50 * 2 + 150) / 200)


def planted(count=4000, dim=6):
    """Descriptors that differ along the axes 4, 0, 3, 1, 5, 2, from most to least."""
    steps = np.random.default_rng(3).uniform(-1, 1, (count, dim))
    values = np.zeros((count, dim), np.float32)
    for spread, axis in zip((6, 5, 4, 3, 2, 1), (4, 0, 3, 1, 5, 2), strict=True):
        values[:, axis] = spread * steps[:, axis]
    return torch.from_numpy(values + 10)


def test_each_planted_component_can_be_shown_in_each_colour_either_way_round():
    data = planted()
    basis = fit_basis([data], sample_limit=10_000, fitted_on="", count=6)
    assert np.abs(basis.components).argmax(axis=1).tolist() == [4, 0, 3, 1, 5, 2]
    assert basis.explained == pytest.approx(np.array([36, 25, 16, 9, 4, 1]) / 91, abs=0.01)
    colours = project(
        basis, data[None], Colouring(components=(5, 1, 1), flipped=(False, False, True))
    )[0].astype(int)
    for channel, axis in enumerate((2, 0, 0)):
        along = data[:, axis].double().numpy()
        low, high = np.percentile(along, [1, 99])
        expected = (255 * (along - low) / (high - low)).clip(0, 255)
        expected = 255 - expected if channel == 2 else expected
        # The fitted directions lean by a few hundredths where the spreads are finite samples.
        assert np.abs(colours[:, channel] - expected).mean() < 12
    assert np.abs(colours[:, 1] + colours[:, 2] - 255).max() <= 1


@pytest.mark.parametrize("inverted", [False, True])
def test_the_foreground_is_where_the_first_component_is_high_or_low(inverted):
    data = planted()
    with_zeros = torch.cat([data, torch.zeros(50, 6)])
    basis = fit_basis([with_zeros], sample_limit=10_000, fitted_on="", count=6)
    # Shown are other components: the mask follows the first one all the same.
    plain = Colouring(components=(1, 2, 3))
    masked = Colouring(components=(1, 2, 3), foreground=0.75, inverted=inverted)
    everything = project(basis, with_zeros[None], plain)[0]
    foreground = project(basis, with_zeros[None], masked)[0]
    scores = (data.double().numpy() - basis.mean) @ basis.components[0]
    place = (scores - basis.low[0]) / (basis.high[0] - basis.low[0])
    shown = (place < 0.75) if inverted else (place >= 0.75)
    clear = np.abs(place - 0.75) > 1e-4
    np.testing.assert_array_equal(
        foreground[:4000][shown & clear], everything[:4000][shown & clear]
    )
    assert (foreground[:4000][~shown & clear] == 0).all()
    assert (foreground[4000:] == 0).all()
    assert 0.2 < shown.mean() < 0.8


def test_a_descriptor_that_is_at_right_angles_to_all_that_is_shown_is_no_zero_vector():
    basis = PcaBasis(
        np.full(5, 0.25), np.eye(5)[:3], np.ones(3) / 3, np.full(3, -1.0), np.full(3, 1.0), ""
    )
    values = torch.zeros(1, 3, 5)
    values[0, 1, 4] = 7.0
    picture = project(basis, values, Colouring(foreground=0.1))[0]
    assert picture.tolist() == [[0, 0, 0], [96, 96, 96], [0, 0, 0]]  # 255 * 0.375


def test_without_a_first_component_all_is_foreground():
    flat = torch.ones(9, 4)
    picture = project(fit(flat), torch.rand(2, 3, 4), Colouring(foreground=0.9))
    assert (picture == NEUTRAL).all()


def test_a_saved_basis_gives_the_same_picture_and_the_same_file_to_the_byte(generator, tmp_path):
    data = cloud(generator)
    basis = fit_basis([data], sample_limit=10_000, fitted_on="two images", count=8)
    save_basis(basis, tmp_path / "one.npz")
    loaded = load_basis(tmp_path / "one.npz", dim=8)
    save_basis(loaded, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    shown = Colouring(components=(7, 0, 3), flipped=(True, False, False), foreground=0.4)
    values = torch.randn(20, 30, 8, generator=generator)
    np.testing.assert_array_equal(project(loaded, values, shown), project(basis, values, shown))


def test_a_basis_of_the_first_format_is_still_read(tmp_path):
    write(tmp_path / "basis.npz", **GOOD)
    assert load_basis(tmp_path / "basis.npz", dim=8).components.shape == (3, 8)


def test_a_basis_survives_its_file(generator, tmp_path):
    basis = fit(cloud(generator))
    path = tmp_path / "Größe ✓.npz"
    save_basis(basis, path)
    loaded = load_basis(path, dim=8)
    for name in ("mean", "components", "explained", "low", "high"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(basis, name))
    assert loaded.fitted_on == "a test"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_basis_for_other_descriptors_is_refused_with_both_lengths(generator, tmp_path):
    path = tmp_path / "basis.npz"
    save_basis(fit(cloud(generator)), path)
    with pytest.raises(BasisFileError, match="length 8, and these have length 128") as caught:
        load_basis(path, dim=128)
    assert str(path) in str(caught.value)


def test_a_missing_folder_is_an_output_error(generator, tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        save_basis(fit(cloud(generator)), tmp_path / "nowhere" / "basis.npz")


def write(path, **entries):
    np.savez(path, **entries)


GOOD = {
    "format": np.array(1),
    "mean": np.zeros(8),
    "components": np.zeros((3, 8)),
    "explained": np.zeros(3),
    "low": np.zeros(3),
    "high": np.ones(3),
    "fitted_on": np.array("x"),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": np.array(3)}, "another version"),
        ({"format": np.array([1, 1])}, "another version"),
        ({"components": np.zeros((2, 8))}, "components"),
        ({"format": np.array(2), "components": np.zeros((2, 8))}, "components"),
        ({"format": np.array(2), "components": np.zeros((5, 8))}, "explained"),
        ({"format": np.array(2), "components": np.array(1.0)}, "components"),
        ({"components": np.zeros((3, 8), int)}, "components"),
        ({"mean": np.array(0.0)}, "mean"),
        ({"mean": np.full(8, np.nan)}, "mean"),
        ({"high": np.array([1, np.inf, 1])}, "high"),
        ({"mean": np.array([None] * 8)}, "not a saved PCA basis"),
        ({"low": None}, "lacks low"),
    ],
)
def test_a_file_that_is_not_a_whole_basis_is_refused_with_the_reason(tmp_path, change, reason):
    entries = {name: value for name, value in (GOOD | change).items() if value is not None}
    write(tmp_path / "basis.npz", **entries)
    with pytest.raises(BasisFileError, match=reason):
        load_basis(tmp_path / "basis.npz", dim=8)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short", None, "npy", "folder"])
def test_any_other_file_is_refused_as_a_basis(tmp_path, content):
    path = tmp_path / "basis.npz"
    if content == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(BasisFileError, match=r"basis\.npz"):
        load_basis(path, dim=8)


def test_a_basis_file_cut_anywhere_is_refused(generator, tmp_path):
    path = tmp_path / "basis.npz"
    save_basis(fit(cloud(generator)), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(BasisFileError):
            load_basis(path, dim=8)
