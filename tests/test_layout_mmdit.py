"""The layout MM-DiT: stock SD3 when there are no boxes, and what boxes may and may not change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.nets.layout_mmdit import Layout, LayoutMMDiT, from_creatilayout
from tests.tiny import SD35, open_branch, tiny_mmdit

WIDTH = 12  # of the region captions: neither the pooled text's nor the net's
OFF_BY_ORDER = 1e-5  # float32 sums over keys in another order


@pytest.fixture(scope="module", params=[{}, SD35], ids=["SD3", "SD3.5"])
def stock(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return tiny_mmdit(**request.param)


@pytest.fixture(scope="module")
def net(stock: nn.Module) -> LayoutMMDiT:
    """A net whose branch has an effect."""
    return open_branch(LayoutMMDiT.from_stock(stock, WIDTH))


def inputs(rows: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, text, pooled text and timesteps."""
    generator = torch.Generator().manual_seed(2)
    shapes = ((rows, 4, 8, 8), (rows, 5, 24), (rows, 20))
    latents, text, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    return latents, text, pooled, torch.linspace(1, 1000, rows)


def layout(present: list[list[int]]) -> Layout:
    generator = torch.Generator().manual_seed(3)
    mask = torch.tensor(present).bool()
    corner = torch.rand(*mask.shape, 2, generator=generator) * 0.5
    captions = torch.randn(*mask.shape, WIDTH, generator=generator)
    return Layout(torch.cat([corner, corner + 0.4], dim=-1), captions, mask)


BOXES = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


@torch.no_grad()
def draw(net: nn.Module, *more: object, **named: object) -> Tensor:
    return net(*inputs(), *more, **named).sample


