import asyncio
import json

import numpy as np
from aiohttp import web

from shadowtape_demo.housing import FEATURES
from shadowtape_demo.planted import people
from shadowtape_demo.traffic import Outgoing, request_for, requests_for, send

ROW = np.array([3.5, 24.0, 5.2, 1.1, 507.0, 3.0, 33.8, -116.25])
(ANNA,) = people(np.random.default_rng(1), 1)


def test_a_request_carries_one_tensor_per_feature_with_the_rows_numbers() -> None:
    body = json.loads(request_for(ROW, ANNA, 1, remark=False, parameters=False).body)

    assert [tensor["name"] for tensor in body["inputs"]] == list(FEATURES)
    assert [tensor["data"] for tensor in body["inputs"]] == [[value] for value in ROW.tolist()]
    assert {(tensor["datatype"], *tensor["shape"]) for tensor in body["inputs"]} == {("FP64", 1, 1)}


def test_secrets_stand_in_headers_query_id_parameters_keys_and_text() -> None:
    sent = request_for(ROW, ANNA, 4, remark=True, parameters=True)
    body = json.loads(sent.body)

    assert ANNA.jwt in sent.headers["Authorization"]
    assert ANNA.session in sent.headers["Cookie"]
    assert ANNA.api_key == sent.headers["X-Api-Key"]
    assert ANNA.query_token in sent.path
    assert body["id"] == ANNA.email
    assert body["parameters"] == {"customer": ANNA.name, "phone": ANNA.phone, ANNA.email: True}
    assert body["inputs"][-1]["data"] == [ANNA.remark]


def test_rows_are_sent_in_recorded_order_from_first_to_last() -> None:
    rows = np.arange(100.0)[:, None] * np.ones(8)

    sent = requests_for(rows, 10, [ANNA], np.random.default_rng(1))

    numbers = [json.loads(request.body)["inputs"][0]["data"][0] for request in sent]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0.0, 99.0)


def test_the_same_seed_gives_the_same_bytes() -> None:
    rows = np.ones((50, 8))
    one, other = (requests_for(rows, 30, people(np.random.default_rng(2)), np.random.default_rng(3)) for _ in range(2))

    assert one == other


def test_the_client_counts_answers_and_failures() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/broken":
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=404 if request.path == "/missing" else 200)

    async def scenario() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        requests = [Outgoing(path, {}, b"{}") for path in ("/fine", "/missing", "/broken", "/fine")]
        sent = await send(f"http://127.0.0.1:{port}", requests, np.zeros(4, dtype=np.int64))
        await runner.cleanup()

        assert sent.requests == 4
        assert sent.statuses == {200: 2, 404: 1}
        assert sent.failures.total() == 1

    asyncio.run(scenario())
