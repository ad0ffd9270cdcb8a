"""The ``satseg`` command: its subcommands, and ``main()``, which turns errors into messages and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from satseg.backend import custom_code_errors
from satseg.cli import (
    benchmark,
    demo,
    evaluate,
    export,
    info,
    models,
    options,
    predict,
    propagate,
    streams,
    tile,
    train,
    vectorize,
)
from satseg.cli.console import ConsoleOutput, LogHandler
from satseg.cli.failures import SEE_WHERE
from satseg.errors import CheckpointError, SatsegError, UsageError
from satseg.version import __version__

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


_FILES = {"FILE", "FILES", "DIR", "SCENES"}  # metavars of options that name some


def _without_types(parameters: list[Any]) -> list[Any]:
    """Leave the types of flags and arguments, such as ``<bool>``, out of the help."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        elif parameter.is_flag:
            parameter.metavar = ""
    return parameters


class _Interruption(Exception):  # noqa: N818 - nothing went wrong
    """Ctrl-C with the message of the code it interrupted; Typer would drop the message."""


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.ensure_object(ConsoleOutput).attend(ctx)
        self._refuse_repeated_files(ctx, args)
        return super().parse_args(ctx, args)

    def _refuse_repeated_files(self, ctx: Any, args: list[str]) -> None:
        """Refuse a second value of options that name one file or folder; Typer would silently take the last."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(given).items():
            if count > 1 and not option.multiple and _FILES & set((option.metavar or "").split()):
                name = max(option.opts, key=len)
                raise UsageError(f"{name} is given {count} times; it takes one value.", hint="Give it once.")

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interruption(str(error)) from error
        except SystemError as error:
            # Raised within compiled code, the interruption comes out as what the interpreter makes of it.
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise _Interruption(str(error.__cause__)) from error
            raise


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


app = typer.Typer(
    name="satseg",
    cls=_Group,
    help="From georeferenced scenes and a few labels to maps: tile, train, evaluate, predict, vectorize.",
    epilog="`satseg demo` runs the whole path on sample scenes that ship with the package.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _tell_version(debug: bool) -> None:
    """Print the version, and with ``--debug`` those of all that it runs on."""
    if not debug:
        typer.echo(f"satseg {__version__}")
        return
    from satseg.workflows.versions import versions

    for name, version in versions().items():
        typer.echo(f"{name} {version}")


@app.callback(invoke_without_command=True)
def satseg(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit; with --debug, also those of all libraries.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """From georeferenced scenes and a few labels to maps: tile, train, evaluate, predict, vectorize."""
    if version:
        _tell_version(debug)
        raise typer.Exit
    ctx.ensure_object(ConsoleOutput).debug = debug
    if ctx.invoked_subcommand is None:
        with redirect_stdout(sys.stderr):
            typer.echo(ctx.get_help())
        raise typer.Exit(WRONG_USAGE)


for _command in (
    demo.demo,
    tile.tile,
    train.train,
    evaluate.evaluate,
    predict.predict,
    vectorize.vectorize,
    propagate.propagate,
    export.export,
    models.models,
    benchmark.benchmark,
    info.info,
):
    app.command(cls=_Command)(_command)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code.

    Args:
        args: Words after ``satseg``; by default those the process was started with.
    """
    streams.settle()
    out = ConsoleOutput()
    with _attended(out):
        code = run(sys.argv[1:] if args is None else args, out)
    sys.exit(code)


def run(args: Sequence[str], out: ConsoleOutput) -> int:
    """Run one command line, print errors on stderr, and return the exit code."""
    try:
        with custom_code_errors():
            code = app(list(args), prog_name="satseg", obj=out, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        out.error(_of_numbers(error.format_message()), hint=_help_hint(error, args))
        return WRONG_USAGE
    except _Interruption as error:
        return _interrupted(str(error), out)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except SystemExit as error:  # of rich, where nobody reads its help
        return error.code if isinstance(error.code, int) else FAILED
    except Exception as error:
        return _failed(error, out)
    finally:
        out.close()
    return _interrupted("", out) if code == INTERRUPTED else int(code or DONE)


def _interrupted(how_to_go_on: str, out: ConsoleOutput) -> int:
    out.close()
    if how_to_go_on:
        out.warn(how_to_go_on)
    else:
        out.say("Interrupted.")
    return INTERRUPTED


def _of_numbers(message: str) -> str:
    """Return a message on a command line, in plain words where it quotes the library that parses numbers."""
    names = {"integer": "whole number", "number": "number"}
    library = re.compile(r"Input should be a valid (integer|number)\b.*")
    return library.sub(lambda kind: f"it is not a {names[kind[1]]}.", message)


def _failed(error: Exception, out: ConsoleOutput) -> int:
    out.close()
    if out.debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, SatsegError):
        out.error(error.message, hint=" ".join(filter(None, (_origin_of_model(error, out), error.hint))) or None)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    hint = None if out.debug else SEE_WHERE
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Make room, or write to another disk."
    out.error(_one_sentence(error), hint=hint)
    return FAILED


def _origin_of_model(error: SatsegError, out: ConsoleOutput) -> str | None:
    """Return a sentence on the environment variable that named the checkpoint, which users may have forgotten."""
    variable = out.came_from("model") if isinstance(error, CheckpointError) else None
    return f"The checkpoint was named by ${variable}." if variable else None


def _one_sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    if isinstance(error, MemoryError):
        return "Not enough memory."
    lines = str(error).strip().splitlines() or ["no message"]
    return f"Unexpected error ({type(error).__name__}: {lines[0]})."


def _help_hint(error: typer.TyperException, args: Sequence[str]) -> str:
    """Return a hint to the help of the command; errors of the parser do not always name it."""
    ctx = getattr(error, "ctx", None)
    commands = getattr(typer.main.get_command(app), "commands", {})
    command = " ".join(["satseg", *[word for word in args[:1] if word in commands]])
    return f"Try '{ctx.command_path if ctx else command} --help'."


def _broken_pipe() -> int:
    """End quietly if the reader of stdout has ended; buffered output cannot be delivered."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


@contextmanager
def _attended(out: ConsoleOutput) -> Iterator[None]:
    """Print the log of satseg, keep messages of GDAL off stderr, and let SIGTERM clean up as Ctrl-C does."""
    # What matters of it is raised, and said once by us. GDAL looks here before it says something for the first time.
    os.environ.setdefault("CPL_LOG", os.devnull)
    logger = logging.getLogger("satseg")
    handler = LogHandler(out)
    level, propagate = logger.level, logger.propagate
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may ignore it for background jobs
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, out.interrupt) for number in numbers}
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # those of the libraries; ours go through the logger
            yield
    finally:
        handler.tell_rest()
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        for number, earlier in before.items():
            signal.signal(number, earlier)
