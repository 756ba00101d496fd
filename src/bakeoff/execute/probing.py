"""Probes that a user asks for, of a finished run: one process, alone on the machine, and a line in the ledger."""

from collections.abc import Sequence
from dataclasses import replace

from bakeoff.errors import BakeoffError
from bakeoff.execute.local import Job, Listener, Options, run_jobs
from bakeoff.execute.runner import alone, refuse_deviations, terminable
from bakeoff.probes import calls as calls_worker
from bakeoff.protocol.calls import LARGEST, CallsRecord
from bakeoff.protocol.probes import ProbeRecord
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.ledger import record, retract


def probe_calls(
    run: RunDir, ladder: Sequence[int], options: Options, listen: Listener, *, again: bool = False
) -> tuple[CallsRecord, ProbeRecord]:
    """Quality against calls of the network of every trained model, and the time of whole solves.

    What is measured is not measured again, and what was begun goes on, unless `again` says so.

    Args:
        ladder: numbers of calls a path, before guidance.

    Raises:
        Interrupted: stopped; the models that are done are kept.
        BakeoffError: the run is not finished, or not as it was sealed; its items are not made by a sampler; the ladder
            is no such thing, or another ladder was measured.
    """
    ladder = tuple(sorted(set(ladder)))
    if not ladder or ladder[0] < 1 or ladder[-1] > LARGEST:
        raise BakeoffError(
            f"--calls: {', '.join(map(str, ladder)) or 'none'}; allowed: whole numbers from 1 to {LARGEST}."
        )
    if not all(isinstance(run.protocol.of(one).sampling, Solver) for one in run.protocol.backbones):
        raise BakeoffError(
            f"{run.path}: decodes symbol after symbol; calls are of runs whose sampler goes from noise to data "
            "(objectives flow and ddpm)."
        )
    waiting = [trial.name for trial in run.trials() if not trial.done]
    if waiting:
        raise BakeoffError(
            f"{run.path}: not finished ({', '.join(waiting[:3])}{', ...' if len(waiting) > 3 else ''}); go on with "
            "bakeoff run --resume first."
        )
    refuse_deviations(run)
    calls, times = run.probe_file("calls"), run.probe_file("solve_time")
    with terminable(), alone(run) as lock:
        if again:
            retract(run, "calls are probed again", [calls, times])
            for path in (calls, times):
                path.unlink(missing_ok=True)
        before = run.calls()
        if before is not None and before.ladder != ladder:
            raise BakeoffError(
                f"{calls}: of {', '.join(map(str, before.ladder))} calls, not of {', '.join(map(str, ladder))}; give "
                "those, or --again to measure anew."
            )
        job = Job("probes", calls_worker.__name__, ["--calls", *map(str, ladder)])
        for _ in run_jobs(run, iter([job]), replace(options, jobs=1), listen, lock):
            pass
        record(run, "probe calls", [calls, times])
    found, timed = run.calls(), run.probe("solve_time")
    assert found is not None and timed is not None
    return found, timed
