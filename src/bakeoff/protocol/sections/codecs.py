"""The codecs: how items become tokens."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of

IMAGE_SIDE = 28


class PixelCodec(Section):
    """Tokens are square patches of pixels."""

    kind: Literal["pixel"]
    patch: int = Field(description="side of a patch in pixels; must divide 28")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.patch < 1 or IMAGE_SIDE % self.patch:
            raise ValueError(f"patch = {self.patch} does not divide {IMAGE_SIDE}; allowed: 1, 2, 4, 7, 14, 28")
        return self


class LatentCodec(Section):
    """Tokens are the 7x7 cells of a frozen autoencoder's latent, four values each."""

    kind: Literal["latent"]


Codec = Annotated[
    Annotated[PixelCodec, Tag("pixel")] | Annotated[LatentCodec, Tag("latent")] | Annotated[PlugIn, Tag(PLUG_IN)],
    Discriminator(tag_of(["pixel", "latent"], "")),
]
