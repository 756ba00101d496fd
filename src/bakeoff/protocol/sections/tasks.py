"""The tasks: what is generated or predicted."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of

TRAIN_IMAGES = 60_000
FEWEST_GLYPHS = 16  # of a class
CLASSES = 10  # of every set of images that is known here


class ImageTask(Section):
    """Images of ten classes; what is the same for all sets of them."""

    needs_codec: ClassVar[bool] = True
    control: ClassVar[str] = ""  # the mixer that is known to solve it; see `bakeoff.protocol.control`
    trained: ClassVar[None] = None  # mean tokens of a training item, where that is not the length of its space
    side: ClassVar[int]  # pixels
    channels: ClassVar[int]  # 1: grey, 3: colour

    conditional: bool = Field(default=True, description="generate a given class (class-conditional) or any of them")

    @property
    def items(self) -> int:
        """Training items."""
        return self.train_images  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def prompted(self) -> bool:
        """Whether its models are given a label or a context."""
        return self.conditional


class Mnist(ImageTask):
    """MNIST digits, 28x28 grey."""

    side: ClassVar[int] = 28
    channels: ClassVar[int] = 1

    kind: Literal["mnist"] = "mnist"
    train_images: int = Field(
        default=TRAIN_IMAGES,
        ge=1,
        le=TRAIN_IMAGES,
        description="first N of the training images; all of them by default",
    )


class Emoji(ImageTask):
    """Emoji in some pose on a gradient of two colours, 32x32 colour; ten classes, made to order."""

    side: ClassVar[int] = 32
    channels: ClassVar[int] = 3

    kind: Literal["emoji"]
    train_images: int = Field(default=50_000, ge=1, le=50_000, description="first N of the training images")
    pose: Literal["fixed", "small", "full"] = Field(
        default="full",
        description="how far glyphs are scaled, turned and moved: fixed: not at all; small: 0.9 to 1, 0.05 rad, 5 % of "
        "half the frame; full: 0.78 to 1, 0.2 rad, 16 %, and half of them flipped unless they are flags or symbols",
    )
    glyphs: int = Field(
        default=0,
        ge=0,
        le=300,
        description="glyphs of each class, evenly taken from those of training; 0: all. With few, or without a pose, a "
        "model may learn them by heart: call such a preset smoke",
    )

    @property
    def easy(self) -> str:
        """Why a model may learn the set by heart; empty if that is not to be feared."""
        if self.pose == "fixed":
            return "task.pose = fixed"
        return f"task.glyphs = {self.glyphs}, fewer than {FEWEST_GLYPHS}" if 0 < self.glyphs < FEWEST_GLYPHS else ""


class Cifar10(ImageTask):
    """CIFAR-10, 32x32 colour photographs, from the user's files."""

    side: ClassVar[int] = 32
    channels: ClassVar[int] = 3

    kind: Literal["cifar10"]
    train_images: int = Field(default=50_000, ge=1, le=50_000, description="first N of the training images")


class Fashion(ImageTask):
    """Fashion-MNIST, 28x28 grey pictures of clothes, from the user's files."""

    side: ClassVar[int] = 28
    channels: ClassVar[int] = 1

    kind: Literal["fashion"]
    train_images: int = Field(default=60_000, ge=1, le=60_000, description="first N of the training images")


class Recall(Section):
    """Sequences that ask for what stood earlier in them; new ones at every step."""

    needs_codec: ClassVar[bool] = False
    prompted: ClassVar[bool] = False
    items: ClassVar[None] = None  # there is no end of them
    control: ClassVar[str] = "attention"
    trained: ClassVar[None] = None

    kind: Literal["recall"]
    variant: Literal["mqar", "needle", "induction", "copying"] = Field(
        default="mqar",
        description="mqar: pairs of key and value, then each key again, its value is asked; needle: the same with the "
        "pairs anywhere, all asked at the end; induction: what followed a special symbol; copying: symbols among "
        "blanks, in their order",
    )
    length: int = Field(default=64, ge=8, le=65_536, description="tokens of a sequence, the answers included")
    pairs: tuple[int, ...] = Field(
        default=(8,),
        min_length=1,
        max_length=16,
        description="pairs of a sequence (copying: symbols to copy); of several numbers each sequence has one, in turn",
    )
    vocabulary: int = Field(default=128, ge=8, le=65_536, description="symbols; half of them keys, half values")
    filler: Literal["random", "blank"] = Field(
        default="random", description="what stands elsewhere: any symbols, or symbol 0"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most, largest = self._most(), max(self.pairs)
        if min(self.pairs) < 1 or len(set(self.pairs)) < len(self.pairs):
            raise ValueError(f"pairs = {list(self.pairs)}; allowed: different whole numbers from 1 on")
        if largest > most:
            raise ValueError(
                f"pairs = {list(self.pairs)}; allowed for {self.variant} with length = {self.length} and vocabulary = "
                f"{self.vocabulary}: at most {most}"
            )
        return self

    def _most(self) -> int:
        """The most pairs that fit: two tokens each, and two more where each is asked; every key once."""
        if self.variant == "induction":
            return 1
        if self.variant == "copying":
            return (self.length - 1) // 2
        return min(self.length // 4, self.vocabulary // 2 - 1)


class Tracking(Section):
    """Sequences of the elements of a group; at every token, the product of all so far. New ones at every step."""

    needs_codec: ClassVar[bool] = False
    prompted: ClassVar[bool] = False
    items: ClassVar[None] = None  # there is no end of them
    control: ClassVar[str] = "gru"

    kind: Literal["tracking"]
    group: Literal["parity", "s3", "a5", "s5"] = Field(
        default="parity",
        description="parity: bits and their exclusive or; s3: the 6 permutations of three; a5: the 60 even ones of "
        "five, which no chain of commuting groups makes up; s5: all 120 of five",
    )
    lengths: tuple[int, int] = Field(
        default=(3, 40), description="tokens of the shortest and the longest training sequence; a batch has one length"
    )
    test_length: int = Field(default=256, ge=1, le=65_536, description="tokens of a test sequence")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        low, high = self.lengths
        if not 1 <= low <= high <= self.test_length:
            raise ValueError(
                f"lengths = {list(self.lengths)}; allowed: the shortest first, from 1 to test_length = "
                f"{self.test_length}"
            )
        return self

    @property
    def trained(self) -> int:
        """Mean tokens of a training sequence."""
        return sum(self.lengths) // 2


class PlugInTask(PlugIn):
    """A task of the user's own."""

    needs_codec: ClassVar[bool] = False
    prompted: ClassVar[None] = None  # its class alone knows
    control: ClassVar[str] = ""
    trained: ClassVar[None] = None

    items: int | None = Field(default=None, ge=1, description="training items; left out: there is no end of them")


Task = Annotated[
    Annotated[Mnist, Tag("mnist")]
    | Annotated[Emoji, Tag("emoji")]
    | Annotated[Cifar10, Tag("cifar10")]
    | Annotated[Fashion, Tag("fashion")]
    | Annotated[Recall, Tag("recall")]
    | Annotated[Tracking, Tag("tracking")]
    | Annotated[PlugInTask, Tag(PLUG_IN)],
    Discriminator(tag_of(["mnist", "emoji", "cifar10", "fashion", "recall", "tracking"], "mnist")),
]
