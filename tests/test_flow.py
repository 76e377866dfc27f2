"""Rectified flow: its line, its velocity, its times, and that diffusers' sampler walks the same line back."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from pipelines.objectives import flow
from pipelines.randomness import Randomness


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(4, 3, 2, 2, generator=generator) for _ in range(2))
    return x0, noise


def test_the_ends_are_data_and_noise() -> None:
    x0, noise = pair()
    assert torch.equal(flow.add_noise(x0, noise, torch.zeros(4)), x0)
    assert torch.equal(flow.add_noise(x0, noise, torch.ones(4)), noise)


def test_a_shift_moves_times_towards_noise_as_the_sampler_does() -> None:
    t = torch.linspace(0.0, 1.0, 11)
    assert torch.equal(flow.shifted(t, 1.0), t)
    moved = flow.shifted(t, 3.0)
    assert moved[0] == 0 and moved[-1] == 1 and bool((moved[1:-1] > t[1:-1]).all())
    stock = FlowMatchEulerDiscreteScheduler(num_train_timesteps=10, shift=3.0)
    torch.testing.assert_close(stock.sigmas.flip(0), moved[1:])


def test_each_row_has_its_own_time() -> None:
    x0, noise = pair()
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    rows = [flow.add_noise(x0[i : i + 1], noise[i : i + 1], t[i : i + 1]) for i in range(4)]
    assert torch.equal(flow.add_noise(x0, noise, t), torch.cat(rows))


def test_the_target_is_the_slope() -> None:
    x0, noise = pair()
    t, step = torch.full((4,), 0.3), 0.25
    moved = flow.add_noise(x0, noise, t) + step * flow.target(x0, noise)
    assert torch.allclose(moved, flow.add_noise(x0, noise, t + step), atol=1e-6)


def test_half_precision_stays() -> None:
    x0, noise = (value.half() for value in pair())
    assert flow.add_noise(x0, noise, torch.rand(4)).dtype == torch.float16


def test_times_are_logit_normal() -> None:
    u = (torch.arange(10_000) + 0.5) / 10_000
    for mean, deviation in ((0.0, 1.0), (0.5, 0.8)):
        logits = torch.logit(flow.logit_normal(u, mean, deviation).double())
        assert abs(logits.mean() - mean) < 1e-3 and abs(logits.std() - deviation) < 1e-3
    t = flow.logit_normal(u)
    assert (t.diff() > 0).all() and torch.allclose(t + t.flip(0), torch.ones(()), atol=1e-6)


def test_times_stay_in_range_at_the_ends_of_the_draws() -> None:
    t = flow.logit_normal(torch.tensor([0.0, 1 - 2**-24]))
    assert t[0] == 0 and 0.99 < t[1] <= 1


def test_draws_depend_on_the_sample_alone() -> None:
    together = flow.logit_normal(Randomness(1, 5, ("a", "b")).uniform("timestep"))
    alone = flow.logit_normal(Randomness(1, 5, ("b",)).uniform("timestep"))
    assert torch.equal(together[1:], alone)


def test_the_stock_sampler_follows_the_velocity_back_to_the_data() -> None:
    x0, noise = pair()
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(flow.target(x0, noise), t, x, return_dict=False)[0]
    assert torch.allclose(x, x0, atol=1e-5)
