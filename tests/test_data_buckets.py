"""Sizes, crops, tensors, and the order of batches."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.data.batches import batches_per_epoch, plan, split_validation
from pipelines.data.buckets import bucket_for, crop_box, fit, move_regions, to_tensor
from pipelines.data.regions import Region

SHAPES = [(w, h) for w in (17, 64, 100, 333, 640, 1000, 4000) for h in (16, 64, 90, 480, 1000, 3999)]


@pytest.mark.parametrize("multiple", [8, 16, 64])
@pytest.mark.parametrize("resolution", [128, 256, 512, 1024])
def test_buckets_keep_area_multiples_and_limits(resolution: int, multiple: int) -> None:
    for width, height in SHAPES:
        w, h = bucket_for(width, height, resolution, multiple, True)
        assert w % multiple == h % multiple == 0
        assert 0.8 <= w * h / resolution**2 <= 1.25
        assert 1 / 3 <= w / h <= 3
        assert (h, w) == bucket_for(height, width, resolution, multiple, True)
        assert bucket_for(width, height, resolution, multiple, False) == (resolution, resolution)
        if multiple * 8 <= resolution and 1 / 2.5 < width / height < 2.5:
            assert abs(math.log(w / h * height / width)) < 0.25


def test_square_pictures_get_the_square_and_coarse_multiples_are_kept() -> None:
    assert bucket_for(77, 77, 512, 8, True) == (512, 512)
    assert bucket_for(500, 505, 512, 8, True) == (512, 512)
    assert bucket_for(3000, 2000, 64, 64, True) == (64, 64)
    assert bucket_for(10, 10, 64, 128, True) == (128, 128)


def test_crop_box_is_centred_and_has_the_shape_of_the_bucket() -> None:
    assert crop_box(200, 100, (64, 64)) == (50, 0, 150, 100)
    for width, height in SHAPES:
        bucket = bucket_for(width, height, 128, 8, True)
        left, top, right, bottom = crop_box(width, height, bucket)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (right - left) / (bottom - top) == pytest.approx(bucket[0] / bucket[1])
        assert left == pytest.approx(width - right) and top == pytest.approx(height - bottom)
        assert left == pytest.approx(0, abs=1e-6) or top == pytest.approx(0, abs=1e-6)


def test_fit_shows_what_the_crop_box_says() -> None:
    picture = Image.new("RGB", (300, 100), "blue")
    picture.paste("red", (120, 0, 150, 100))
    left, _, right, _ = crop_box(300, 100, (64, 64))
    pixels = np.asarray(fit(picture, (64, 64)))
    assert pixels.shape == (64, 64, 3)
    begin, end = (64 * (x - left) / (right - left) for x in (120, 150))
    red = pixels[32, :, 0] > 128
    assert abs(red.argmax() - begin) <= 1 and abs(red.sum() - (end - begin)) <= 1
    assert (np.asarray(fit(picture, (64, 64), flip=True)) == pixels[:, ::-1]).all()
    assert fit(picture, (200, 104)).size == (200, 104)


def test_to_tensor_is_float_between_minus_one_and_one() -> None:
    picture = Image.new("RGB", (24, 16), (0, 255, 0))
    picture.putpixel((5, 3), (255, 0, 51))
    tensor = to_tensor(picture)
    assert tensor.shape == (3, 16, 24) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert tensor[:, 0, 0].tolist() == [-1, 1, -1]
    assert torch.allclose(tensor[:, 3, 5], torch.tensor([1.0, -1.0, -0.6]))


WIDE, TALL, SQUARE = (160, 104), (104, 160), (128, 128)
SIZES = [SQUARE] * 7 + [WIDE] * 4 + [TALL]


def test_an_epoch_holds_every_sample_in_batches_of_one_bucket() -> None:
    count = batches_per_epoch(SIZES, 4)
    assert count == 2 + 1 + 1
    for epoch in range(3):
        batches = [plan(SIZES, 4, 0, epoch * count + i) for i in range(count)]
        assert all(len(batch) == 4 for batch in batches)
        assert all(len({SIZES[index] for index, _ in batch}) == 1 for batch in batches)
        seen = Counter(index for batch in batches for index, _ in batch)
        assert set(seen) == set(range(12))
        assert sorted(seen.values()) == [1] * 10 + [2, 4]


def test_rows_of_a_batch_have_names_of_their_own() -> None:
    assert plan([SQUARE], 3, 0, 5) == [(0, 0), (0, 1), (0, 2)]
    for step in range(20):
        rows = plan(SIZES, 5, 1, step)
        assert len(set(rows)) == 5
        for index in {index for index, _ in rows}:
            assert sorted(o for i, o in rows if i == index) == list(range(sum(i == index for i, _ in rows)))


def test_plan_depends_on_seed_and_step_only() -> None:
    steps = [plan(SIZES, 4, 3, step) for step in range(12)]
    assert [plan(tuple(SIZES), 4, 3, step) for step in reversed(range(12))] == steps[::-1]
    assert steps != [plan(SIZES, 4, 4, step) for step in range(12)]
    assert steps[:4] != steps[4:8]
    steps[0].clear()
    assert len(plan(SIZES, 4, 3, 0)) == 4


def test_plan_without_samples_is_an_error() -> None:
    for arguments in (([], 4), (SIZES, 0)):
        with pytest.raises(ValueError, match="expected at least 1"):
            plan(*arguments, 0, 0)


def test_validation_split_is_stable_and_never_empty_or_everything() -> None:
    ids = [f"{i:016x}" for i in range(400)]
    train, held = split_validation(ids, 10, 0)
    assert sorted(train + held) == list(range(400))
    assert 20 <= len(held) <= 60
    fewer_train, _ = split_validation(ids[:300], 10, 0)
    assert fewer_train == [i for i in train if i < 300]
    assert split_validation(ids, 10, 1)[1] != held
    assert split_validation(ids, 0, 0) == (list(range(400)), [])
    assert split_validation(ids[:1], 50, 0) == ([0], [])
    assert split_validation([], 50, 0) == ([], [])
    for seed in range(30):
        for percent in (0.001, 50, 100):
            train, held = split_validation(ids[:2], percent, seed)
            assert len(train) == len(held) == 1


def test_boxes_move_with_the_pixels() -> None:
    """A coloured block in a picture, and its box, cropped, resized and mirrored: the box is around the block still."""
    for size, bucket in (((200, 100), (64, 64)), ((90, 160), (96, 64)), ((64, 64), (64, 64))):
        width, height = size
        pixels = np.zeros((height, width, 3), np.uint8)
        left, top, right, bottom = width // 3, height // 3, width // 2, height // 2
        pixels[top:bottom, left:right] = 255
        region = Region((left / width, top / height, right / width, bottom / height), "a block")
        for flip in (False, True):
            shown = np.asarray(fit(Image.fromarray(pixels), bucket, flip))[..., 0] > 127
            (moved,) = move_regions([region], size, bucket, flip)
            rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
            seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            told = [share * bucket[i % 2] for i, share in enumerate(moved.box)]
            assert np.abs(np.subtract(told, seen)).max() <= 1 and moved.caption == "a block"


def test_boxes_are_cut_at_the_edge_of_the_crop_and_leave_with_what_they_hold() -> None:
    half = Region((0.0, 0.0, 0.5, 1.0), "the left half")
    sliver = Region((0.0, 0.2, 0.28, 0.8), "hardly seen")
    outside = Region((0.0, 0.0, 0.2, 1.0), "gone")
    whole = Region((0.0, 0.0, 1.0, 1.0), "all")
    found = move_regions([half, sliver, outside, whole], (200, 100), (64, 64))
    assert [region.caption for region in found] == ["the left half", "all"]
    assert found[0].box == pytest.approx((0, 0, 0.5, 1)) and found[1].box == (0, 0, 1, 1)
    kept = (half, sliver)
    assert move_regions(kept, (300, 300), (64, 64)) == kept