def distance(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


def test_stock_weights_load_unchanged(stock: nn.Module) -> None:
    net = LayoutMMDiT.from_stock(stock, WIDTH)
    ours, theirs = net.state_dict(), stock.state_dict()
    assert theirs.keys() <= ours.keys() and all(torch.equal(ours[name], value) for name, value in theirs.items())
    own = ours.keys() - theirs.keys()
    assert own and all("layout" in name for name in own)


def test_a_fresh_branch_changes_nothing(stock: nn.Module) -> None:
    assert torch.equal(draw(LayoutMMDiT.from_stock(stock, WIDTH).eval(), layout(BOXES)), draw(stock))


def test_nothing_before_a_zero_output_learns(stock: nn.Module, net: LayoutMMDiT) -> None:
    """Why an adapter on the layout MLPs wants a base whose branch is trained."""
    for one, learns in ((LayoutMMDiT.from_stock(stock, WIDTH), False), (net, True)):
        gradient = torch.autograd.grad(
            one(*inputs(), layout(BOXES)).sample.square().mean(), one.layout_processor.layout_mlp.fc1.weight
        )[0]
        assert bool(gradient.any()) is learns


def test_half_precision_stays() -> None:
    half = LayoutMMDiT.from_stock(tiny_mmdit().half(), WIDTH)
    assert {value.dtype for value in half.state_dict().values()} == {torch.float16}


def test_layout_off_is_the_stock_net(stock: nn.Module, net: LayoutMMDiT) -> None:
    expected = draw(stock)
    assert torch.equal(draw(net), expected)
    assert torch.equal(draw(net, layout(BOXES), 0), expected)
    assert distance(draw(net, layout(BOXES)), expected) > 0.01


def test_each_row_has_its_own_scale(stock: nn.Module, net: LayoutMMDiT) -> None:
    mixed = draw(net, layout(BOXES), torch.tensor([0.0, 1.0, 0.5]))
    assert torch.equal(mixed[0], draw(stock)[0])
    assert torch.equal(mixed[1], draw(net, layout(BOXES))[1])
    assert torch.equal(mixed[2], draw(net, layout(BOXES), 0.5)[2])


def test_null_layout_is_not_layout_off(stock: nn.Module, net: LayoutMMDiT) -> None:
    null = draw(net, layout([[0]] * 3))
    assert (null - draw(stock)).norm() > 0.05 * draw(stock).norm()
    assert torch.equal(draw(net, layout([[]] * 3)), null)


def test_padding_changes_nothing(net: LayoutMMDiT) -> None:
    boxes, captions, present = layout(BOXES)
    expected = draw(net, Layout(boxes, captions, present))
    for filling in (0.0, 7.0, float("nan"), float("inf")):
        empty = ~present.unsqueeze(-1)
        filled = Layout(boxes.masked_fill(empty, filling), captions.masked_fill(empty, filling), present)
        assert torch.equal(draw(net, filled), expected)
    wider = Layout(
        *(nn.functional.pad(value, (0, 0, 0, 5)) for value in (boxes, captions)), nn.functional.pad(present, (0, 5))
    )
    assert torch.equal(draw(net, wider), expected)


def test_nan_in_padding_reaches_no_gradient(net: LayoutMMDiT) -> None:
    boxes, captions, present = layout(BOXES)
    captions = captions.masked_fill(~present.unsqueeze(-1), float("nan"))
    net.zero_grad()
    net(*inputs(), Layout(boxes, captions, present)).sample.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert net.layout_processor.layout_mlp.fc1.weight.grad.abs().max() > 0
    net.zero_grad()


def test_the_order_of_the_boxes_changes_nothing(net: LayoutMMDiT) -> None:
    given = layout(BOXES)
    turned = Layout(*(value[:, [2, 3, 0, 1]] for value in given))
    assert distance(draw(net, given), draw(net, turned)) < OFF_BY_ORDER


def test_a_box_and_its_caption_both_matter(net: LayoutMMDiT) -> None:
    given = layout(BOXES)
    for field in ("boxes", "captions"):
        moved = given._replace(**{field: getattr(given, field).flip(1)})
        assert distance(draw(net, given), draw(net, moved)) > 1e-3


def test_the_layout_term_is_not_gated_by_the_image(net: LayoutMMDiT) -> None:
    """With all gates of attention and feed-forward at zero, boxes still reach the image."""
    closed = LayoutMMDiT.from_config(net.config).eval()
    closed.load_state_dict(net.state_dict())
    with torch.no_grad():
        for block in closed.transformer_blocks:
            block.norm1.linear.weight.zero_()
            block.norm1.linear.bias.zero_()
    assert distance(draw(closed, layout(BOXES)), draw(closed)) > 0.01


def test_gradient_checkpointing_gives_the_same_gradients(net: LayoutMMDiT) -> None:
    """Also of the layout scale, which CreatiLayout's checkpointing drops."""
    found = []
    for recompute in (False, True):
        (net.enable_gradient_checkpointing if recompute else net.disable_gradient_checkpointing)()
        net.train().zero_grad()
        result = net(*inputs(), layout(BOXES), 0.25).sample
        result.square().mean().backward()
        found.append([result.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
        net.zero_grad()
    net.eval().disable_gradient_checkpointing()
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_saved_and_loaded(net: LayoutMMDiT, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path)
    loaded = LayoutMMDiT.from_pretrained(tmp_path).eval()
    assert torch.equal(draw(loaded, layout(BOXES)), draw(net, layout(BOXES)))
    assert (loaded.config.layout_caption_dim, loaded.config.max_boxes, loaded.config.num_layers) == (WIDTH, 10, 3)


def test_what_does_not_fit_is_said(net: LayoutMMDiT) -> None:
    boxes, captions, present = layout(BOXES)
    cases = {
        "12 boxes, this net reads at most 10": Layout(
            *(torch.cat([value] * 3, 1) for value in (boxes, captions, present))
        ),
        r"captions of the layout have the shape \(3, 4, 9\)": Layout(boxes, captions[..., :9], present),
        r"expected \(3, 4\)": Layout(boxes, captions, present[:2]),
    }
    for sentence, wrong in cases.items():
        with pytest.raises(ValueError, match=sentence):
            draw(net, wrong)
    with pytest.raises(ValueError, match="skip_layers cannot be combined"):
        draw(net, layout(BOXES), skip_layers=[1])


def creatilayout_names(dim: int, pooled: int, blocks: int) -> dict[str, tuple[int, ...]]:
    """The layout weights as the published SiamLayout-SD3 names them, and their shapes."""
    linears = {
        "position_net.text_embedder.linear_1": (dim, pooled),
        "position_net.text_embedder.linear_2": (dim, dim),
        "position_net.linears.linear_1": (dim // 2, dim + 64),
        "position_net.linears.linear_2": (dim, dim // 2),
    }
    for number in range(blocks):
        block, last = f"transformer_blocks.{number}.", number == blocks - 1
        attention = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj")
        for name in attention if last else (*attention, "to_add_out"):
            linears[f"{block}bbox_fuser_block.{name}"] = (dim, dim)
        linears[f"{block}bbox_forward"] = (dim, dim)
        linears[f"{block}norm1_bbox.linear"] = ((2 if last else 6) * dim, dim)
        if not last:
            linears[f"{block}ff_bbox.net.0.proj"] = (4 * dim, dim)
            linears[f"{block}ff_bbox.net.2"] = (dim, 4 * dim)
    shapes = {"position_net.null_positive_feature": (dim,), "position_net.null_position_feature": (64,)}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def test_creatilayout_weights_load_completely() -> None:
    stock = tiny_mmdit()
    net = LayoutMMDiT.from_config(stock.config)
    published = stock.state_dict() | {
        name: torch.randn(shape) for name, shape in creatilayout_names(dim=32, pooled=20, blocks=3).items()
    }
    net.load_state_dict(from_creatilayout(published), strict=True)
    assert torch.equal(
        net.transformer_blocks[1].layout_out.weight, published["transformer_blocks.1.bbox_forward.weight"]
    )
    assert torch.equal(net.layout_processor.layout_mlp.fc2.bias, published["position_net.linears.linear_2.bias"])
