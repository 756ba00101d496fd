"""Runs a plan: one process per trial, seed by seed, then the probes, then the verdict."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from bakeoff.artefacts.sheets import png, side_by_side
from bakeoff.errors import BakeoffError
from bakeoff.execute.deadline import PROBES_S, expected_s, left_s, require_time
from bakeoff.execute.estimate import require_room_for
from bakeoff.execute.local import Job, Listener, Options, run_jobs
from bakeoff.judging.verdicts import sealed_verdict, verdict_json, verdict_of
from bakeoff.probes import worker as probe_worker
from bakeoff.protocol.documents import read_toml
from bakeoff.protocol.presets import dump_protocol
from bakeoff.protocol.probes import PROBES
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.seal import Seal, deviations
from bakeoff.protocol.verdict import Verdict
from bakeoff.rundir.directory import RunDir, TrialDir, read_seal
from bakeoff.rundir.files import make_folder, read_json, write_atomic, write_json
from bakeoff.rundir.ledger import MADE_AGAIN, NAME, TRIALS, changed_files, read_ledger, record, retract, sealed_files
from bakeoff.rundir.locks import held
from bakeoff.rundir.repair import repair
from bakeoff.rundir.version import running_code
from bakeoff.tasks import inputs
from bakeoff.trial import worker as trial_worker
from bakeoff.trial.events import (
    AlreadyDone,
    Chosen,
    Damaged,
    MachineChanged,
    Measured,
    SoFar,
)
from bakeoff.trial.meters import environment
from bakeoff.trial.plan import Plan, lint_plan, make_plan, plan_json, refuse_errors

LEFTOVER = ".protocol.toml.tmp"  # left by a run that was killed before its first file was complete


def prepare(path: Path, protocol: Protocol, *, resume: bool) -> RunDir:
    """Makes a run directory for the protocol, or opens the existing one with `resume`.

    Raises:
        BakeoffError: the folder holds another protocol's run, this one's without `resume`, or other files.
    """
    run = RunDir(path, protocol)
    if path.exists() and not path.is_dir():
        raise BakeoffError(f"{path}: is a file; give a folder for the run (--out).")
    if (path / "protocol.toml").is_file():
        run = RunDir.open(path)
        existing = run.protocol
        if existing.digest() != protocol.digest():
            raise BakeoffError(
                f"{path}: holds a run of another protocol ({existing.name}, digest {existing.digest()[:12]}; "
                f"given: {protocol.name}, {protocol.digest()[:12]}). Choose another --out."
            )
        trained = any((path / folder).exists() for folder in TRIALS)
        if not resume and trained:
            raise BakeoffError(f"{path}: holds a run of this protocol already; add --resume to go on with it.")
        plan = make_plan(protocol)
        refuse_errors(lint_plan(plan))
        require_room_for(run, plan)
        begun = (run.path / NAME).exists() or trained
        if not run.seal.is_file() and not begun:  # the run was killed right after it wrote the protocol
            write_seal(run, plan)
        refuse_deviations(run)
        record_seal(run)
        return run
    if path.is_dir() and any(entry.name != LEFTOVER for entry in path.iterdir()):
        raise BakeoffError(f"{path}: is not empty and not a run directory; choose another --out.")
    plan = make_plan(protocol)
    refuse_errors(lint_plan(plan))
    require_room_for(run, plan)
    try:
        make_folder(path)
        write_atomic(path / "protocol.toml", dump_protocol(protocol).encode())
        write_seal(run, plan)
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be written ({error.strerror}); choose another --out.") from error
    return run


def write_seal(run: RunDir, plan: Plan) -> None:
    """Writes what was decided before the first step: protocol, plan, all inputs, the code's version and the time."""
    protocol = run.protocol
    seal = Seal(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=protocol.digest(),
        protocol=protocol.document(),
        inputs=inputs(protocol),
        code=running_code(),
        plan=plan_json(plan, None),
    )
    write_json(run.seal, seal)
    run.sealed = seal
    record_seal(run)


