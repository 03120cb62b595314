"""The application: its global options, and errors as one line."""

import functools
import os
import re
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from .columns import as_options

FAILED, INTERRUPTED = 2, 130  # 128 + SIGINT, as shells report it
_shown = SimpleNamespace(traceback=False)
"""Set by the global options of each call."""

app = typer.Typer(
    help="Learn the Hamiltonian of interacting bodies from data, and simulate with it.\n\n"
    "From data to a picture:\n\n"
    "hgn-jax fit springs.csv -o springs.hgn\n\n"
    "hgn-jax rollout springs.hgn springs.csv -o run.h5 --steps 10000\n\n"
    "hgn-jax plot run.h5 -o run.png",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help fits narrow screens
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. [env: HGN_TRACEBACK]")
    ] = False,
) -> None:
    """Turns on 64-bit mode: the library itself changes no setting of JAX."""
    _shown.traceback = debug or os.environ.get("HGN_TRACEBACK", "0") not in ("", "0")
    import jax

    jax.config.update("jax_enable_x64", True)
    warnings.showwarning = _show_warning  # type: ignore[assignment]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a subcommand whose errors are one line on stderr, with exit code 2."""

    @functools.wraps(function)  # typer reads the options from the signature
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (typer.Exit, typer.Abort):  # no errors: typer leaves a command by them
            raise
        except KeyboardInterrupt:
            typer.echo("interrupted: files written so far remain", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if _shown.traceback:
                raise
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(FAILED) from None

    app.command()(guarded)
    return guarded


def one_line(error: Exception) -> str:
    """The message of an error, without the number of the system's error."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        words = error.strerror[:1].lower() + error.strerror[1:]
        return f"{os.fspath(error.filename)}: {words}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Long texts are those of libraries below, which say what happened first.
    words = " ".join(lines if len(lines) <= 3 else lines[:1])
    names = r"\b(edges|cutoff|mass|coupling|columns|units|every|dt)=(?=([^\s,;:)]?))"
    return as_options(re.sub(names, _as_option, words))


def _as_option(argument: re.Match[str]) -> str:
    """The option of the command for an argument of the library."""
    option = "--edges" if argument[1] == "cutoff" else f"--{argument[1]}"
    return f"{option} " if argument[2] else option  # no value follows


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):  # others, such as deprecations, are for developers
        print(f"warning: {message}", file=sys.stderr)
