"""The programs the bench measures against, started on loopback and pinned to cores: nginx, wrk, mitmdump, and our own."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.machine import ROOT, cores

PATH = "/v2/models/housing/infer"
# A small inference call, the size of the demo's: the cost per exchange is what is measured, not memcpy.
BODY = (
    '{"id":"bench","inputs":['
    + ",".join(f'{{"name":"f{i}","shape":[1,1],"datatype":"FP64","data":[{i}.{i}25]}}' for i in range(8))
    + "]}"
)
ANSWER = (
    '{"model_name":"housing","model_version":"1","id":"bench","outputs":['
    '{"name":"label","shape":[1,1],"datatype":"INT64","data":[1]},'
    '{"name":"score","shape":[1,1],"datatype":"FP64","data":[0.8125]}]}'
)
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type application/json; return 200 '{answer}'; }} }}
}}
"""
WRK = """wrk.method = "POST"
wrk.body = [[{body}]]
wrk.headers["Content-Type"] = "application/json"
"""


def missing(*programs: str) -> list[str]:
    return [program for program in programs if shutil.which(program) is None and not (venv_bin(program)).exists()]


def venv_bin(program: str) -> Path:
    return Path(sys.executable).parent / program


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    """The command on one core, where there are two and taskset is installed; elsewhere unpinned."""
    if core is None or shutil.which("taskset") is None or len(cores()) < 2:
        return list(command)
    return ["taskset", "-c", str(cores()[core]), *command]


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run until the block ends; entered when the port listens. Raises RuntimeError when it never does."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT)
    try:
        _await_port(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def nginx(folder: Path, core: int | None) -> Iterator[int]:
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, answer=ANSWER))
    program = shutil.which("nginx") or "nginx"
    with running(pinned(core, [program, "-c", str(configuration), "-p", str(folder)]), port, folder / "nginx.log"):
        yield port


@contextmanager
def mitmdump(upstream: int, folder: Path, core: int | None, *extra: str) -> Iterator[int]:
    port = free_port()
    found = venv_bin("mitmdump")
    program = str(found) if found.exists() else str(shutil.which("mitmdump"))
    command = [program, "--quiet", "--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1"]
    command += ["--listen-port", str(port), "--set", f"confdir={folder}/mitmproxy", *extra]
    with running(pinned(core, command), port, folder / f"mitmdump-{port}.log"):
        yield port


@contextmanager
def recorder(upstream: int, folder: Path, core: int | None, capture: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "shadowtape", "record", "--upstream", f"http://127.0.0.1:{upstream}"]
    command += ["--listen", f"127.0.0.1:{port}", "--out", str(capture)]
    with running(pinned(core, command), port, folder / "record.log"):
        yield port


@contextmanager
def sink(folder: Path, core: int | None, capture: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "shadowtape", "sink", "--listen", f"127.0.0.1:{port}", "--out", str(capture)]
    with running(pinned(core, command), port, folder / "sink.log"):
        yield port


def wrk(
    port: int, seconds: float, folder: Path, core: int | None, connections: int = 16
) -> tuple[float, dict[str, float]]:
    """Requests per second, and percentiles of wrk's own latency in ms. Raises RuntimeError where answers were not 2xx."""
    script = folder / "post.lua"
    script.write_text(WRK.format(body=BODY))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script)]
    done = subprocess.run(
        pinned(core, [*command, f"http://127.0.0.1:{port}{PATH}"]), capture_output=True, text=True, check=True
    )
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout):
        raise RuntimeError(f"wrk saw {bad[1]} answers that were not 2xx")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    tail = re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", done.stdout, flags=re.MULTILINE)
    return float(rate[1]) if rate else 0.0, {f"p{which}": float(value) * units[unit] for which, value, unit in tail}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text(errors='replace')[-300:]}")
