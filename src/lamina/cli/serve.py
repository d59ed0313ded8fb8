"""`lamina serve`."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    dir: Annotated[
        str | None,
        typer.Argument(metavar="[DIR]", help="Database directory; made if absent. Also LAMINA_DIR, RS_DATA_PATH."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Default 8383; 0 picks one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="BTrDB protocol; default 4410; 0 picks one.")] = None,
    grpc_tls_port: Annotated[
        int | None, typer.Option(help="The same with TLS, if there is a certificate; default 4411.")
    ] = None,
    api_token: Annotated[
        str | None,
        typer.Option(help="A token with full access. Better set LAMINA_API_TOKEN: flags show in the process list."),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Serve everybody who reaches the ports, on any address.")
    ] = False,
    cert: Annotated[
        str | None,
        typer.Option(help="PEM file with the certificate chain: TLS for HTTP and on the gRPC TLS port."),
    ] = None,
    cert_key: Annotated[str | None, typer.Option(help="PEM file with its key.")] = None,
    durability: Annotated[
        str | None,
        typer.Option(help="group (default): acknowledged means on disk; os: within 0.1 s; strict: a sync per call."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info (default), warning, error.")] = None,
) -> None:
    """Serve a directory to ReductStore and BTrDB clients. Options also come from variables, LAMINA_HTTP_PORT etc.

    When all ports listen, one line goes to stdout: ready http=HOST:PORT grpc=HOST:PORT[ grpcs=HOST:PORT].
    SIGTERM or Ctrl-C ends it in order; a second Ctrl-C at once, losing nothing that was acknowledged.
    """
    import os

    from lamina.server.config import resolve
    from lamina.server.log import configure
    from lamina.server.serve import print_ready, run

    flags = {
        "path": dir,
        "host": host,
        "http_port": http_port,
        "grpc_port": grpc_port,
        "grpc_tls_port": grpc_tls_port,
        "api_token": api_token,
        "no_auth": no_auth,
        "cert": cert,
        "cert_key": cert_key,
        "durability": durability,
        "log_level": log_level,
    }
    config = resolve(flags, os.environ)
    configure(config.log_level)
    raise typer.Exit(run(config, on_ready=print_ready))