def record_seal(run: RunDir) -> None:
    """Writes the first line of the ledger if it is missing; a run may have been killed before it."""
    if not (run.path / NAME).exists():
        record(run, "sealed", [run.path / "protocol.toml", run.seal])


def refuse_deviations(run: RunDir) -> None:
    """Raises BakeoffError if resuming would train or judge with anything other than what was sealed."""
    seal = read_seal(run.path)
    changes = deviations(seal, read_toml(run.path / "protocol.toml"), inputs(run.protocol))
    if changes:
        raise BakeoffError(
            f"{run.path}: not as it was sealed, so going on would mix two experiments:\n"
            + "\n".join(f"  {change}" for change in changes)
            + f"\nRestore it (it was sealed by {seal.code}), or begin a new run with another --out."
        )


def execute(run: RunDir, options: Options, listen: Listener) -> Verdict:
    """Runs what is not done yet and returns the verdict; `listen(name, event)` is called for all progress.

    A run whose protocol sweeps begins with the trials of the sweep.

    Raises:
        Interrupted: SIGINT or SIGTERM; the running trial has saved a checkpoint.
        OutOfTime: the next part would miss the deadline; every part that was begun is done.
        BakeoffError: a trial's process refused its input, or several jobs would share a GPU.
    """
    if options.jobs > 1 and options.device != "cpu":
        raise BakeoffError(f"{options.jobs} jobs on {options.device}: several at once are allowed on the CPU alone.")
    with terminable(), alone(run) as lock:
        finished = _finished(run)
        damage = changed_files(run.path, (path for path in sealed_files(run.path) if path.name not in MADE_AGAIN))
        for name, problem in damage.items():
            of_trial = name.partition("/")[0] in TRIALS
            remedy = "delete its trial's folder to have it run again" if of_trial else "verify says so"
            listen(name, Damaged(f"{name} is not what was recorded ({problem}); {remedy}."))
        repair(run, lambda name, message: listen(name, Damaged(message)))
        if finished and not damage and _finished(run):
            for trial in run.all_trials():
                listen(trial.name, AlreadyDone())
            # people may have voted since
            return _conclude(run) if run.protocol.bar.measure == "human" else sealed_verdict(run.path)[1]
        known = read_ledger(run.path).files
        unknown = [one for one in run.all_trials() if one.done and f"{one.place}/measurement.json" not in known]
        if len(unknown) > _at_once(run, options):  # a killed run leaves no more
            damage[NAME] = f"{len(unknown)} finished trials are not in it"
        _note_environment(run, options, listen, damage)
        for _ in _run_trials(run, run.sweep_trials(), options, listen, lock):
            pass
        if (found := run.swept()) is not None:
            listen("", Chosen(found))
        if options.only_sweep:
            return verdict_of(run)
        for trial in _run_trials(run, run.trials(), options, listen, lock):
            of_seed = [one for one in run.trials() if one.seed == trial.seed]
            if all(one.done for one in of_seed) and not all(one.done for one in run.trials()):
                listen("", SoFar(verdict_of(run), left_s(run, options.device) / options.jobs))
        write_overview(run)  # the run may have been killed between the last trial and its picture
        files = [path for path in run.parts().values() if path != run.verdict]
        missing = [path for path in files if not path.is_file()]
        if missing:
            require_time(run, options.deadline, "the probes", PROBES_S)
            retract(run, "probes are made again", missing)
            job = Job("probes", probe_worker.__name__, ["--probe", *PROBES])
            for _ in run_jobs(run, iter([job]), replace(options, jobs=1), listen, lock):
                pass
            record(run, "probes", files)
        record(run, "probes", files, only_new=True)
        return _conclude(run)


