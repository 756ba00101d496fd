"""Fashion-MNIST [Xiao et al. 2017]: 60 000 and 10 000 grey 28x28 pictures of clothes, in MNIST's format, from the user.

Digests are of the files of the authors' repository at commit 55506a9, decompressed, as Debian packages them
(dataset-fashion-mnist, in /usr/share/datasets/fashion-mnist).
"""

from pathlib import Path

from bakeoff.data.images import ImageSet
from bakeoff.data.mnist import COUNTS, load_idx

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read_fashion(given: Path) -> dict[str, ImageSet]:
    """The splits "train" and "test".

    Args:
        given: the folder with the four IDX files, raw, .gz or .xz.

    Raises:
        BakeoffError: a file is missing, unreadable, truncated or not Fashion-MNIST.
    """
    return {split: load_idx(split, given, SHA256, "Fashion-MNIST") for split in COUNTS}
