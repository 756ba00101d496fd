"""Train the latent codec and write its frozen weights: python scripts/train_codec.py (minutes on a CPU).

Loss: mean squared error of the reconstruction, with Gaussian noise on the latent so that the decoder
forgives the small errors of a generator. The test digits are used only for the figures in codec.json.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from bakeoff.codecs.latent import SHIPPED, Autoencoder, LatentCodec
from bakeoff.data import as_images, load_mnist
from bakeoff.metrics.images import assess, load_judge, shipped_reference

LATENT_NOISE = 0.15


def images_of(split) -> Tensor:
    return as_images(load_mnist(split).images)


def train(images_N1HW: Tensor, epochs: int, seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    g = Generator().manual_seed(seed)
    autoencoder, batch = Autoencoder(), 128
    steps = epochs * (len(images_N1HW) // batch)
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    started = time.time()
    for step in range(steps):
        x = images_N1HW[torch.randint(len(images_N1HW), (batch,), generator=g)]
        latent = autoencoder.encoder(x)
        noisy = latent + LATENT_NOISE * torch.randn(latent.shape, generator=g)
        loss = (autoencoder.decoder(noisy) - x).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 0 or step == steps - 1:
            print(f"step {step:5d}/{steps}  mse {loss.item():.4f}  {time.time() - started:.0f} s", flush=True)
    return autoencoder.eval().requires_grad_(False)


def figures(autoencoder: Autoencoder, images_N1HW: Tensor) -> dict:
    """Reconstruction of the test digits beside the test digits themselves, by the shipped judge."""
    codec = LatentCodec(autoencoder)
    images_N1HW = images_N1HW[torch.randperm(len(images_N1HW), generator=Generator().manual_seed(0))]
    restored = torch.cat([codec.decode(codec.encode(part)) for part in images_N1HW.split(1000)])
    judge, real, table = load_judge("digits"), shipped_reference("digits"), {}
    table["mse"] = (restored - images_N1HW).square().mean().item()
    for count in (256, 1024):
        for name, images in (("real", images_N1HW), ("restored", restored)):
            quality = assess(judge, real, images[:count])
            table[f"{name}_{count}"] = {
                "recognised": round(quality.figures["recognised"], 4),
                "frechet": round(quality.figures["frechet"], 2),
                "sharpness": round(quality.figures["sharpness"], 3),
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    autoencoder = train(images_of("train"), options.epochs, options.seed)
    save_file({name: t.contiguous() for name, t in autoencoder.state_dict().items()}, options.out)
    table = figures(autoencoder, images_of("test"))
    options.out.with_suffix(".json").write_text(json.dumps(table, indent=2) + "\n")
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
