"""Train the transformer of `emoji-mmdit` on scenes with boxes, then assemble the base.

    torchrun --nproc-per-node 2 -m bases.recipes.train_mmdit --work DIR --output bases/emoji-mmdit

Needs the pictures of train_vae in `--work`. Autoencoder and text encoder are those of `emoji-sd`, frozen, so scenes are
encoded once and met several times, with new captions, noise and times. Trunk and layout branch learn together.

At width 160 and 6 blocks a sample costs 1.4 GFLOP forward and backward, and Muon 25 GFLOP a step: a step of 2 x 48
samples takes 2.6 s where two cores reach 60 GFLOP/s. Width 128: 1.0 and 13 GFLOP, 1.8 s; 192: 1.9 and 43, 3.8 s. Two
idle Zen 3 cores needed 2.1, 1.5 and 3.2 s.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.nets.layout_mmdit import Layout, LayoutMMDiT
from pipelines.objectives import flow

from . import emoji
from .captions import LENGTH
from .loop import Trainer, adamw, start_worker
from .muon import Muon
from .scenes import Scene, World, region_captions, scene_caption
from .train_sd import encode

EMOJI_SD = Path(__file__).parents[1] / "emoji-sd"
SEED = 0  # of the scenes that are learned; benchmarks take others
CHUNK = 1024
HEAD = 32
REGION_WEIGHTS = (0.7, 0.15, 0.15)
TIME_STEPS = 1000  # the transformer's timestep at t = 1

Latents = list[np.ndarray]


def build_transformer(width: int, blocks: int) -> LayoutMMDiT:
    """A small MM-DiT for latents of 16 x 16 x 8, every modulation starting at zero (Peebles & Xie 2023, sec. 3.2)."""
    net = LayoutMMDiT(
        sample_size=16,
        patch_size=2,
        in_channels=8,
        out_channels=8,
        num_layers=blocks,
        attention_head_dim=HEAD,
        num_attention_heads=width // HEAD,
        joint_attention_dim=192,
        caption_projection_dim=width,
        pooled_projection_dim=192,
        pos_embed_max_size=16,
    )
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ("norm" in name and ".linear." in name) or name.startswith("proj_out"):
                parameter.zero_()
    return net.train()


class TextEncoder:
    """The frozen text encoder of a base."""

    def __init__(self, base: Path):
        self.tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
        self.model = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32).eval()

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token embeddings (B, 24, 192) and pooled embeddings (B, 192)."""
        ids = self.tokenizer(
            list(captions), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        found = self.model(ids)
        return found.last_hidden_state, found.pooler_output


def load_world(work: Path) -> World:
    """The drawings that train_vae rendered."""
    with np.load(work / "pictures.npz") as pools:
        return World(pools["world"][:, : len(emoji.TRAINING_STYLES)], emoji.read_nouns())


def to_pixels(world: World, scenes: Sequence[Scene]) -> torch.Tensor:
    """Drawn scenes, float [-1, 1], (B, 3, 128, 128)."""
    pictures = np.stack([np.asarray(world.draw(scene)) for scene in scenes])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def encode_scenes(world: World, scenes: Sequence[Scene], folder: Path, worker: tuple[int, int]) -> None:
    """Write the latents of all scenes to `folder`, a file per chunk; each worker (rank, count) makes its share of those
    that are not there yet."""
    rank, workers = worker
    vae = AutoencoderKL.from_pretrained(EMOJI_SD / "vae", dtype=torch.float32).eval()
    for start in range(rank * CHUNK, len(scenes), workers * CHUNK):
        path = folder / f"latents-{start:07d}.npy"
        if not path.exists():
            latents = encode(vae, to_pixels(world, scenes[start : start + CHUNK]))
            temporary = folder / f"{path.stem}.tmp.npy"
            np.save(temporary, latents.half().numpy())
            temporary.replace(path)


def read_latents(folder: Path, count: int) -> Latents:
    """The chunks that hold the first `count` scenes, left on disk until they are touched."""
    return [np.load(folder / f"latents-{start:07d}.npy", mmap_mode="r") for start in range(0, count, CHUNK)]


class Regions:
    """Region captions of the whole world, embedded once."""

    def __init__(self, world: World, text: TextEncoder):
        styles = emoji.TRAINING_STYLES
        captions = [form for noun in world.nouns for style in styles for form in region_captions(noun.word, style)]
        self.forms = len(captions) // len(world.nouns) // len(styles)
        pooled = torch.cat([text(captions[i : i + 256])[1] for i in range(0, len(captions), 256)])
        self.table = pooled.view(len(world.nouns), len(styles), self.forms, -1)

    def layout(self, scenes: Sequence[Scene], rng: random.Random | None = None) -> Layout:
        """The boxes of scenes; regions in varying words, or plain ones without `rng`."""
        slots = max(len(scene.things) for scene in scenes)
        boxes = torch.zeros(len(scenes), slots, 4)
        captions = torch.zeros(len(scenes), slots, self.table.shape[-1])
        for row, scene in enumerate(scenes):
            style = emoji.TRAINING_STYLES.index(scene.style)
            boxes[row, : len(scene.things)] = torch.from_numpy(scene.boxes)
            for slot, thing in enumerate(scene.things):
                form = rng.choices(range(self.forms), REGION_WEIGHTS)[0] if rng else 0
                captions[row, slot] = self.table[thing.index, style, form]
        return Layout(boxes, captions, boxes[..., 2] > 0)


class Objective:
    """The loss of a step, a pure function of (step, rank)."""

    def __init__(
        self, net: LayoutMMDiT, world: World, scenes: Sequence[Scene], latents: Latents, batch: int, rank: int
    ):
        self.net, self.scenes, self.latents, self.batch, self.rank = net, scenes, latents, batch, rank
        self.text = TextEncoder(EMOJI_SD)
        self.regions = Regions(world, self.text)

    def __call__(self, step: int) -> torch.Tensor:
        rng = random.Random(step * 64 + self.rank)
        generator = torch.Generator().manual_seed(step * 64 + self.rank)
        chosen = [rng.randrange(len(self.scenes)) for _ in range(self.batch)]
        scenes = [self.scenes[i] for i in chosen]
        captions, layout, scale = self.conditions(scenes, rng)
        text, pooled = self.text(captions)
        x0 = torch.from_numpy(np.stack([self.latents[i // CHUNK][i % CHUNK] for i in chosen])).float()
        noise = torch.randn(x0.shape, generator=generator)
        # Stratified over the batch: every step sees all noise levels.
        u = (torch.arange(self.batch) + torch.rand(self.batch, generator=generator)) / self.batch
        t = flow.logit_normal(u)
        predicted = self.net(flow.add_noise(x0, noise, t), text, pooled, t * TIME_STEPS, layout, scale).sample
        return F.mse_loss(predicted, flow.target(x0, noise))

    def conditions(self, scenes: Sequence[Scene], rng: random.Random) -> tuple[list[str], Layout, torch.Tensor]:
        """Captions, layout and layout scale (B,) of a batch. A tenth of the rows goes without words and a tenth with a
        null layout, half of each without both, which is what guidance leads away from; another tenth has the layout
        off, so that the trunk can draw alone."""
        captions = [scene_caption(scene, rng) for scene in scenes]
        layout = self.regions.layout(scenes, rng)
        scale = torch.ones(len(scenes))
        for row in range(len(scenes)):
            dropped = rng.random()
            if dropped < 0.1:
                captions[row] = ""
            if 0.05 <= dropped < 0.15:
                layout.present[row] = False
            if rng.random() < 0.1:
                scale[row] = 0
        return captions, layout, scale


def optimizers(net: LayoutMMDiT, lr: float, matrix_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the net, AdamW for its first and last layer and for vectors."""
    inside = {n: p.ndim >= 2 and not n.startswith(("pos_embed", "proj_out")) for n, p in net.named_parameters()}
    matrices = [p for n, p in net.named_parameters() if inside[n]]
    rest = [p for n, p in net.named_parameters() if not inside[n]]
    return [Muon(matrices, matrix_lr), adamw(rest, lr)]


def assemble(net: LayoutMMDiT, output: Path) -> None:
    """Write the base: the transformer in fp16 shards under 10 MB beside copies of what it shares with `emoji-sd`. The
    folder is whole by itself; git keeps equal files once."""
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(EMOJI_SD / part, output / part, dirs_exist_ok=True)
    net.half().save_pretrained(output / "transformer", max_shard_size="9500KB")
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIME_STEPS).save_pretrained(output / "scheduler")
    index = json.loads((EMOJI_SD / "model_index.json").read_text(encoding="utf-8"))
    index = {
        "_class_name": "LayoutMMDiTPipeline",
        "_diffusers_version": index["_diffusers_version"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": index["text_encoder"],
        "tokenizer": index["tokenizer"],
        "transformer": ["pipelines.nets.layout_mmdit", "LayoutMMDiT"],
        "vae": index["vae"],
    }
    (output / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=65_536, help="encoded once, 25 ms of one core each")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=48, help="scenes per process")
    parser.add_argument("--width", type=int, default=160, help=f"a multiple of {HEAD}")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--lr", type=float, default=2e-3, help="of vectors and the first and last layer")
    parser.add_argument("--matrix-lr", type=float, default=2e-2, help="of all other weights")
    parser.add_argument("--snapshot", action="store_true", help="assemble the base from the last checkpoint and stop")
    args = parser.parse_args()
    rank, workers = start_worker()
    folder = args.work / "mmdit"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = build_transformer(args.width, args.blocks)
    trainer = Trainer(net, folder, optimizers(net, args.lr, args.matrix_lr), steps=args.steps, ema=0.999)
    trainer.resume()
    if not args.snapshot:
        world = load_world(args.work)
        scenes = [world.scene(SEED, number) for number in range(math.ceil(args.scenes / CHUNK) * CHUNK)]
        encode_scenes(world, scenes, folder, (rank, workers))
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        latents = read_latents(folder, len(scenes))
        trainer.run(Objective(net, world, scenes, latents, args.batch, rank), rank, every=20, save_every=200)
    if rank == 0:
        trainer.use_average()
        assemble(net, args.output)


if __name__ == "__main__":
    main()
