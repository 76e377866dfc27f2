"""The scenes of `emoji-mmdit`, and a few steps of its recipe on tiny settings."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from bases.recipes import train_mmdit
from bases.recipes.captions import LENGTH
from bases.recipes.emoji import SIZE, TRAINING_STYLES, Noun, read_nouns
from bases.recipes.loop import Trainer
from bases.recipes.scenes import OVERLAP, PAPERS, World, overlap, scene_caption
from pipelines.data.regions import read_regions
from pipelines.nets.layout_mmdit import LayoutMMDiT

SCENES = 300


@pytest.fixture(scope="module")
def world() -> World:
    """Drawings of known shape: a dark frame around white, wide for one noun, tall for the next."""
    nouns = read_nouns()[:7]
    drawings = np.full((len(nouns), len(TRAINING_STYLES), SIZE, SIZE, 3), 255, np.uint8)
    for index in range(len(nouns)):
        half = (55, 20 + 5 * index)[:: 1 if index % 2 else -1]
        top, left = (SIZE // 2 - side for side in half)
        drawings[index, :, top:-top, left:-left] = (40, 10 * index, 90)
        drawings[index, :, top + 8 : -top - 8, left + 8 : -left - 8] = 255
    return World(drawings, nouns)


def test_a_scene_is_a_function_of_seed_and_number(world: World) -> None:
    again = World(world.drawings, world.nouns)
    for number in range(20):
        assert world.scene(3, number) == again.scene(3, number)
        assert world.draw(world.scene(3, number)).tobytes() == again.draw(again.scene(3, number)).tobytes()
    assert world.scene(3, 0) != world.scene(4, 0) and world.scene(3, 0) != world.scene(3, 1)


def test_things_are_one_to_four_large_enough_and_apart(world: World) -> None:
    scenes = [world.scene(0, number) for number in range(SCENES)]
    assert {len(scene.things) for scene in scenes} == {1, 2, 3, 4}
    assert {scene.style for scene in scenes} == set(TRAINING_STYLES)
    assert {scene.paper for scene in scenes} == {"", *PAPERS}
    for scene in scenes:
        assert len({thing.word for thing in scene.things}) == len(scene.things)
        for number, thing in enumerate(scene.things):
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= SIZE and 0 <= top < bottom <= SIZE
            assert 0.24 <= max(right - left, bottom - top) / SIZE <= 0.91
            assert all(overlap(thing.box, other.box) <= OVERLAP for other in scene.things[:number])


def test_a_box_is_tight_around_what_is_drawn(world: World) -> None:
    alone = [scene for scene in (world.scene(1, number) for number in range(80)) if len(scene.things) == 1]
    assert len(alone) > 10
    for scene in alone:
        pixels = np.asarray(world.draw(scene)).astype(int)
        paper = np.array(PAPERS.get(scene.paper, (255, 255, 255)))
        drawn = np.abs(pixels - paper).max(axis=-1) > 40
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert np.abs(np.subtract(found, scene.things[0].box)).max() <= 1


def test_paper_reaches_the_outline_but_not_enclosed_white() -> None:
    ring = np.full((1, len(TRAINING_STYLES), SIZE, SIZE, 3), 255, np.uint8)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    ring[:, :, (np.hypot(x, y) < 55) & (np.hypot(x, y) > 40)] = 0
    world = World(ring.repeat(4, 0), [Noun(word, "", (), "") for word in ("ring", "hoop", "tyre", "loop")])
    scene = next(s for s in (world.scene(0, i) for i in range(99)) if s.paper == "blue" and len(s.things) == 1)
    picture = world.draw(scene)
    left, top, right, bottom = scene.things[0].box
    assert picture.getpixel((left, top)) == PAPERS["blue"]  # a corner of the box, outside the ring
    assert picture.getpixel(((left + right) // 2, (top + bottom) // 2)) == (255, 255, 255)


def test_regions_are_a_valid_layout(world: World) -> None:
    for number in range(20):
        scene = world.scene(0, number)
        plain = [region.to_dict() for region in scene.regions()]
        assert read_regions(plain, "regions") == scene.regions()
        assert [region["caption"] for region in plain] == [f"a {thing.word}" for thing in scene.things]
        assert np.allclose([region["box"] for region in plain], scene.boxes)


def test_captions_name_everything_and_are_not_cut_off() -> None:
    """With all nouns of the world; the drawings' shapes do not matter here."""
    nouns = read_nouns()
    drawing = np.full((1, 1, SIZE, SIZE, 3), 255, np.uint8)
    drawing[..., 20:-20, 20:-20, :] = 0
    world = World(np.broadcast_to(drawing, (len(nouns), len(TRAINING_STYLES), SIZE, SIZE, 3)), nouns)
    tokenizer = CLIPTokenizer.from_pretrained(train_mmdit.EMOJI_SD / "tokenizer")
    scenes = [world.scene(0, number) for number in range(1500)]
    captions = [scene_caption(scene, random.Random(number)) for number, scene in enumerate(scenes)]
    for scene, caption in zip(scenes, captions, strict=True):
        assert all(thing.word in caption for thing in scene.things)
    assert max(len(ids) for ids in tokenizer(captions).input_ids) <= LENGTH
    assert sum(caption.endswith(scene.style) for scene, caption in zip(scenes, captions, strict=True)) > 1200


