"""Box adherence: which noun a caption names, and whether the judge finds it in the box, on the real example scenes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from pipelines.adherence import found_in_boxes, noun_of
from pipelines.data.regions import Region
from pipelines.data.samples import Sample, import_dataset

SCENES = Path(__file__).parents[1] / "examples" / "data" / "scenes"
NOUNS = ("dog", "hot dog", "tree", "palm tree", "fire", "fire engine", "t-shirt", "star")


@pytest.mark.parametrize(
    ("caption", "noun"),
    [
        ("a dog", "dog"),
        ("A Dog, openmoji", "dog"),
        ("dog", "dog"),
        ("a big red dog with a small dog", "dog"),
        ("a hot dog", "hot dog"),
        ("a palm tree, noto", "palm tree"),
        ("a t-shirt", "t-shirt"),
        ("a fire engine", "fire engine"),
        ("a dog and a tree", None),
        ("a hot dog for a dog", None),
        ("a dogma", None),
        ("a tree-lined street", None),
        ("a starfish", None),
        ("一只狗", None),
        ("", None),
    ],
)
def test_the_noun_of_a_caption(caption: str, noun: str | None) -> None:
    assert noun_of(caption, NOUNS) == noun


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    return import_dataset([SCENES], tmp_path_factory.mktemp("scenes")).samples


def test_what_is_drawn_in_a_box_is_found_there_and_nowhere_else(scenes: tuple[Sample, ...]) -> None:
    """Each layout is looked for in its own picture, in that of another scene, and on empty paper."""
    paper = Image.new("RGB", (128, 128), "white")
    verdicts = []
    for own, other in pairwise(scenes):
        verdicts += found_in_boxes([own.open(), other.open(), paper], own.regions)
    assert all(verdict is not None for verdict in verdicts)
    own_share, other_share, paper_share = (sum(column) / len(verdicts) for column in zip(*verdicts, strict=True))
    assert own_share > 0.9
    assert other_share < 0.2 and paper_share < 0.2


def test_a_box_whose_noun_is_not_known_has_no_verdict(scenes: tuple[Sample, ...]) -> None:
    picture, known = scenes[0].open(), scenes[0].regions[0]
    strange = Region(known.box, "a quux")
    assert found_in_boxes([picture] * 2, (strange, known)) == [None, [True, True]]
    assert found_in_boxes([picture], (strange,)) == [None]
    assert found_in_boxes([picture], ()) == []


def test_a_verdict_does_not_depend_on_the_size_of_the_picture(scenes: tuple[Sample, ...]) -> None:
    picture = scenes[0].open()
    large = picture.resize((512, 512), Image.Resampling.NEAREST)
    assert found_in_boxes([large], scenes[0].regions) == found_in_boxes([picture], scenes[0].regions)


@pytest.mark.parametrize("box", [(0.0, 0.0, 1e-9, 1e-9), (0.9999, 0.0, 1.0, 1.0), (0.5, 0.9999, 0.500001, 1.0)])
def test_a_box_thinner_than_a_pixel_is_looked_at(box: tuple[float, float, float, float]) -> None:
    (verdict,) = found_in_boxes([Image.new("RGB", (128, 128), "white")], (Region(box, "a fox"),))
    assert verdict is not None and len(verdict) == 1
