"""The codecs: how items become tokens."""

from typing import Literal, Self

from pydantic import Field, model_validator

from bakeoff.protocol.sections.base import Section

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
