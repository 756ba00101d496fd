"""The codecs: how items become tokens."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of
from bakeoff.protocol.sections.tasks import ImageTask

LATENT = ("mnist", "emoji")  # task.kind of the images whose autoencoders ship


class PixelCodec(Section):
    """Tokens are square patches of pixels."""

    kind: Literal["pixel"]
    patch: int = Field(ge=1, description="side of a patch in pixels; must divide the image's")


class PcaCodec(Section):
    """Tokens are square patches of pixels, without the directions in which those of training vary least."""

    kind: Literal["pca"]
    patch: int = Field(default=4, ge=1, description="side of a patch in pixels; must divide the image's")
    components: int = Field(default=16, ge=1, le=16_384, description="values that are kept of a patch, not whitened")


class LatentCodec(Section):
    """Tokens are the cells of a frozen autoencoder's latent: of digits 7x7 of four values, of emoji 8x8 of eight."""

    kind: Literal["latent"]


Codec = Annotated[
    Annotated[PixelCodec, Tag("pixel")]
    | Annotated[PcaCodec, Tag("pca")]
    | Annotated[LatentCodec, Tag("latent")]
    | Annotated[PlugIn, Tag(PLUG_IN)],
    Discriminator(tag_of(["pixel", "pca", "latent"], "")),
]


def check_codec(codec: Codec, task: ImageTask) -> None:
    """Raises ValueError for a codec that cannot serve a task's images; a plug-in's is known to the plan only."""
    if isinstance(codec, LatentCodec) and task.kind not in LATENT:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(f"codec.kind = latent; autoencoders ship for {', '.join(LATENT)}; allowed here: pixel, pca")
    if not isinstance(codec, (PixelCodec, PcaCodec)):
        return
    if task.side % codec.patch:
        sides = ", ".join(str(side) for side in range(1, task.side + 1) if task.side % side == 0)
        raise ValueError(f"codec.patch = {codec.patch} does not divide {task.side}; allowed: {sides}")
    values = task.channels * codec.patch**2
    if isinstance(codec, PcaCodec) and codec.components > values:
        raise ValueError(f"codec.components = {codec.components}; allowed: at most the {values} values of a patch")
