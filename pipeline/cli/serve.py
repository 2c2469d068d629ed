"""The command that serves a model; what it needs is imported inside it."""

import click

from arcface_common.artifacts import MODEL_NAME
from arcface_common.errors import DataError
from pipeline.cli.paths import InputFile, ModelFolder, Number, Whole
from pipeline.cli.quiet import quiet
from serving.inference.engines import ENGINES, TENSORFLOW, check_installed

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(epilog="Example: arcface-tfx serve build/demo/serving/arcface")
@click.argument("folder", type=ModelFolder())
@click.option("--host", default="127.0.0.1", show_default=True, help="Bind this address; 0.0.0.0 lets others in.")
@click.option("--port", type=Whole(0, 65535), default=8500, show_default=True, help="Bind this port for gRPC.")
@click.option("--rest-port", type=Whole(0, 65535), default=8501, show_default=True, help="Bind this port for HTTP.")
@click.option("--model-name", default=MODEL_NAME, show_default=True, help="Let clients ask for the model by this name.")
@click.option(
    "--engine",
    type=click.Choice((TENSORFLOW, *ENGINES)),
    default=TENSORFLOW,
    show_default=True,
    help="Compute the network by this. What comes before it, such as decoding, is TensorFlow's in any case.",
)
@click.option(
    "--batching-parameters-file",
    type=InputFile(),
    help="Batch as this file of TF Serving's says. The default is serving/tf_serving/batching.config.",
)
@click.option("--num-versions", type=Whole(min=1), default=1, show_default=True, help="Serve so many of the latest.")
@click.option("--version", "specific", type=Whole(min=0), multiple=True, help="Serve these versions alone.")
@click.option("--label", multiple=True, metavar="NAME=VERSION", help="Let clients ask for a version by a label.")
@click.option(
    "--poll-seconds",
    type=Number(0.05),
    default=1.0,
    show_default=True,
    help="Look for versions so often.",
)
@click.option("--max-body-mb", type=Whole(1, 2047), default=64, show_default=True, help="Refuse larger requests.")
@click.option(
    "--max-rows",
    type=Whole(min=1),
    default=4096,
    show_default=True,
    help="Refuse requests of more images, or of whatever a signature takes.",
)
@click.option(
    "--timeout-seconds",
    type=Number(0.01),
    default=30.0,
    show_default=True,
    help="Give up a request that is not answered by then.",
)
@click.option(
    "--drain-seconds",
    type=Number(0),
    default=30.0,
    show_default=True,
    help="At SIGTERM, wait so long for the answers of open requests.",
)
@click.option("--token-file", type=InputFile(), help="Ask for the bearer token in this file.")
@click.option("--tls-cert", type=InputFile(), help="Speak TLS with this certificate chain (PEM).")
@click.option("--tls-key", type=InputFile(), help="The certificate's key (PEM).")
@click.option("--log-requests", is_flag=True, help="Write a line for each request; never an image or an embedding.")
def serve(
    folder: str,
    host: str,
    port: int,
    rest_port: int,
    model_name: str,
    engine: str,
    batching_parameters_file: str | None,
    num_versions: int,
    specific: tuple[int, ...],
    label: tuple[str, ...],
    poll_seconds: float,
    max_body_mb: int,
    max_rows: int,
    timeout_seconds: float,
    drain_seconds: float,
    token_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    log_requests: bool,
) -> None:
    """Serve a model over gRPC and REST, as TF Serving does.

    FOLDER is a folder of versions, of which the latest is served and new ones are taken over, or one model. It speaks
    TF Serving's API and the Open Inference Protocol, and has a page at http://HOST:REST_PORT/.
    """
    if "/" in model_name or ":" in model_name or not model_name:
        raise DataError(f"--model-name: expected a name without / and :. Received: {model_name!r}")
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    check_installed(engine)
    with quiet():
        from serving.server.words import tell

        tell(f"starting: {folder}")
        from serving.server.launch import Options
        from serving.server.launch import serve as run
        from serving.server.limits import Limits, Token
        from serving.server.manager import Policy
        from serving.server.parameters import DEFAULT, read_batching_parameters
        from serving.token_file import read_token
        from serving.versions import find

        find(folder)
        if host not in _LOOPBACK and token_file is None:
            tell(f"warning: {host} lets everybody in who reaches it; --token-file asks for a token")
        run(
            Options(
                folder,
                model_name,
                host,
                port,
                rest_port,
                read_batching_parameters(batching_parameters_file or DEFAULT),
                Policy(num_versions, frozenset(specific), dict(map(_label, label))),
                Limits(body_bytes=max_body_mb << 20, rows=max_rows, seconds=timeout_seconds),
                Token() if token_file is None else Token(read_token(token_file)),
                None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
                poll_seconds,
                drain_seconds,
                log_requests,
                engine,
            )
        )


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not (version.isascii() and version.isdecimal()):
        raise DataError(f"--label: expected NAME=VERSION, such as stable=1700000000. Received: {text!r}")
    return name, int(version)
