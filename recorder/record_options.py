"""What the commands that record share on the command line, whatever they record from: their options, and what becomes of them."""

from pathlib import Path
from typing import Annotated

import typer

LIMITS = "What it may use"
TLS = "TLS"
RUNNING = "Running it"
CONTENT = "What is kept"
FILES = "Where it goes"

OutOption = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="PATH",
        help="x.tape: one file, where it exists the next free name. A folder, or s3://BUCKET/PREFIX: one file after another.",
        rich_help_panel=FILES,
    ),
]
ListenOption = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where clients connect; port 0: a free one.")
]
WorkersOption = Annotated[
    int,
    typer.Option("--workers", metavar="N", help="Processes that share the port; --out is a folder then."),
]
RotateSizeOption = Annotated[
    str | None,
    typer.Option(
        "--rotate-size",
        metavar="SIZE",
        help="In a folder: begin another file at this size. Default: 256MiB.",
        rich_help_panel=FILES,
    ),
]
RotateEveryOption = Annotated[
    str | None,
    typer.Option("--rotate-every", metavar="DURATION", help="… or at this age: 1h.", rich_help_panel=FILES),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="SIZE",
        help="Remove the oldest files of the folder above this size in all: 20GiB.",
        rich_help_panel=FILES,
    ),
]
KeepForOption = Annotated[
    str | None,
    typer.Option(
        "--keep-for",
        metavar="DURATION",
        help="Remove files this long after their last write: 7d.",
        rich_help_panel=FILES,
    ),
]
MinFreeOption = Annotated[
    str,
    typer.Option(
        "--min-free",
        metavar="SIZE",
        help="Stop recording when the disk has less left. 0: never.",
        rich_help_panel=FILES,
    ),
]
ExpireOption = Annotated[
    str | None,
    typer.Option(
        "--expire",
        metavar="DURATION",
        help="Every command refuses a file this long after it was begun: 30d.",
        rich_help_panel=FILES,
    ),
]
EncryptOption = Annotated[
    Path | None,
    typer.Option(
        "--encrypt",
        metavar="FILE",
        help="Encrypt with the key in this file, made if missing, never beside the tape.",
        rich_help_panel=FILES,
    ),
]
FsyncOption = Annotated[
    bool,
    typer.Option("--fsync", help="What was flushed survives a power loss too; slower.", rich_help_panel=FILES),
]
StagingOption = Annotated[
    Path | None,
    typer.Option(
        "--staging", metavar="FOLDER", help="Where files wait for their upload to s3://…", rich_help_panel=FILES
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="What may be kept. Default: deny by default.", rich_help_panel=CONTENT
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Key of the tokens, made if missing, never beside the tape. Default: a key that dies with the recording.",
        rich_help_panel=CONTENT,
    ),
]
SampleOption = Annotated[
    str,
    typer.Option(
        "--sample",
        metavar="SHARE",
        help="Share of the exchanges to keep: 25%. Whole sessions, where the policy names them.",
        rich_help_panel=CONTENT,
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="FILTER",
        help="Record only these: 'POST /v2/models/*', header:x-tenant=acme, status:5xx, model:house*. Repeat for more.",
        rich_help_panel=CONTENT,
    ),
]
ExceptOption = Annotated[
    list[str] | None,
    typer.Option("--except", metavar="FILTER", help="Leave these out; written as for --only.", rich_help_panel=CONTENT),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=WHERE",
        help="Keep a word of a small vocabulary: region=header:x-region, path:2, body:$.tier. Repeat for more.",
        rich_help_panel=CONTENT,
    ),
]
BodyLimitOption = Annotated[
    str,
    typer.Option(
        "--body-limit", metavar="SIZE", help="Bytes kept of one body; the rest is counted.", rich_help_panel=LIMITS
    ),
]
MemoryOption = Annotated[
    str,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="A worker's bodies in the making; above it exchanges are shed.",
        rich_help_panel=LIMITS,
    ),
]
QueueOption = Annotated[
    str,
    typer.Option(
        "--queue",
        metavar="SIZE",
        help="What may wait for the disk, a worker; above it exchanges are shed.",
        rich_help_panel=LIMITS,
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help="End the recording (not the relay) after this long: 60s, 1h.",
        rich_help_panel=RUNNING,
    ),
]
RequireRecordingOption = Annotated[
    bool,
    typer.Option(
        "--require-recording", help="Rather stop relaying (exit 1) than relay unrecorded.", rich_help_panel=RUNNING
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics there.", rich_help_panel=RUNNING
    ),
]
LogOption = Annotated[
    str,
    typer.Option("--log", metavar="FORMAT", help="What it says on stderr: text or json.", rich_help_panel=RUNNING),
]

# Of the relay alone.

UpstreamOption = Annotated[
    str | None, typer.Option("--upstream", metavar="URL", help="The server to relay to: http://HOST:PORT.")
]
ModeOption = Annotated[
    str,
    typer.Option(
        "--mode", metavar="MODE", help="reverse, regular (a forward proxy), transparent, upstream:http://PROXY:PORT."
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert", metavar="FILE", help="Our certificate for clients, with its chain.", rich_help_panel=TLS
    ),
]
TlsKeyOption = Annotated[
    Path | None,
    typer.Option("--tls-key", metavar="FILE", help="Its key, where it is not in the same file.", rich_help_panel=TLS),
]
TlsCaOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        metavar="FOLDER",
        help="Without --tls-cert: an authority that signs, made if missing. Default: in memory.",
        rich_help_panel=TLS,
    ),
]
TlsClientCaOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-ca", metavar="FILE", help="Clients must show a certificate signed by this.", rich_help_panel=TLS
    ),
]
UpstreamCaOption = Annotated[
    Path | None,
    typer.Option(
        "--upstream-ca",
        metavar="FILE",
        help="Who signs the upstream's certificate. Default: SSL_CERT_FILE, else the public authorities.",
        rich_help_panel=TLS,
    ),
]
UpstreamCertOption = Annotated[
    Path | None,
    typer.Option(
        "--upstream-cert", metavar="FILE", help="The certificate to show to the upstream.", rich_help_panel=TLS
    ),
]
UpstreamKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--upstream-key", metavar="FILE", help="Its key, where it is not in the same file.", rich_help_panel=TLS
    ),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Do not check the upstream's certificate.", rich_help_panel=TLS)
]
