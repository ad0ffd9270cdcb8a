"""``satseg train``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from satseg.cli import console, options
from satseg.cli.evaluate import class_rows
from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.cli.console import ConsoleOutput
    from satseg.cli.table import Table
    from satseg.records import TrainingSummary
    from satseg.runs.log import LogRow

_BUDGET = "How long (one of the first three; default: 40 epochs)"
_LOSS = "What to learn"
_STEPS = "How to step"
_START = "What the network starts from"
_RUN = "How to run"
_WRITE = "What to write besides"


def train(
    ctx: typer.Context,
    tiles: Annotated[
        Path | None,
        typer.Argument(
            metavar="TILES",
            help="Folder that `satseg tile` wrote. Default: tiles. With --resume, the run's own; or name the run here.",
            show_default=False,
        ),
    ] = None,
    arch: options.Arch = "erfnet",
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Backbone of timm in place of the network's own, for networks that have one.",
            rich_help_panel=_START,
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Start the encoder from timm's weights, fetched once.", rich_help_panel=_START
        ),
    ] = False,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Start the encoder from weights in a file: .safetensors, or .pth of tensors alone.",
            rich_help_panel=_START,
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Start from the weights of this checkpoint or run, so far as they fit: other classes, other bands.",
            rich_help_panel=_START,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run. Default: the next runs/<arch>-<n>."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue a run with its own tiles and options: that at --output, else the newest unfinished one. "
            "With --epochs, --steps or --minutes it goes on until it has had so much in all, a finished one too, at "
            "the learning rates of a run of that length. Starts a run where there is none.",
        ),
    ] = False,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Passes over the training tiles.", rich_help_panel=_BUDGET)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Updates of the network.", rich_help_panel=_BUDGET)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Minutes of learning; starting up and validating come on top.", rich_help_panel=_BUDGET
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="End after N validations without a better score; 0 never does.",
            rich_help_panel=_BUDGET,
        ),
    ] = 0,
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Tiles at a time on each device; auto takes as many as fit into memory, 64 at most.",
            rich_help_panel=_STEPS,
        ),
    ] = "8",
    accumulate: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Batches whose gradients are averaged for one step.", rich_help_panel=_STEPS
        ),
    ] = 1,
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help="What takes the steps: adamw, sgd.", rich_help_panel=_STEPS)
    ] = "adamw",
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Peak learning rate: it warms up to it and decays. Default: 0.003 with adamw, 0.01 with sgd.",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How the learning rate decays: poly, cosine, one-cycle, constant.",
            rich_help_panel=_STEPS,
        ),
    ] = "poly",
    warm_up: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the run in which the learning rate rises. Default: 0.05, with one-cycle 0.3.",
            rich_help_panel=_STEPS,
        ),
    ] = None,
    weight_decay: Annotated[
        float,
        typer.Option(metavar="DECAY", help="Decay of weights; norms and biases have none.", rich_help_panel=_STEPS),
    ] = 1e-2,
    clip: Annotated[
        float,
        typer.Option(metavar="NORM", help="Largest norm of the gradient; 0 does not clip.", rich_help_panel=_STEPS),
    ] = 5.0,
    encoder_rate: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            help="Factor on the learning rate of the encoder, such as 0.1 for a pretrained one.",
            rich_help_panel=_STEPS,
        ),
    ] = 1.0,
    freeze_encoder: Annotated[
        float,
        typer.Option(
            metavar="EPOCHS", min=0, help="Epochs in which the encoder is left as it is.", rich_help_panel=_STEPS
        ),
    ] = 0.0,
    freeze_norm: Annotated[
        bool,
        typer.Option(
            "--freeze-norm", help="Leave the running statistics of batch norms as they are.", rich_help_panel=_STEPS
        ),
    ] = False,
    ema: Annotated[
        float,
        typer.Option(
            metavar="DECAY",
            help="Score and keep a moving average of the weights, such as 0.999; 0 takes the weights themselves.",
            rich_help_panel=_STEPS,
        ),
    ] = 0.0,
    loss: Annotated[
        str,
        typer.Option(
            metavar="SUM",
            help="What is minimised, such as ce + 0.5*dice: ce, dice, focal, jaccard, lovasz, ohem, relaxed, tversky.",
            rich_help_panel=_LOSS,
        ),
    ] = "ce + dice",
    class_weights: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="How rare classes are weighed in the losses of single pixels: none, inverse, median.",
            rich_help_panel=_LOSS,
        ),
    ] = "none",
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="Draw tiles so that every class comes alike, by the pixels that the index tells of each tile.",
            rich_help_panel=_LOSS,
        ),
    ] = False,
    augment: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How far tiles are changed: none, light (turns, flips, brightness and contrast), strong (rotation, "
            "scale, gamma, noise, blur, lost bands and CutMix too).",
            rich_help_panel=_LOSS,
        ),
    ] = "light",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Draw curves.png, and tiles.png with the best and worst val tiles, into the run.",
            rich_help_panel=_WRITE,
        ),
    ] = True,
    show_augment: Annotated[
        bool,
        typer.Option(
            "--show-augment",
            help="Draw augmented.png, training tiles as the network will see them, into the run.",
            rich_help_panel=_WRITE,
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Write the log as TensorBoard events, into the run.", rich_help_panel=_WRITE
        ),
    ] = False,
    val_split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="Split whose tiles tell which weights are best: val; train or test where there is no other, which "
            "flatters the network.",
            rich_help_panel=_RUN,
        ),
    ] = "val",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    devices: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Devices to train on, a process for each, on each node.", rich_help_panel=_RUN
        ),
    ] = 1,
    nodes: Annotated[int, typer.Option(metavar="N", min=1, help="Machines to train on.", rich_help_panel=_RUN)] = 1,
    precision: options.Precision = "auto",
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network first, for long runs on a GPU.", rich_help_panel=_RUN),
    ] = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a network on tiles, and keep the weights that score best on the val tiles."""
    from satseg.presence import require_checkpoint, require_custom_network, require_tiles

    if not resume:  # else the run knows where they are
        require_tiles("tiles" if tiles is None else tiles)
    require_custom_network(arch)
    if init_from is not None:
        require_checkpoint(init_from)
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    given = options.given(
        ctx,
        tiles=tiles,
        arch=arch,
        encoder=encoder,
        pretrained=pretrained,
        encoder_weights=encoder_weights,
        init_from=init_from,
        output=output,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        patience=patience,
        batch_size=_batch_size(batch_size),
        accumulate=accumulate,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        warm_up=warm_up,
        weight_decay=weight_decay,
        clip=clip,
        encoder_rate=encoder_rate,
        freeze_encoder=freeze_encoder,
        freeze_norm=freeze_norm,
        ema=ema,
        loss=loss,
        class_weights=class_weights,
        balance=balance,
        augment=augment,
        pictures=pictures,
        show_augment=show_augment,
        tensorboard=tensorboard,
        val_split=val_split,
        seed=seed,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
        compile=compile,
        threads=threads,
    )
    from satseg.workflows.train import process_of, train

    if process_of(resume=resume, **given) > 0:  # the others of a run would say the same once more
        logging.getLogger("satseg").setLevel(logging.ERROR)
        talk.json, talk.quiet = False, True
    summary = train(resume=resume, progress=talk.progress, watch=_LiveTable(talk).show, **given)
    talk.report(summary, _tables)