@pytest.fixture
def objective(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> train_mmdit.Objective:
    monkeypatch.setattr(train_mmdit, "CHUNK", 4)
    scenes = [world.scene(0, number) for number in range(8)]
    for rank in range(2):
        train_mmdit.encode_scenes(world, scenes, tmp_path, (rank, 2))
    torch.manual_seed(0)
    net = train_mmdit.build_transformer(width=32, blocks=2)
    return train_mmdit.Objective(net, world, scenes, train_mmdit.read_latents(tmp_path, 8), batch=4, rank=0)


def train(objective: train_mmdit.Objective, folder: Path, until: int) -> Trainer:
    """Three steps, killed after `until` of them; a second call goes on from the checkpoint."""

    def loss(step: int) -> torch.Tensor:
        if step == until:
            raise KeyboardInterrupt
        return objective(step)

    torch.manual_seed(0)
    objective.net = train_mmdit.build_transformer(width=32, blocks=2)
    optimizers = train_mmdit.optimizers(objective.net, 1e-3, 1e-2)
    trainer = Trainer(objective.net, folder, optimizers, steps=3, ema=0.9)
    trainer.resume()
    if until < 3:
        with pytest.raises(KeyboardInterrupt):
            trainer.run(loss, rank=0, save_every=1)
    else:
        trainer.run(loss, rank=0, save_every=1)
    return trainer


def test_training_that_was_killed_ends_the_same(objective: train_mmdit.Objective, tmp_path: Path) -> None:
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    whole.mkdir()
    parts.mkdir()
    straight = train(objective, whole, until=3)
    train(objective, parts, until=2)
    resumed = train(objective, parts, until=3)
    for one, other in zip(straight.parameters + straight.average, resumed.parameters + resumed.average, strict=True):
        assert torch.equal(one, other)
    assert any(block.layout_out.weight.any() for block in straight.model.transformer_blocks)


def test_latents_are_made_once_and_belong_to_their_scenes(
    objective: train_mmdit.Objective, world: World, tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert len(before) == 2
    train_mmdit.encode_scenes(world, objective.scenes, tmp_path, (0, 1))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")} == before
    shapes = {latents.shape for latents in objective.latents}
    assert shapes == {(4, 8, 16, 16)} and not np.array_equal(objective.latents[0], objective.latents[1])


def test_a_layout_holds_each_box_with_its_caption(objective: train_mmdit.Objective) -> None:
    layout = objective.regions.layout(objective.scenes)
    for row, scene in enumerate(objective.scenes):
        count = len(scene.things)
        assert layout.present[row].tolist() == [True] * count + [False] * (layout.present.shape[1] - count)
        assert np.array_equal(layout.boxes[row, :count], scene.boxes)
        expected = objective.text([region.caption for region in scene.regions()])[1]
        assert torch.allclose(layout.captions[row, :count], expected, atol=1e-5)


def test_a_share_of_each_batch_goes_without(objective: train_mmdit.Objective) -> None:
    scenes = objective.scenes * 100
    captions, layout, scale = objective.conditions(scenes, random.Random(0))
    silent = torch.tensor([not caption for caption in captions])
    null = ~layout.present.any(dim=1)
    for share in (silent, null, scale == 0):
        assert 0.06 < share.float().mean() < 0.14
    assert 0.02 < (silent & null).float().mean() < 0.08


def test_the_base_is_whole_and_small_files(objective: train_mmdit.Objective, tmp_path: Path) -> None:
    train_mmdit.assemble(objective.net, tmp_path / "base")
    index = json.loads((tmp_path / "base" / "model_index.json").read_text(encoding="utf-8"))
    for part in (name for name, value in index.items() if isinstance(value, list)):
        assert (tmp_path / "base" / part).is_dir(), part
    loaded = LayoutMMDiT.from_pretrained(tmp_path / "base" / "transformer", dtype=torch.float32)
    ours = objective.net.state_dict()
    assert all(torch.equal(value, ours[name].float()) for name, value in loaded.state_dict().items())
    text, pooled = train_mmdit.TextEncoder(tmp_path / "base")(["a fox and a house, noto"])
    assert text.shape == (1, LENGTH, 192) and pooled.shape == (1, 192)
