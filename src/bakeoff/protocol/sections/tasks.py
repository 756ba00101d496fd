"""The tasks: what is generated or predicted."""

from typing import Literal

from pydantic import Field

from bakeoff.protocol.sections.base import Section

TRAIN_IMAGES = 60_000
DIGIT_CLASSES = 10


class Task(Section):
    """What is generated."""

    name: Literal["mnist"] = "mnist"
    conditional: bool = Field(default=True, description="generate a given digit (class-conditional) or any digit")
    train_images: int = Field(
        default=TRAIN_IMAGES,
        ge=1,
        le=TRAIN_IMAGES,
        description="first N of the training images; all of them by default",
    )
