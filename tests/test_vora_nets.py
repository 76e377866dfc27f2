"""What makes a language model see: vision embedding, mask, splicing, distillation; on a tiny random Llama."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from pipelines.nets.spliced import PADDING, at, attention_mask, places, see, splice
from pipelines.nets.vision_embedding import DistillHeads, VisionEmbedding, resized
from pipelines.objectives.distillation import cosine_loss, layer_map

HIDDEN, VOCABULARY, TOKENS = 32, 40, 4


def llama(attention: str = "sdpa") -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def embedding() -> VisionEmbedding:
    net = VisionEmbedding(8, 4, 16, HIDDEN)
    net.start(seed=1, scale=1.0)
    return net.eval().requires_grad_(False)


def pictures(count: int, seed: int = 0, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def sequence(*parts: int | str) -> tuple[Tensor, Tensor]:
    """Ids and image numbers (T,) of a row: a number is that many words, "i" a picture."""
    image: list[int] = []
    for part in parts:
        image += [max(image, default=-1) + 1] * TOKENS if part == "i" else [-1] * int(part)
    generator = torch.Generator().manual_seed(len(image))
    ids = torch.randint(VOCABULARY, (len(image),), generator=generator)
    return ids, torch.tensor(image)


def batch(rows: list[tuple[Tensor, Tensor]], left: bool = False) -> tuple[Tensor, Tensor]:
    """Ids and image numbers (B, T) of rows padded to the longest."""
    longest = max(len(ids) for ids, _ in rows)

    def padded(values: Tensor, fill: int) -> Tensor:
        padding = (longest - len(values), 0) if left else (0, longest - len(values))
        return torch.nn.functional.pad(values, padding, value=fill)

    return torch.stack([padded(ids, 0) for ids, _ in rows]), torch.stack([padded(image, PADDING) for _, image in rows])


def vectors_of(model: Any, rows: tuple[Tensor, Tensor], pixels: Tensor) -> Tensor:
    ids, image = rows
    words = model.get_input_embeddings()(ids)
    return splice(words, image, see(embedding(), pixels)) if pixels.shape[1] else words


def states(model: Any, rows: tuple[Tensor, Tensor], pixels: Tensor) -> Tensor:
    """What the last block says at every token (B, T, H)."""
    _, image = rows
    mask = attention_mask(image, model.dtype)
    order = ((image != PADDING).cumsum(1) - 1).clamp_min(0)
    return model.model(
        inputs_embeds=vectors_of(model, rows, pixels), attention_mask=mask, position_ids=order
    ).last_hidden_state


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_picture_sees_itself_whole_and_no_word_sees_ahead(attention: str) -> None:
    model, rows = llama(attention), batch([sequence(3, "i", 5)])
    first = states(model, rows, pictures(1)[None])
    changed = pictures(1)
    changed[:, :, 4:, 4:] += 1  # the last patch
    second = states(model, rows, changed[None])
    moved = (first - second).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False] * 3 + [True] * (TOKENS + 5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_pictures_side_by_side_stay_two(attention: str) -> None:
    model, rows = llama(attention), batch([sequence(1, "i", "i", 2)])
    shown = pictures(2)[None]
    changed = shown.clone()
    changed[0, 1] += 1
    moved = (states(model, rows, shown) - states(model, rows, changed)).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False] * (1 + TOKENS) + [True] * (TOKENS + 2)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_rows_of_a_batch_are_what_they_are_alone(attention: str, left: bool) -> None:
    """Of several lengths, with one picture, two, and none; a row that ends in a picture stands before one that begins
    with one (the released code mixes these up)."""
    model = llama(attention)
    rows = [sequence(2, "i", 3, "i"), sequence("i", 6), sequence(7), sequence(1, "i", 2)]
    pixels = torch.zeros(len(rows), 2, 3, 8, 8)
    for number, (_, image) in enumerate(rows):
        count = int(image.max()) + 1
        pixels[number, :count] = pictures(count, seed=number)
    together = batch(rows, left)
    found = states(model, together, pixels)
    for number, row in enumerate(rows):
        count = int(row[1].max()) + 1
        alone = states(model, batch([row]), pixels[number : number + 1, :count])
        torch.testing.assert_close(found[number][together[1][number] != PADDING], alone[0], rtol=1e-4, atol=1e-5)


def test_a_row_of_words_is_what_the_model_says_without_a_mask() -> None:
    model = llama()
    ids, image = batch([sequence(9)])
    plain = model.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(states(model, (ids, image), torch.zeros(1, 0, 3, 8, 8)), plain)


def test_the_mask_is_never_boolean() -> None:
    _, image = batch([sequence(2, "i", 1), sequence(4)])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        mask = attention_mask(image, dtype)
        assert mask.dtype == dtype and set(mask.unique().tolist()) == {0.0, torch.finfo(dtype).min}


def test_splicing_is_linear_in_the_pictures_and_keeps_words() -> None:
    model, rows = llama(), batch([sequence(2, "i", 1), sequence(6)])
    pixels = torch.stack([pictures(1), torch.zeros(1, 3, 8, 8)]).requires_grad_(True)
    vectors = vectors_of(model, rows, pixels)
    words = model.get_input_embeddings()(rows[0])
    at_words = rows[1] < 0
    assert torch.equal(vectors[at_words], words[at_words])
    assert torch.equal(vectors[0, 2 : 2 + TOKENS], embedding()(pixels[0])[0])
    vectors.square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad[0].abs().max() > 0 and pixels.grad[1].abs().max() == 0


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_decoding_with_a_cache_is_a_full_forward_at_every_step(attention: str) -> None:
    model = llama(attention)
    ids, image = batch([sequence(2, "i", 3), sequence(1, "i", 4)])
    pixels = torch.stack([pictures(1, 1), pictures(1, 2)])
    cache = DynamicCache(config=model.config)
    mask = attention_mask(image, model.dtype)
    vectors = vectors_of(model, (ids, image), pixels)
    said = model(inputs_embeds=vectors, attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1]
    for _ in range(6):
        word = said.argmax(-1, keepdim=True)
        ids = torch.cat([ids, word], 1)
        image = torch.cat([image, torch.full_like(word, -1)], 1)
        whole = model(
            inputs_embeds=vectors_of(model, (ids, image), pixels),
            attention_mask=attention_mask(image, model.dtype),
        ).logits[:, -1]
        said = model(input_ids=word, past_key_values=cache, use_cache=True).logits[:, -1]
        torch.testing.assert_close(said, whole, rtol=1e-4, atol=1e-5)


def test_positions_are_interpolated_in_two_dimensions() -> None:
    """What is learned for columns stays with columns on a grid of another shape."""
    columns = torch.arange(4.0).repeat(4).view(1, 16, 1)
    wide = resized(columns, (4, 4), (2, 8)).view(2, 8)
    assert torch.allclose(wide[0], wide[1]) and bool((wide[0].diff() >= 0).all())
    assert float(wide[0, 0]) == 0 and float(wide[0, -1]) == 3
    small = resized(columns, (4, 4), (2, 2)).view(2, 2)
    assert torch.allclose(small[0], small[1]) and float(small[0, 0]) < float(small[0, 1])
    net = embedding()
    assert net(pictures(2)).shape == (2, 4, HIDDEN)
    assert net(pictures(2, side=16)).shape == (2, 16, HIDDEN)
    with pytest.raises(ValueError, match="multiple"):
        VisionEmbedding(10, 4, 16, HIDDEN)


def test_the_start_depends_on_the_seed_only() -> None:
    torch.manual_seed(5)
    first = embedding()
    torch.manual_seed(6)
    again, other = embedding(), VisionEmbedding(8, 4, 16, HIDDEN)
    other.start(seed=2, scale=1.0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.projection.weight, other.projection.weight)
    big = VisionEmbedding(64, 8, 256, 256)
    big.start(seed=0, scale=0.05)
    with torch.no_grad():
        assert 0.04 < float(big(pictures(4, side=64)).std()) < 0.06


def test_the_distillation_loss_is_the_mean_over_picture_tokens() -> None:
    _, image = batch([sequence(2, "i", 3, "i"), sequence(9), sequence("i", 1)])
    values = torch.randn(3, image.shape[1], 6)
    found, there = places(image, 2 * TOKENS)
    said = at(values, found)
    assert torch.equal(said[0], values[0][image[0] >= 0]) and torch.equal(said[2, :TOKENS], values[2, :TOKENS])
    assert there.sum(1).tolist() == [2 * TOKENS, 0, TOKENS]
    taught = torch.randn(3, 2 * TOKENS, 6)
    taught[2] = 3 * said[2]
    loss = cosine_loss(said, taught, there)
    by_hand = 1 - torch.cosine_similarity(said[0], taught[0], dim=-1)
    torch.testing.assert_close(loss, torch.stack([by_hand.mean(), torch.zeros(()), torch.zeros(())]), atol=1e-6, rtol=0)


def test_blocks_learn_from_blocks_as_deep() -> None:
    assert layer_map(4, 4) == [0, 1, 2, 3]
    assert layer_map(3, 24) == [0, 12, 23] and layer_map(1, 6) == [5]
    assert layer_map(24, 12)[:3] == [0, 0, 1] and layer_map(24, 12)[-1] == 11
    heads = DistillHeads(3, HIDDEN, 5)
    heads.start(seed=0)
    assert [tuple(each.shape) for each in heads([torch.randn(2, 7, HIDDEN)] * 3)] == [(2, 7, 5)] * 3
