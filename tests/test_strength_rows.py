"""Strengths of single rows and single tokens: parameters trained whole in a batched pass, and marked tokens."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pipelines.adapters.attach import AID, Attached, attach, attach_weights, train_along
from pipelines.adapters.lowrank import Layers, LowRank, Whole
from pipelines.adapters.marks import marked
from pipelines.adapters.strength import OnMarked, strengths
from pipelines.config import AdapterConfig
from pipelines.family import Target


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


class Eye(nn.Module):
    """Takes tensors in every way there is, and gives several back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)
        self.shift = nn.Parameter(torch.zeros(8))

    def forward(self, pair: Pair, *, gain: Tensor, name: str = "") -> tuple[Tensor, str]:
        return (self.linear(pair.first) + self.shift) * gain + pair.second, name


class Net(nn.Module):
    """Words (B, T, 8), the first of which an eye says."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        seen, _ = self.eye(Pair(x[:, 0, :4], x[:, 0]), gain=x[:, 0, :1], name="eye")
        return torch.tanh(self.layer(torch.cat([seen.unsqueeze(1), x[:, 1:]], dim=1)))


GROUPS = {"net.layer": "words", "net.eye.linear.weight": "eye", "net.eye.linear.bias": "eye", "net.eye.shift": "eye"}


def layers(seed: int) -> Layers:
    g = torch.Generator().manual_seed(seed)
    shapes = {"linear.weight": (8, 4), "linear.bias": (8,), "shift": (8,)}
    whole: Layers = {f"net.eye.{name}": Whole(torch.randn(shape, generator=g)) for name, shape in shapes.items()}
    return whole | {"net.layer": LowRank(torch.randn(2, 8, generator=g), torch.randn(8, 2, generator=g), 0.5)}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(5))


def attached(net: Net, seed: int = 1, name: str = "a") -> Attached:
    return attach_weights({"net": net}, layers(seed), GROUPS, name)


VALUES = [0.0, 0.5, 1.0, -1.5]


def test_rows_of_parameters_trained_whole_equal_single_passes(net: Net, x: Tensor) -> None:
    base, a, b = net(x), attached(net), attached(net, 2, "b")
    assert a.rowwise and a.roots == [net.eye]
    with strengths([a, b], {"a": VALUES, "b": {"eye": 0.5}}):
        together = net(x)
        twice = net(torch.cat([x, x]))
    assert torch.equal(twice[:4], twice[4:])
    for row, value in enumerate(VALUES):
        with strengths([a, b], {"a": value, "b": {"eye": 0.5}}):
            torch.testing.assert_close(together[row], net(x)[row], rtol=1e-5, atol=1e-6)
    with strengths([a, b], {"a": {"words": 0.0, "eye": VALUES}}):
        torch.testing.assert_close(net(x)[0], base[0])
    with strengths([a, b], {}):
        assert torch.equal(net(x), base)
    with pytest.raises(ValueError, match="multiple of 4 strengths"), strengths([a], {"a": {"words": 0, "eye": VALUES}}):
        net(x[:3])
    assert "forward" not in vars(net.eye) and torch.equal(net(x), net(x))


def test_an_adapter_of_scattered_or_many_parameters_takes_one_strength_a_pass(net: Net) -> None:
    only = {name: layer for name, layer in layers(1).items() if name != "net.eye.linear.bias"}
    assert not attach_weights({"net": net}, only, GROUPS, "a").rowwise
    big = nn.Linear(5000, 5000).requires_grad_(False)
    whole: Layers = {f"net.{name}": Whole(torch.zeros_like(value)) for name, value in big.named_parameters()}
    assert not attach_weights({"net": big}, whole, {}, "a").rowwise


def test_only_marked_tokens_move(net: Net, x: Tensor) -> None:
    tokens = torch.zeros(4, 5, dtype=torch.bool)
    tokens[:, 2:4] = True
    base, a = net(x), attached(net)
    with strengths([a], {"a": OnMarked({"eye": 0.0, "words": 0.7})}):
        assert torch.equal(net(x).view(torch.int32), base.view(torch.int32)), "no token is marked"
        with marked(tokens):
            found = net(x)
        with marked(torch.zeros_like(tokens)):
            assert torch.equal(net(x).view(torch.int32), base.view(torch.int32))
        with pytest.raises(ValueError, match="marked tokens"), marked(tokens):
            net(x[:, :3])
    assert torch.equal(found[:, [0, 1, 4]], base[:, [0, 1, 4]])
    with strengths([a], {"a": {"eye": 0.0, "words": 0.7}}), marked(tokens):
        everywhere = net(x)
    torch.testing.assert_close(found[:, 2:4], everywhere[:, 2:4])
    assert not torch.allclose(everywhere[:, 4], base[:, 4])


def test_rows_and_marks_together(net: Net, x: Tensor) -> None:
    tokens = torch.zeros(4, 5, dtype=torch.bool)
    tokens[:, 1] = True
    a = attached(net)
    with strengths([a], {"a": OnMarked(VALUES)}), marked(tokens):
        together = net(x)
    for row, value in enumerate(VALUES):
        with strengths([a], {"a": OnMarked(value)}), marked(tokens):
            torch.testing.assert_close(together[row], net(x)[row], rtol=1e-5, atol=1e-6)


def test_what_only_training_needs_is_in_no_adapter(net: Net) -> None:
    a = attach(
        {"net": net}, [Target(r"net\.layer", "words")], AdapterConfig(rank=2), seed=0, extra={"net.eye": net.eye}
    )
    before = set(a.parameters())
    train_along(a, {"heads": nn.Linear(3, 2, bias=False)})
    assert set(a.parameters()) - before == {f"{AID}heads.weight"}
    assert all(p.requires_grad for p in a.parameters().values())
    assert not any("heads" in name for name in a.weights())
