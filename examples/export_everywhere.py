"""Write an adapter in every form, and show that stock diffusers draws our picture with it.

    python -m examples.export_everywhere runs/style --output exported

`exported/` then holds a diffusers file, a kohya file, a PEFT folder and a whole base with the adapter merged in.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from pipelines.bases import find_base
from pipelines.export import adapter_path, export, run_config
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession

NAMES = {"diffusers": "diffusers.safetensors", "kohya": "kohya.safetensors", "peft": "peft", "merged": "merged"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="run folder or adapter file")
    parser.add_argument("--base", default="", help="the run's own when left out")
    parser.add_argument("--prompt", default="a house, openmoji")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--output", type=Path, default=Path("exported"))
    args = parser.parse_args()

    base = args.base or run_config(args.source).base
    for form, name in NAMES.items():
        proof = export(args.source, form, args.output / name, base=base)
        print(f"{args.output / name}: {proof.modules} layers, largest error of a weight {proof.max_error:.1g}")

    session = PreviewSession("stable_diffusion", base, precision="fp32", device="cpu")
    ours = session.render({adapter_path(args.source): 1.0}, PreviewRequest(args.prompt, steps=args.steps))
    stock = DiffusionPipeline.from_pretrained(find_base(base).source)
    stock.load_lora_weights(args.output, weight_name=NAMES["diffusers"], adapter_name="ours")
    stock.set_adapters("ours", 1.0)
    side = stock.unet.config.sample_size
    noise = torch.randn(1, stock.unet.config.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    theirs = stock(args.prompt, num_inference_steps=args.steps, guidance_scale=5.0, latents=noise).images[0]
    difference = np.abs(np.asarray(ours, dtype=int) - np.asarray(theirs, dtype=int)).max()
    print(f"largest difference of any pixel between our picture and stock diffusers': {difference}/255")


if __name__ == "__main__":
    main()
