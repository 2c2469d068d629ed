"""Commands that ask a model server in place of a model's folder."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from arcface_common.artifacts import MODEL_NAME
from arcface_common.console import waiting
from arcface_common.errors import DataError
from pipeline.cli.paths import InputFile

_Function = TypeVar("_Function", bound=Callable[..., Any])


def server_options(command: _Function) -> _Function:
    """Adds `--server` and what goes with it."""
    for option in (
        click.option("--ca-cert", type=InputFile(), help="Trust this authority (PEM) for grpcs:// and https://."),
        click.option("--token-file", type=InputFile(), help="Send the bearer token in this file to the server."),
        click.option(
            "--server-model", default=MODEL_NAME, show_default=True, help="Ask the server for the model of this name."
        ),
        click.option(
            "--server",
            metavar="HOST:PORT",
            help="Ask a model server by gRPC, in place of MODEL, which is left out. grpcs://, http:// or https:// "
            "before it says another way.",
        ),
    ):
        command = option(command)
    return command


def opened(model: str, server: str | None, server_model: str, token_file: str | None, ca_cert: str | None) -> Any:
    """The model in a folder, or the one that a server computes.

    Raises:
      DataError: it can't be loaded, or doesn't answer.
    """
    if server is None:
        with waiting(f"loading {model}"):
            from serving.local import LocalModel

            return LocalModel(model)
    from serving.client import RemoteModel
    from serving.token_file import read_token

    token = None if token_file is None else read_token(token_file)
    return RemoteModel(server, server_model, token=token, certificate=ca_cert)


def converted(kind: click.ParamType, name: str, value: str) -> str:
    """An argument as its type takes it; which type that is depends on others.

    Raises:
      DataError: it doesn't.
    """
    try:
        return str(kind.convert(value, None, None))
    except DataError as error:
        raise DataError(f"{name.upper()}: {error}") from error


def check_alone(server: str | None, **given: Any) -> None:
    """Checks that what goes with `--server` doesn't come without it.

    Raises:
      DataError: it does.
    """
    for name, value in given.items():
        if server is None and value is not None:
            raise DataError(f"--{name.replace('_', '-')}: expected --server, which it goes with. Received: none")
