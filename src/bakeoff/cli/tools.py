"""Commands that look at one thing: a trained model, a mixer, the existing runs, this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bakeoff.cli.base import (
    FAILED,
    DeviceOption,
    JsonOption,
    PluginsOption,
    app,
    device_of,
    new_console,
    permit,
    print_json,
)
from bakeoff.errors import BakeoffError

if TYPE_CHECKING:
    from bakeoff.protocol.schema import Protocol
    from bakeoff.protocol.sections.sampling import Sampling


@app.command()
def sample(
    checkpoint: Annotated[
        Path, typer.Argument(help="A trial's model.safetensors, or any state_dict of such a model (safetensors, .pt).")
    ],
    protocol: Annotated[
        str | None, typer.Option(help="For weights without a header: the preset or TOML file they were trained by.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="For weights without a header: which backbone they are.")] = None,
    label: Annotated[int | None, typer.Option(min=0, help="Label to draw; default: all of them in turn.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 64,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Solver steps; default: the protocol's.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=100, help="Of decoding; 0 takes the likeliest. Default: the protocol's.")
    ] = None,
    solver: Annotated[
        Literal["euler", "midpoint", "heun", "ddim", "ancestral", "dpmpp2m"] | None,
        typer.Option(help="Default: the protocol's; ancestral is of ddpm alone."),
    ] = None,
    eta: Annotated[
        float | None, typer.Option(min=0, max=1, help="New noise of ddim's steps; default: the protocol's.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, max=20, help="Classifier-free guidance weight; default: the protocol's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("grid.png"),
    device: DeviceOption = "auto",
    allow_plugins: PluginsOption = False,
) -> None:
    """Draw samples from a trained model."""
    from bakeoff.artefacts.base import build_kind
    from bakeoff.artefacts.sheets import png
    from bakeoff.protocol.presets import load_protocol
    from bakeoff.rundir.files import write_atomic
    from bakeoff.trial.checkpoint import load_model

    permit(allow_plugins)
    loaded = load_model(checkpoint, None if protocol is None else load_protocol(protocol), backbone)
    classes = loaded.task.space.classes
    if label is not None and not classes:
        raise BakeoffError(f"--label {label}: this model is unconditional; leave --label out.")
    if label is not None and label >= classes:
        raise BakeoffError(f"--label {label}; allowed: 0 to {classes - 1}.")
    given = {"steps": steps, "solver": solver, "eta": eta, "guidance": guidance, "temperature": temperature}
    sampling = _changed(loaded.protocol, {name: value for name, value in given.items() if value is not None})
    loaded.model.to(device_of(device))
    prompts = loaded.task.prompts(count, label)
    generated = loaded.generator()(prompts, sampling, seed)
    try:
        write_atomic(out, png(build_kind(loaded.task.kind).sheet(loaded.task.items(generated.x, prompts))))
    except OSError as error:
        raise BakeoffError(f"--out {out}: cannot be written ({error.strerror}).") from error
    shown = [name for name in given if name in type(sampling).model_fields]
    how = ", ".join(f"{name} {getattr(sampling, name)}" for name in shown if name != "eta" or getattr(sampling, name))
    typer.echo(f"{out}: {count} samples, {how}, {generated.nfe} evaluations each")


def _changed(protocol: "Protocol", changes: dict[str, Any]) -> "Sampling":
    """The protocol's sampling with the options given; refuses what it could not have been sealed with."""
    from bakeoff.protocol.documents import parse_document

    own, options = protocol.sampling, " ".join(f"--{name} {value}" for name, value in changes.items())
    allowed = [name for name in ("steps", "solver", "eta", "guidance", "temperature") if name in type(own).model_fields]
    if unknown := [name for name in changes if name not in allowed]:
        raise BakeoffError(
            f"--{unknown[0]}: this model samples by {own.kind}; allowed: {', '.join(f'--{name}' for name in allowed)}."
        )
    if changes.get("guidance", 1.0) != 1.0 and not protocol.guidable:
        raise BakeoffError(f"{options}: this model was trained without label dropout; only --guidance 1 works.")
    sampling = parse_document(type(own), {**own.model_dump(), **changes}, options, "sampling section")
    try:
        protocol.model_copy(update={"sampling": sampling}).check_sampling()
    except ValueError as error:
        raise BakeoffError(f"{options}: {error}.") from None
    return sampling


@app.command("check-plugin")
def check_plugin(
    name: Annotated[str, typer.Argument(help="package.module:Class, or a name that --plugin modules register.")],
    plugin: Annotated[
        list[str], typer.Option(metavar="MODULE", help="Module to import first, which registers the name. Repeatable.")
    ] = [],  # noqa: B006
    option: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Option for the constructor. Repeatable.")
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Test whether a mixer keeps the contract.

    Shapes, gradients, determinism, initialisation, independence of samples, costs. Naming it here allows its code to
    be loaded. Exit code 0 if all checks hold, 1 if one does not.
    """
    from bakeoff.protocol.presets import parse_options

    options = parse_options(option)
    permit(True)
    from bakeoff.models.backbones import mixer_class
    from bakeoff.models.contract import check_mixer
    from bakeoff.registry import load_plugins

    load_plugins(plugin)
    checks = check_mixer(mixer_class(name), options)
    if as_json:
        print_json({"mixer": name, "checks": [vars(check) for check in checks]})
    else:
        from bakeoff.cli.terminal import show_checks

        show_checks(new_console(), name, checks)
    if not all(check.passed for check in checks):
        raise typer.Exit(FAILED)


@app.command()
def ls(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder to look for runs in; default: runs.")
    ] = None,
    backbones: Annotated[
        bool, typer.Option("--backbones", help="The backbones that ship, with their sources.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List presets, and runs below a folder; or the backbones that ship."""
    from bakeoff.cli.listing import list_backbones, list_presets, list_runs, show_backbones, show_listing

    if backbones:
        return print_json({"backbones": list_backbones()}) if as_json else show_backbones(new_console())
    if directory is not None and not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "no such folder"
        raise BakeoffError(f"{directory}: {problem}; give the folder to look for runs in.")
    directory = directory or Path("runs")
    presets, runs = list_presets(), list_runs(directory)
    if as_json:
        print_json({"presets": presets, "runs": runs})
    else:
        show_listing(new_console(), presets, runs, directory)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Show versions, devices and kernels.

    Which back end serves each operation, and why.
    """
    from bakeoff.cli.doctor import diagnose, show_diagnosis

    found = diagnose()
    if as_json:
        print_json(found)
    else:
        show_diagnosis(new_console(), found)
