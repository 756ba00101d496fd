"""Train the judge of digits or of emoji and write its frozen weights.

    python scripts/train_judge.py digits   (about five CPU minutes)
    python scripts/train_judge.py emoji    (about thirty CPU minutes)

Positives are training images, lightly shifted, blurred and noised, so that the small blemishes of a good generator are
forgiven; negatives are the corruptions of `bakeoff.metrics.images.corruptions`. The test images are never trained on;
`scripts/calibrate_judge.py` measures on them.
"""

import argparse
from pathlib import Path

import torch

from bakeoff.data import as_images, load_mnist
from bakeoff.data.emoji import load_emoji
from bakeoff.metrics.frechet import moments
from bakeoff.metrics.images import features, mean_sharpness, training
from bakeoff.metrics.images.judge import Judge, save_judge, shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("digits", "emoji"))
    parser.add_argument("--epochs", type=int, help="default: 9 for digits, 20 for emoji")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    digits = options.name == "digits"
    real = load_mnist("train") if digits else load_emoji("train", 50_000)
    images, labels_N = as_images(real.images), torch.from_numpy(real.labels_N).long()
    recipe, epochs = (training.DIGITS, 9) if digits else (training.EMOJI, 20)
    judge = Judge(training.train(recipe, images, labels_N, options.epochs or epochs, options.seed))
    kept = {}
    if digits:  # the reference ships, because digits are always the same
        mean_F, cov_FF = moments(features(judge, real.images))
        sharp = torch.tensor(mean_sharpness(real.images), dtype=torch.float64)
        kept = {"real_mean": mean_F, "real_cov": cov_FF.contiguous(), "real_sharpness": sharp}
    out = options.out or shipped(options.name)
    save_judge(judge, out, kept)
    print(f"wrote {out} ({out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
