"""The tasks: what is generated or predicted."""

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of

TRAIN_IMAGES = 60_000
DIGIT_CLASSES = 10


class Mnist(Section):
    """MNIST digits, 28x28 grey."""

    needs_codec: ClassVar[bool] = True

    kind: Literal["mnist"] = "mnist"
    conditional: bool = Field(default=True, description="generate a given digit (class-conditional) or any digit")
    train_images: int = Field(
        default=TRAIN_IMAGES,
        ge=1,
        le=TRAIN_IMAGES,
        description="first N of the training images; all of them by default",
    )

    @property
    def items(self) -> int:
        """Training items."""
        return self.train_images

    @property
    def prompted(self) -> bool:
        """Whether its models are given a label or a context."""
        return self.conditional


class PlugInTask(PlugIn):
    """A task of the user's own."""

    needs_codec: ClassVar[bool] = False
    prompted: ClassVar[None] = None  # its class alone knows

    items: int | None = Field(default=None, ge=1, description="training items; left out: there is no end of them")


Task = Annotated[
    Annotated[Mnist, Tag("mnist")] | Annotated[PlugInTask, Tag(PLUG_IN)], Discriminator(tag_of(["mnist"], "mnist"))
]
