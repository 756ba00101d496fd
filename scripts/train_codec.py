"""Train a latent codec and write its frozen weights.

    python scripts/train_codec.py digits   (minutes of CPU time)
    python scripts/train_codec.py emoji    (a quarter of an hour where bfloat16 has instructions of its own)

The latent carries Gaussian noise in training, so that the decoder forgives the small errors of a generator. The test
images are used only for the figures beside the weights.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Generator

from bakeoff.codecs.latent import DIGITS, EMOJI, Autoencoder, Design, LatentCodec
from bakeoff.data import as_images
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.files import write_atomic
from bakeoff.tasks import build_task
from bakeoff.tasks.images import Images


class Recipe(NamedTuple):
    """How one is trained: the mean squared error and `edges` times the absolute errors of levels and of differences
    between neighbours, with noise of this deviation on the latent."""

    design: Design
    steps: int
    batch: int
    noise: float
    edges: float
    bfloat16: bool  # of the products; weights, latent and losses are float32
    lr: float = 3e-3


RECIPES = {
    "digits": Recipe(DIGITS, steps=8 * (60_000 // 128), batch=128, noise=0.15, edges=0.0, bfloat16=False),
    "emoji": Recipe(EMOJI, steps=20_000, batch=64, noise=0.05, edges=0.2, bfloat16=True),
}


def task_of(name: str) -> Images:
    """The images, and who judges them: all that there are, in the full pose."""
    pixels = 'codec={kind="pixel", patch=4}'
    if name == "digits":
        task = build_task(load_protocol("smoke", [pixels]))
    else:
        changes = ["task.train_images=50000", "task.pose=full", "task.glyphs=0", pixels]
        task = build_task(load_protocol("emoji-smoke", changes))
    assert isinstance(task, Images)
    return task


def train(recipe: Recipe, images: np.ndarray, seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    g = Generator().manual_seed(seed)
    autoencoder = Autoencoder(recipe.design).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=recipe.lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=recipe.steps)
    started = time.time()
    for step in range(recipe.steps):
        x = as_images(images[torch.randint(len(images), (recipe.batch,), generator=g).numpy()])
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            latent = autoencoder.encoder(x)
            noisy = latent + recipe.noise * torch.randn(latent.shape, generator=g)
            error = autoencoder.decoder(noisy).float() - x
        loss = error.square().mean()
        if recipe.edges:
            loss = loss + recipe.edges * (
                error.abs().mean() + error.diff(dim=2).abs().mean() + error.diff().abs().mean()
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 0 or step == recipe.steps - 1:
            mse = error.detach().square().mean().item()
            print(f"step {step:5d}/{recipe.steps}  mse {mse:.5f}  {time.time() - started:.0f} s", flush=True)
    return autoencoder.eval().requires_grad_(False)


def figures(task: Images, codec: LatentCodec) -> dict:
    """Reconstructions of test images beside the test images themselves, by the judge that ships."""
    images = task.images("test").images
    chosen = torch.randperm(len(images), generator=Generator().manual_seed(0))[:1024]
    originals = as_images(images[chosen.numpy()])
    restored = torch.cat([codec.decode(codec.encode(part)) for part in originals.split(256)])
    table: dict = {"mse": (restored - originals).square().mean().item()}
    for count in (256, 1024):
        for kind, shown in (("real", originals), ("restored", restored)):
            found = task.judged(shown[:count], None).figures
            table[f"{kind}_{count}"] = {
                key: round(found[key], digits) for key, digits in (("recognised", 4), ("frechet", 2), ("sharpness", 3))
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("--steps", type=int, help="default: 3,744 for digits, 20,000 for emoji")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    recipe = RECIPES[options.name]
    recipe = recipe._replace(steps=options.steps or recipe.steps)
    task = task_of(options.name)
    autoencoder = train(recipe, task.images("train").images, options.seed)
    out = options.out or recipe.design.weights
    save_file({name: t.contiguous() for name, t in autoencoder.state_dict().items()}, out)
    table = figures(task, LatentCodec(recipe.design, autoencoder))
    write_atomic(out.with_suffix(".json"), (json.dumps(table, indent=2) + "\n").encode())
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
