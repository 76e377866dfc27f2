"""Train, preview and take home an adapter on a running page, as a program that only has its address.

Start the page with `python app.py`, then:

    python -m examples.use_the_api --data examples/data/openmoji --output api-output
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from gradio_client import Client, handle_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures and captions")
    parser.add_argument("--base", default="emoji-sd")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--prompt", default="a fox, openmoji")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    client = Client(args.url, verbose=False)
    # Whoever has the token has the data: keep it to come back, and keep it to yourself.
    me = client.predict(api_name="/hello")["visitor"]
    files = [handle_file(path) for path in sorted(args.data.iterdir()) if path.is_file()]
    data = client.predict(me, files, api_name="/validate_dataset")
    print(f"{len(data['samples'])} pictures", *data["rejected"], *data["notes"], sep="\n")

    settings = {"base": args.base, "data": {"resolution": args.resolution}, "train": {"steps": args.steps}}
    needed = client.predict(me, settings, api_name="/estimate")["total"]
    print(f"needs {needed / 2**20:.0f} MiB")
    status = client.predict(me, data["dataset"], settings, api_name="/start")
    run = status["run"]
    while status["state"] in ("queued", "running"):
        time.sleep(1)
        status = client.predict(me, run, api_name="/status")
        print(f"{status['state']}: step {status['step']} of {status['steps']}", *status["problems"], sep="\n")

    args.output.mkdir(parents=True, exist_ok=True)
    strengths = (0, 0.5, 1)
    pictures = client.predict(me, run, args.prompt, list(strengths), api_name="/preview")
    for strength, picture in zip(strengths, pictures, strict=True):
        shutil.copy(picture, args.output / f"strength-{strength:g}.png")
    shutil.copy(client.predict(me, run, "kohya", api_name="/export"), args.output / "adapter.safetensors")
    print(f"the adapter is {args.output / 'adapter.safetensors'}")
    client.predict(me, api_name="/forget")


if __name__ == "__main__":
    main()
