"""One colour scale for all methods, so that strong and weak evidence look different."""

import io

import numpy as np
import pytest
import torch

from fairpool.saliency import saliency_panel

IMAGES = torch.rand(3, 1, 16, 16)
MAPS = {"unconstrained": 5 * torch.randn(3, 16, 16), "fairalm": 0.1 * torch.randn(3, 16, 16)}
TITLES = ["bern\nnegative", "bern\npositive", "$x$ [Basel]"]


def panels(figure):
    """The axes with pictures, by rows."""
    axes = [axis for axis in figure.axes if axis.images]
    return [axes[start : start + 3] for start in range(0, len(axes), 3)]


def test_every_method_has_the_same_colour_limits():
    top, *rows = panels(saliency_panel(IMAGES, MAPS, TITLES))
    assert len(rows) == len(MAPS)
    limits = {axis.images[1].get_clim() for row in rows for axis in row}
    values = np.concatenate([maps.numpy().ravel() for maps in MAPS.values()])
    expected = np.quantile(np.abs(values), 0.99)
    assert limits == {(-expected, expected)}
    assert {axis.images[1].get_cmap().name for row in rows for axis in row} == {"coolwarm"}
    assert all(len(axis.images) == 1 for axis in top)


def test_each_row_shows_its_methods_maps_over_the_same_images():
    top, *rows = panels(saliency_panel(IMAGES, MAPS, TITLES))
    for row, (name, maps) in zip(rows, MAPS.items(), strict=True):
        assert row[0].get_ylabel() == name
        for column, axis in enumerate(row):
            np.testing.assert_array_equal(axis.images[0].get_array(), IMAGES[column, 0])
            np.testing.assert_array_equal(axis.images[1].get_array(), maps[column])
    assert [axis.get_title() for axis in top] == TITLES


def test_maps_without_any_evidence_are_drawn():
    _, row = panels(saliency_panel(IMAGES, {"fairalm": torch.zeros(3, 16, 16)}, TITLES))
    assert row[0].images[1].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize("number", [1, 3])
def test_a_panel_of_any_number_of_images_becomes_a_picture(number):
    figure = saliency_panel(IMAGES[:number], {name: m[:number] for name, m in MAPS.items()}, ["bern"] * number)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")


def test_colour_images_are_drawn_in_colour_and_stretched_alike_in_all_channels():
    images = torch.zeros(3, 3, 16, 16)
    images[:, 0] = torch.linspace(-2, 2, 16)  # red rises from left to right
    top, row = panels(saliency_panel(images, {"fairalm": MAPS["fairalm"]}, TITLES))
    shown = top[0].images[0].get_array()
    assert shown.shape == (16, 16, 3)
    assert shown[0, 0, 0] == 0
    assert shown[0, -1, 0] == 1
    np.testing.assert_array_equal(shown[..., 1], np.full((16, 16), shown[0, 0, 1]))
    np.testing.assert_array_equal(row[0].images[1].get_array(), MAPS["fairalm"][0])
    assert row[0].images[0].get_array().shape == (16, 16)  # grey below the map, whose colours are the evidence
