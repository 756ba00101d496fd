"""Train the judge and write its frozen weights: python scripts/train_judge.py (about five CPU-minutes).

Positives are training digits, lightly shifted, blurred and noised, so that the small blemishes of a good
generator are forgiven; negatives are the corruptions of `bakeoff.metrics.digits.corruptions`. The test digits are
never seen; `bakeoff calibrate` measures on them.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor

from bakeoff.data import as_images, load_mnist
from bakeoff.metrics.digits.classifier import NOT_A_DIGIT, SHIPPED, Classifier
from bakeoff.metrics.digits.corruptions import corrupt
from bakeoff.metrics.digits.quality import sharpness
from bakeoff.metrics.frechet import moments

NEGATIVE_WEIGHT = 0.3  # some blends of two digits are digits: in doubt, for the image


def augment(x: Tensor, g: Generator) -> Tensor:
    """Shift by up to two pixels, blur a third of the images a little, add noise up to 0.1."""
    dy, dx = torch.randint(-2, 3, (2,), generator=g).tolist()
    x = x.roll((dy, dx), (-2, -1))  # a digit's two-pixel margin is background
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    amount = torch.rand(len(x), 1, 1, 1, generator=g) * (torch.rand(len(x), 1, 1, 1, generator=g) < 0.33)
    x = (1 - amount) * x + amount * blurred
    level = torch.rand(len(x), 1, 1, 1, generator=g) * 0.1
    return (x + level * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def train(images_N1HW: Tensor, labels_N: Tensor, epochs: int, seed: int) -> Classifier:
    torch.manual_seed(seed)
    g = Generator().manual_seed(seed)
    classifier = Classifier()
    batch = 256
    steps = epochs * (len(images_N1HW) // batch)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    weight = torch.ones(NOT_A_DIGIT + 1)
    weight[NOT_A_DIGIT] = NEGATIVE_WEIGHT
    started = time.time()
    for step in range(steps):
        pick = torch.randint(len(images_N1HW), (batch,), generator=g)
        other = torch.randint(len(images_N1HW), (batch,), generator=g)
        bad = augment(corrupt(images_N1HW[other], g), g)  # so that no blemish of ours tells them apart
        x = torch.cat([augment(images_N1HW[pick], g), bad])
        y = torch.cat([labels_N[pick], torch.full((len(bad),), NOT_A_DIGIT)])
        _, logits = classifier(x)
        loss = F.cross_entropy(logits, y, weight=weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}/{steps}  loss {loss.item():.4f}  {time.time() - started:.0f} s", flush=True)
    return classifier.eval()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    digits = load_mnist("train")
    images_N1HW = as_images(digits.images_NHW)
    with torch.enable_grad():
        classifier = train(images_N1HW, torch.from_numpy(digits.labels_N).long(), options.epochs, options.seed)
    features_NF = torch.cat([classifier(part)[0] for part in images_N1HW.split(1000)])
    mean_F, cov_FF = moments(features_NF)
    tensors = {f"classifier.{name}": t.contiguous() for name, t in classifier.state_dict().items()}
    tensors |= {"real_mean": mean_F, "real_cov": cov_FF.contiguous()}
    tensors["real_sharpness"] = torch.tensor(sharpness(images_N1HW), dtype=torch.float64)
    save_file(tensors, options.out)
    print(f"wrote {options.out} ({options.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
