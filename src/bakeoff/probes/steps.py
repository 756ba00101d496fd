"""How many steps of a sampler fit into a number of calls of the network."""

from bakeoff.protocol.calls import LARGEST
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.trial.candidate import Candidate


def with_calls(candidate: Candidate, calls: int) -> Solver | None:
    """The candidate's sampling with the most steps that take so many calls a path, guidance left out; None if not even
    one step does. Its items must be made by a sampler with steps.
    """
    sampling, prompts = candidate.protocol.sampling, candidate.task.prompts(1)
    assert isinstance(sampling, Solver)  # `bakeoff.execute.probing` refuses others
    # a step takes one call or two, and the last one of Heun's may take one where the others take two
    for steps in (calls, (calls + 1) // 2, calls // 2):
        if 1 <= steps <= LARGEST:
            fitted = sampling.model_copy(update={"steps": steps})
            if candidate.objective.nfe(fitted.model_copy(update={"guidance": 1.0}), prompts) <= calls:
                return fitted
    return None
