"""The commands below ``restore checkpoints``; nothing heavy is imported before one of them runs."""

from pathlib import Path
from typing import Annotated

import typer

from restore_lib.cli.console import console
from restore_lib.errors import CheckpointError

checkpoints_app = typer.Typer(no_args_is_help=True, help="Trained weights: list, check and export them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `restore checkpoints list` shows, or a path.")]
Folder = Annotated[Path | None, typer.Option(help="Folder of checkpoints; the repository's checkpoints/ by default.")]


@checkpoints_app.command("list")
def list_checkpoints(folder: Folder = None) -> None:
    """Every checkpoint: what trained it, how far, how well it does, how large it is."""
    from rich.table import Table

    from restore_lib.pretrained import checkpoints

    folder = folder or checkpoints.checkpoints_folder()
    table = Table("name", "recipe", "tier", "steps", "seed", "size", "metrics", "licence", box=None, pad_edge=False)
    bad = []
    for name in checkpoints.names(folder):
        try:
            card = checkpoints.card(name, folder=folder)
        except CheckpointError as error:  # one damaged card must not hide the others
            bad.append(f"{name}: {error}")
            continue
        seed = "" if card.seed is None else str(card.seed)
        lost = "" if (folder / f"{name}.safetensors").exists() else "weights missing"
        size = lost or f"{card.bytes / 1e6:.1f} MB"
        row = (
            name,
            card.recipe,
            card.tier,
            f"{card.steps:,}",
            seed,
            size,
            _scores(card.metrics[:2]),
            card.licence.partition(" (")[0],
        )
        table.add_row(*row)
    if table.row_count:
        console().print(table)
    elif not bad:
        print(f"There are no checkpoints in {folder}.")
    if bad:
        raise CheckpointError("; ".join(bad))


@checkpoints_app.command()
def show(name: Name, folder: Folder = None) -> None:
    """The card of a checkpoint."""
    from restore_lib.pretrained import checkpoints

    card = checkpoints.card(name, folder=folder)
    lines = {
        "recipe": f"{card.recipe}, tier {card.tier}, {card.steps:,} steps"
        + ("" if card.seed is None else f", seed {card.seed}"),
        "network": card.builder,
        "weights": f"{card.parameters:,} parameters, {card.bytes:,} bytes",
        "sha256": card.sha256,
        "data": f"{card.dataset} ({card.dataset_hash})",
        "trained": f"{card.date} on {card.device}",
        "commit": card.commit,
        "versions": ", ".join(f"{key} {value}" for key, value in card.versions.items()),
        "licence": card.licence,
        "note": card.note or "-",
    }
    print(card.name)
    print("\n".join(f"  {key:<9} {value}" for key, value in lines.items()))
    for score in card.metrics:
        print(f"  {'metric':<9} {_scores([score])} ({score.protocol}; {score.record or 'while training'})")


@checkpoints_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All of them by default.")] = None,
    folder: Folder = None,
) -> None:
    """Compare weights with their cards: size, SHA-256, format, and that every number is finite."""
    from restore_lib.pretrained import checkpoints

    problems = []
    for name in names or checkpoints.names(folder):
        try:
            card = checkpoints.verify(name, folder=folder)
            print(f"{name}: whole and unchanged, {card.parameters:,} parameters")
        except CheckpointError as error:
            print(f"{name}: not good")
            problems.append(str(error))
    if problems:
        raise CheckpointError(" ".join(problems))


@checkpoints_app.command()
def export(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .safetensors, .pth or .onnx.")],
    folder: Folder = None,
) -> None:
    """Write one file for other programs: weights under the names they know, or ONNX compared with the network."""
    from restore_lib.pretrained import export

    if output.suffix.lower() == ".onnx":
        parity = export.export_checkpoint_onnx(name, output, folder=folder)
        sizes = " and ".join(f"{size[-2]} x {size[-1]}" for size in parity.sizes)
        print(f"{output} written: onnxruntime agrees to {parity.difference:.1g} on pictures of {sizes}")
    else:
        export.export_weights(name, output, folder=folder)
        header = ", with their card in the header" if output.suffix.lower() == ".safetensors" else ""
        print(f"{output} written: the weights{header}")


def _scores(scores) -> str:
    return "; ".join(f"{s.dataset} {s.condition} {s.metric} {s.value:.4g}" for s in scores)
