"""The promises of strength (docs/strength.md), on real PEFT layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipelines.adapters.attach import Attached, attach_weights, detach, shapes
from pipelines.adapters.lowrank import LowRank
from pipelines.adapters.strength import strengths
from pipelines.errors import ProblemsError


class Net(nn.Module):
    """A conv, a token-wise linear and a pooled linear: the three input ranks an adapted layer meets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.tokens = nn.Linear(8, 8)
        self.pooled = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(x).flatten(2).transpose(1, 2)
        return self.pooled(torch.tanh(self.tokens(hidden)).mean(1))


GROUPS = {"net.conv": "conv", "net.tokens": "attention", "net.pooled": "head"}


def weights(seed: int, rank: int = 3, scale: float = 0.5) -> dict[str, LowRank]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g) * 0.3

    return {
        "net.conv": LowRank(normal(rank, 3, 3, 3), normal(8, rank, 1, 1), scale),
        "net.tokens": LowRank(normal(rank, 8), normal(8, rank), scale),
        "net.pooled": LowRank(normal(rank + 1, 8), normal(5, rank + 1), scale),
    }


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(5))


def merged(net: Net, *updates: tuple[dict[str, LowRank], dict[str, float]]) -> Net:
    """The same net with the updates added to its weights, per layer at the given strengths."""
    copy = Net().eval()
    copy.load_state_dict(net.state_dict())
    with torch.no_grad():
        for layers, strength in updates:
            for path, layer in layers.items():
                copy.get_submodule(path.removeprefix("net.")).weight += strength[path] * layer.delta()
    return copy


def everywhere(strength: float) -> dict[str, float]:
    return dict.fromkeys(GROUPS, strength)


@pytest.mark.parametrize("strength", [-1.0, 0.25, 1.0, 2.0])
def test_equals_the_weight_sum(net: Net, x: torch.Tensor, strength: float) -> None:
    expected = merged(net, (weights(1), everywhere(strength)))(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    with strengths([a], {"a": strength}):
        torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def test_zero_has_the_bits_of_the_base(net: Net, x: torch.Tensor) -> None:
    before = net(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    for value in (0.0, 0, -0.0, [0.0, 0.0], {"conv": 0.0, "attention": 0.0, "head": 0.0}):
        with strengths([a], {"a": value}):
            assert torch.equal(net(x).view(torch.int32), before.view(torch.int32))
    with strengths([a], {}):
        assert torch.equal(net(x), before)


def test_continuous_at_zero(net: Net, x: torch.Tensor) -> None:
    before = net(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    with strengths([a], {"a": 1e-5}):
        assert float((net(x) - before).abs().max()) < 1e-4


def test_rows_equal_single_passes(net: Net, x: torch.Tensor) -> None:
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    values = [0.0, 0.5, 1.0, -1.5]
    with strengths([a], {"a": values}):
        together = net(x)
    for row, value in enumerate(values):
        with strengths([a], {"a": value}):
            torch.testing.assert_close(together[row], net(x)[row], rtol=1e-5, atol=1e-6)


def test_rows_repeat_over_guidance(net: Net, x: torch.Tensor) -> None:
    """A batch of [negative x k, positive x k] gives row i and row k + i the same strength."""
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    double = torch.cat([x, x])
    with strengths([a], {"a": [0.0, 0.5, 1.0, 2.0]}):
        first, second = net(double).chunk(2)
    assert torch.allclose(first, second)
    with pytest.raises(ValueError, match="multiple of 3"), strengths([a], {"a": [0.0, 0.5, 1.0]}):
        net(x)


def test_two_adapters_add_their_deltas(net: Net, x: torch.Tensor) -> None:
    expected = merged(net, (weights(1), everywhere(0.5)), (weights(2, rank=2), everywhere(-0.75)))(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    b = attach_weights({"net": net}, weights(2, rank=2), GROUPS, "b")
    with strengths([a, b], {"a": 0.5, "b": -0.75}):
        torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def test_a_group_moves_only_its_layers(net: Net, x: torch.Tensor) -> None:
    expected = merged(net, (weights(1), {"net.conv": 1.0, "net.tokens": 0.25, "net.pooled": 1.0}))(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    with strengths([a], {"a": {"attention": 0.25}}):
        torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def test_leaves_nothing_behind(net: Net, x: torch.Tensor) -> None:
    before = net(x)
    a = attach_weights({"net": net}, weights(1), GROUPS, "a")
    with strengths([a], {"a": 1.0}):
        full = net(x)
    with strengths([a], {"a": [0.1, 0.2, 0.3, 0.4]}):
        net(x)
    with pytest.raises(RuntimeError, match="on purpose"), strengths([a], {"a": 0.3}):
        raise RuntimeError("on purpose")
    with strengths([a], {"a": 1.0}):
        assert torch.equal(net(x), full)
    detach({"net": net}, a)
    assert torch.equal(net(x), before)
    again = attach_weights({"net": net}, weights(1), GROUPS, "a")
    with strengths([again], {"a": 1.0}):
        assert torch.equal(net(x), full)


def test_refuses_all_nonsense_at_once(net: Net) -> None:
    a: Attached = attach_weights({"net": net}, weights(1), GROUPS, "a")
    nonsense = {"a": {"attention": math.nan, "nose": 1.0}, "stranger": 1.0}
    with pytest.raises(ProblemsError) as caught, strengths([a], nonsense):
        pass
    assert len(caught.value.problems) == 3
    for value in (math.inf, True, 99.0, [1.0, math.nan]):
        with pytest.raises(ProblemsError), strengths([a], {"a": value}):  # type: ignore[dict-item]
            pass


def test_shapes_are_those_of_the_base(net: Net) -> None:
    before = shapes({"net": net})
    attach_weights({"net": net}, weights(1), GROUPS, "a")
    assert shapes({"net": net}) == before
