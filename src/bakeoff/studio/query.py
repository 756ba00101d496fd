"""What a page may ask of the flows, and within which bounds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from bakeoff.errors import BakeoffError
from bakeoff.objectives.solver import Solver
from bakeoff.protocol.sections.sampling import Sampling
from bakeoff.protocol.sections.tasks import DIGIT_CLASSES
from bakeoff.run.directory import RunDir

STEPS, SEEDS, GUIDANCE = 50, 2**31 - 1, 20


class Query(BaseModel):
    """What is asked for; the protocol's own sampling where nothing is said."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: Annotated[int, Field(ge=0, lt=DIGIT_CLASSES)] | None = None
    noise: Annotated[int, Field(ge=0, le=SEEDS)] = 0
    steps: Annotated[int, Field(ge=1, le=STEPS)] | None = None
    solver: Solver | None = None
    guidance: Annotated[float, Field(ge=0, le=GUIDANCE)] | None = None
    trained: Annotated[int, Field(ge=0, le=SEEDS)] | None = None

    def sampling(self, run: RunDir) -> Sampling:
        own = run.protocol.sampling
        guidance = own.guidance if self.guidance is None else self.guidance
        if guidance != 1 and not run.protocol.guidable:
            raise BakeoffError(f"guidance = {guidance:g}: these models never saw a hidden label; allowed: 1.")
        return Sampling(
            steps=self.steps or min(own.steps, STEPS), solver=self.solver or own.solver, guidance=guidance, count=1
        )

    def check(self, run: RunDir) -> None:
        """Raises BakeoffError for what this run does not have."""
        self.sampling(run)
        self.seed(run)

    def seed(self, run: RunDir) -> int:
        seed = run.protocol.seeds[0] if self.trained is None else self.trained
        if seed not in run.protocol.seeds:
            raise BakeoffError(f"trained = {seed}; allowed: {', '.join(map(str, run.protocol.seeds))}.")
        return seed


def query_of(request: Request) -> Query:
    """Raises HTTPException 400 for what cannot be asked."""
    try:
        return Query.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "query"
        allowed = "" if first["type"] != "extra_forbidden" else f"; allowed: {', '.join(Query.model_fields)}"
        raise HTTPException(400, f"{name[:80]} = {str(first['input'])[:80]!r}: {first['msg']}{allowed}.") from None
