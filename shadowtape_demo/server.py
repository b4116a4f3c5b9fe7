"""A model server: one trained model behind the Open Inference Protocol V2 on loopback.

``python -m shadowtape_demo.server --model baseline --port 0`` takes its port, prints it as one JSON line, trains, prints
a second one with how good the model is, and serves until SIGTERM. Who connects before the second line waits for an answer.
"""

import argparse
import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from shadowtape_demo.housing import load
from shadowtape_demo.models import MODELS, Model, train
from shadowtape_demo.protocol import BadRequestError, infer, metadata


def application(model: Model) -> web.Application:
    async def on_infer(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            answer = infer(model, body)
        except BadRequestError as error:
            return _json({"error": str(error)}, status=400)
        response = _json(answer)
        # A session cookie comes back refreshed, as it would from a gateway: responses carry secrets too.
        if session := request.cookies.get("session"):
            response.set_cookie("session", session, httponly=True)
        return response

    async def on_metadata(_: web.Request) -> web.Response:
        return _json(metadata(model))

    async def on_health(_: web.Request) -> web.Response:
        return _json({"live": True, "ready": True})

    app = web.Application(client_max_size=8 << 20)
    app.add_routes(
        [
            web.post("/v2/models/housing/infer", on_infer),
            web.get("/v2/models/housing", on_metadata),
            web.get("/v2/models/housing/ready", on_health),
            web.get("/v2/health/live", on_health),
            web.get("/v2/health/ready", on_health),
        ]
    )
    return app


async def serve(model: Model, listener: socket.socket, ready: Callable[[], None]) -> None:
    runner = web.AppRunner(application(model), access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        ready()
        await stopped.wait()
    finally:
        await runner.cleanup()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="shadowtape_demo.server", description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    options = parser.parse_args(argv)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    announce({"port": listener.getsockname()[1]})
    started = time.perf_counter()
    reference, analysis = load("reference"), load("analysis")
    model = train(options.model, reference)
    facts = {
        "model": options.model,
        "features": len(model.features),
        "trained_on": len(reference),
        "ready_s": round(time.perf_counter() - started, 3),
        "accuracy": round(model.accuracy(analysis), 4),
    }
    asyncio.run(serve(model, listener, lambda: announce(facts)))


def announce(facts: Mapping[str, object]) -> None:
    sys.stdout.write(orjson.dumps(facts).decode() + "\n")
    sys.stdout.flush()


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


if __name__ == "__main__":
    main()
