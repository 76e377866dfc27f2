"""The strength curve: how far pictures move from the base and how near the model comes to the training set.

Two things are measured per strength, with nothing but the base and the samples (docs/strength.md says why):
`moved`, the mean difference of pictures from those at strength 0 (for language models, of the samples' losses); and
`error`, the loss the adapter was trained with, over the samples at noise that is the same for every strength.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .adapters.identity import identity, recommend
from .errors import ProblemsError
from .files import write_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from .config import RunConfig
    from .data.encode import Encoded
    from .data.readers import EncodedSample
    from .family import PreviewRequest
    from .preview import PreviewSession

STRENGTHS = tuple(i / 4 for i in range(9))
CURVE_FILE = "curve.json"
_PROMPTS, _SEEDS = 4, 2
_SAMPLES, _DRAWS = 48, 4


@dataclass(frozen=True)
class Curve:
    """What was measured of one adapter.

    `near` is the share of the error that the best strength takes away from the base's: 0 as the base, 1 as the best;
    below 0 it is worse than the base. `moved` is the distance over the farthest. `recommended` is None when no strength
    comes nearer than the base does. `held_out`: the samples were not trained on.
    """

    adapter: str
    strengths: tuple[float, ...]
    moved: tuple[float, ...]
    near: tuple[float, ...]
    error: tuple[float, ...]
    distance: tuple[float, ...]
    recommended: float | None
    prompts: int
    pictures: int
    samples: int
    held_out: bool


def samples_of(session: PreviewSession, run_dir: Path, config: RunConfig) -> Encoded:
    """The samples of a run as its training saw them."""
    from .data.encode import encode_dataset

    return encode_dataset(session.family, session.parts, session.base, config, (run_dir, run_dir / "cache"))


def measure(
    session: PreviewSession,
    adapter: Path,
    encoded: Encoded,
    request: PreviewRequest,
    strengths: Sequence[float] = STRENGTHS,
) -> Generator[tuple[int, int], None, Curve]:
    """Measure; yields (done, total) as it goes and returns the curve. `request` gives sampler and size of the pictures;
    prompts and regions are those of the samples.

    Raises ProblemsError for strengths without 0.
    """
    strengths = tuple(float(value) for value in strengths)
    if 0.0 not in strengths or len(strengths) < 3:
        raise ProblemsError("strengths of a curve must hold 0 and at least two others")
    samples = encoded.validation or encoded.train
    drawn = [] if session.family.answers else samples
    shown = list({(sample.caption, sample.regions): None for sample in drawn})[:_PROMPTS]
    requests = [
        dataclasses.replace(request, prompt=caption, regions=regions, seed=request.seed + i)
        for caption, regions in shown
        for i in range(_SEEDS)
    ]
    total, distances = len(requests) + len(strengths), []
    for done, each in enumerate(requests):
        yield done, total
        ladder = session.ladder(adapter, each, strengths)
        distances.append([_difference(picture, ladder.base) for picture in ladder.images])
    errors = []
    for done, strength in enumerate(strengths, len(requests)):
        yield done, total
        errors.append(_errors(session, adapter, strength, samples[:_SAMPLES]))
    error = torch.stack(errors)
    mean = error.mean(1)
    away = (error - error[strengths.index(0.0)]).abs().mean(1)
    distance = torch.tensor(distances).mean(0) if distances else away
    gained = (mean[strengths.index(0.0)] - mean) / (mean[strengths.index(0.0)] - mean.min()).clamp_min(1e-12)
    return Curve(
        adapter=identity(adapter),
        strengths=strengths,
        moved=_plain(distance / distance.max().clamp_min(1e-12)),
        near=_plain(gained),
        error=_plain(mean),
        distance=_plain(distance),
        recommended=recommendation(strengths, error),
        prompts=len(shown),
        pictures=len(requests) * len(strengths),
        samples=error.shape[1],
        held_out=bool(encoded.validation),
    )


def recommendation(strengths: Sequence[float], error: Tensor) -> float | None:
    """The smallest positive strength whose error (strengths, samples) is within one standard error of the best one's.

    Differences are paired by sample. None when the best is not below strength 0 by at least that much.
    """
    best = int(error.mean(1).argmin())

    def apart(i: int) -> tuple[float, float]:
        difference = error[i] - error[best]
        return float(difference.mean()), float(difference.std(unbiased=False)) / math.sqrt(difference.numel())

    mean, noise = apart(list(strengths).index(0.0))
    if strengths[best] <= 0 or mean <= noise:
        return None
    near = (i for i, strength in enumerate(strengths) if strength > 0)
    return next(strengths[i] for i in near if i == best or apart(i)[0] <= apart(i)[1])


def keep(curve: Curve, home: Path, adapter: Path) -> None:
    """Write the curve into a folder of the adapter's own and the recommended strength into its file's header."""
    write_text(home / CURVE_FILE, json.dumps(dataclasses.asdict(curve), indent=1) + "\n")
    recommend(adapter, curve.recommended)


def read_curve(home: Path, adapter: Path) -> Curve | None:
    """The curve kept for an adapter; None when there is none, or it was measured on other weights."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        values = json.loads((home / CURVE_FILE).read_text(encoding="utf-8"))
        read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        curve = Curve(**read)
        if curve.adapter == identity(adapter):
            return curve
    return None


def _errors(session: PreviewSession, adapter: Path, strength: float, samples: Sequence[EncodedSample]) -> Tensor:
    """The loss of each sample, its mean over a few draws that do not depend on the strength."""
    from .randomness import Randomness

    found, draws = [], min(_DRAWS, session.family.draws)
    with session.at({adapter: strength} if strength else {}) as parts, torch.no_grad():
        for sample in samples:
            rows = tuple(f"{sample.id}#{k}" for k in range(draws))
            batch = {name: torch.stack([value] * draws).to(session.device) for name, value in sample.tensors.items()}
            found.append(float(session.family.loss(parts, batch, Randomness(0, 0, rows))))
    return torch.tensor(found, dtype=torch.float64)


def _difference(one: Image, other: Image) -> float:
    import numpy as np

    first, second = (np.asarray(picture, dtype=np.float64) for picture in (one, other))
    return float(np.abs(first - second).mean()) / 255


def _plain(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