def _batch_size(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"A batch size is a number of tiles, 1 or more, or auto, not {text!r}.")
    return int(text)


class _LiveTable:
    """Says how a run goes, a line for every validation; the progress bar stays below.

    Args:
        talk: Where to say it.
    """

    def __init__(self, talk: ConsoleOutput) -> None:
        self._talk = talk
        self._begun = False

    def show(self, row: LogRow) -> None:
        """Say the line of a validation."""
        from satseg.progress import amount, clock

        if not self._begun:
            self._talk.say(f"{'epoch':>6} {'step':>8} {'loss':>8} {'mIoU':>7} {'rate':>13} {'time left':>10}")
            self._begun = True
        rate = f"{amount(row.pixels_per_second, 'px')}/s"
        numbers = f"{row.epoch:6.1f} {row.step:8,} {row.loss:8.4f} {row.miou:7.4f} {rate:>13}"
        self._talk.say(f"{numbers} {clock(row.seconds_left):>10}{'  best' if row.best else ''}")


def _tables(summary: TrainingSummary) -> list[Table]:
    done = f"{summary.steps:,} steps, {summary.epochs:.1f} epochs, {summary.seconds:.0f} s"
    files = [("best", summary.best), ("last", summary.last)]
    scores = class_rows(summary.validation)
    return [
        console.table(("", ""), files, title=f"Trained {summary.arch}: {done}"),
        console.table(*scores, title="Validation of the best checkpoint"),
    ]