def _run_trials(
    run: RunDir, trials: Iterable[TrialDir], options: Options, listen: Listener, lock: int
) -> Iterator[TrialDir]:
    """Runs those that are not done, and gives each as soon as it is; the ledger is written here alone."""
    begun: dict[str, TrialDir] = {}

    def jobs() -> Iterator[Job]:
        for trial in trials:
            if trial.done:
                listen(trial.name, AlreadyDone())
                record(run, f"trial {trial.name}", sealed_files(trial.path), only_new=True)
                continue
            require_time(run, options.deadline, trial.name, expected_s(run, trial, options.device))
            retract(run, f"trial {trial.name} is run again", sealed_paths(trial))
            begun[trial.name] = trial
            tries = [] if trial.tries is None else ["--tries", repr(trial.tries)]
            yield Job(trial.name, trial_worker.__name__, ["--trial", trial.backbone, str(trial.seed), *tries])

    with closing(run_jobs(run, jobs(), options, listen, lock)) as ended:
        for name in ended:
            trial = begun[name]
            listen(name, Measured(trial.measurement()))
            write_overview(run)
            record(run, f"trial {name}", [*sealed_files(trial.path), run.overview])
            yield trial


def _conclude(run: RunDir) -> Verdict:
    _, verdict = sealed_verdict(run.path)
    write_json(run.verdict, verdict_json(run, verdict))
    record(run, "verdict", [run.verdict, run.overview])
    return verdict


def sealed_paths(trial: TrialDir) -> list[Path]:
    """The files that a finished trial leaves, whether they exist or not."""
    return [trial.metrics, trial.model, trial.samples, trial.states, trial.grid, trial.measurement_file]


def _finished(run: RunDir) -> bool:
    made = all(path.is_file() for path in run.parts().values())
    return made and all(trial.done for trial in run.all_trials())


def write_overview(run: RunDir) -> None:
    """Writes samples.png: the grids of the first finished seed side by side; equal places have equal noise."""
    for seed in run.protocol.seeds:
        found = [run.trial(backbone.name, seed) for backbone in run.protocol.backbones]
        count = run.protocol.sampling.count
        grids = [
            (trial.name, run.kind.sheet(trial.items().take(0, count)))
            for trial in found
            if trial.done and trial.samples.is_file()
        ]
        if grids:
            write_atomic(run.overview, png(side_by_side(grids)))
            return


def _note_environment(run: RunDir, options: Options, listen: Listener, damage: Mapping[str, str]) -> None:
    """Records the environment once a run; a resumed run reports what has changed since."""
    now = environment(torch.device(options.device))
    now |= {"threads": options.threads_each} if options.threads_each else {}
    now |= {"jobs": options.jobs} if options.jobs > 1 else {}
    if not run.environment.is_file():
        write_json(run.environment, now | {"command": sys.argv, "resumed_on": []})
        record(run, "started", [run.environment])
        return
    before = read_json(run.environment)
    changed = {key: value for key, value in now.items() if before.get(key) != value}
    earlier = before.get("resumed_on")
    resumed_on = [*(earlier if isinstance(earlier, list) else []), changed]
    write_json(run.environment, before | {"resumed_on": resumed_on})
    changes = ", ".join(f"{name}: {problem}" for name, problem in damage.items())
    record(run, f"resumed (meanwhile {changes})" if damage else "resumed", [run.environment])
    if changed:
        listen("", MachineChanged(changed))


def _at_once(run: RunDir, options: Options) -> int:
    """The most trials that have ever been at work here at once, by the record of the environment."""
    known = read_json(run.environment) if run.environment.is_file() else {}
    resumed = known.get("resumed_on")
    calls = [known, *(one for one in (resumed if isinstance(resumed, list) else []) if isinstance(one, dict))]
    return max([options.jobs, *(one["jobs"] for one in calls if isinstance(one.get("jobs"), int))])


@contextmanager
def alone(run: RunDir) -> Iterator[int]:
    """Locks the run directory; the trials inherit the lock, so an orphaned trial still keeps other runs out.

    Raises:
        BakeoffError: another process still works there after ten seconds.
    """
    busy = f"{run.path}: another run is working in this directory; wait for it, or stop it."
    with held(run.path / ".lock", busy) as lock:
        yield lock


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM stop the run as Ctrl-C does; signals are the main thread's, and in another nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def default_out(protocol: Protocol) -> Path:
    return Path(os.environ.get("BAKEOFF_RUNS", "runs")) / protocol.name
