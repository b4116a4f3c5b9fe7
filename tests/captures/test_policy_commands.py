import json
from collections.abc import Callable
from pathlib import Path

import pytest

import shadowtape
from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Request, Response, header
from captures.privacy.at_hand import exchange_of, exchange_of_curl
from captures.privacy.explain import explain
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.testing import capture_bytes

POLICY = """
rules:
  - {header: x-user, do: token, domain: user}
  - {query: user, do: token, domain: user}
  - {path: "$.instances[*].user_id", do: surrogate, domain: user}
  - {path: "$.instances[*].born", do: generalise, unit: year}
  - {path: "$.instances[*].row[1]", do: blur}
"""
BODY = {
    "instances": [
        {"user_id": 77, "born": "1984-05-17", "note": "Dear Ada, hello", "row": [1, 200], "ada@x.org": 1},
        {"user_id": 99, "born": "1990-01-01", "note": "Yours, Grace", "row": [3, 400]},
    ]
}
REQUEST = (
    "POST /v1/models/m:predict?user=Ada HTTP/1.1\nHost: m.example\nAuthorization: Bearer s3cret\nX-User: Ada\nBad_Name: Ada\n"
    f"Content-Type: application/json\n\n{json.dumps(BODY)}"
)
SECRETS = ("Ada", "Grace", "1984-05", "s3cret", "ada@x.org", "m.example")

type Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "request.http").write_text(REQUEST)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = shadowtape.run(["policy", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def fields(out: str) -> dict[str, dict[str, object]]:
    return {field["place"]: field for field in json.loads(out)["fields"]}


# -- check


def test_a_valid_policy_is_said_to_be_one(run: Run) -> None:
    code, out, _ = run("check", "policy.yaml")

    assert code == 0
    assert "policy.yaml: valid, 5 rules, 0 warnings, digest" in out


def test_warnings_leave_a_policy_valid(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("rules: [{path: $.prompt, do: keep}, {path: $.prompt.x, do: drop}]")
    code, out, _ = run("check", "odd.yaml", "--json")
    found = json.loads(out)

    assert code == 0
    assert found["valid"]
    assert [(each["rule"], each["kind"]) for each in found["warnings"]] == [
        (1, "keeps free text"),
        (2, "unreachable"),
        (2, "breaks requests"),
    ]


def test_a_policy_that_the_recorder_would_refuse_is_refused_here(run: Run, tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text("rules: [{path: $..*, do: keep}]")
    code, out, _ = run("check", "open.yaml")

    assert code == 2
    assert "refused: self-test: a planted" in out
    assert json.loads(run("check", "open.yaml", "--json")[1])["valid"] is False


def test_a_broken_policy_is_one_line_and_exit_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("rules: [{path: a, do: keep}]")

    assert run("check", "broken.yaml") == (
        2,
        "",
        "shadowtape: broken.yaml: rules.0: path 'a': a JSON path begins with $, as in $.inputs[*].data\n",
    )
    assert run("check", "none.yaml")[2] == "shadowtape: none.yaml: cannot be read: No such file or directory\n"


def test_the_schema_is_printed(run: Run) -> None:
    code, out, _ = run("schema")

    assert code == 0
    assert json.loads(out) == Policy.model_json_schema()


def test_policy_alone_prints_its_commands(run: Run) -> None:
    _, out, _ = run("--help")

    for name in ("check", "explain", "schema", "suggest"):
        assert name in out


# -- explain


def test_each_field_is_explained_and_no_value_shown(run: Run) -> None:
    code, out, _ = run("explain", "policy.yaml", "--request", "request.http")

    assert code == 0
    for secret in SECRETS:
        assert secret not in out
    assert "replayable, no recorded answer to compare with: there is no answer" in out


def test_what_is_explained_is_what_decided(run: Run) -> None:
    found = fields(run("explain", "policy.yaml", "--request", "request.http", "--json")[1])

    def of(place: str) -> tuple[object, ...]:
        field = found[f"request {place}"]
        return field["decided"], field["action"], field["kind"], field["changed"]

    assert of("path segment 3") == ("default: reads like a name", "keep", "string, 9 characters", False)
    assert of("query user") == ("rule 2", "token", "string, 8 characters", True)
    assert of("header Authorization") == ("default: credential", "redact", "text, 2 words", True)
    assert of("header X-User") == ("rule 1", "token", "string, 3 characters", True)
    assert of("header 4 (its name is not shown)") == (
        "default: its name may be somebody's",
        "drop",
        "string, 3 characters",
        True,
    )
    assert of("$.instances[0].user_id") == ("rule 3", "surrogate", "integer, 2 digits", True)
    assert of("$.instances[0].born") == ("rule 4", "generalise", "date", True)
    assert of("$.instances[0].note") == ("default: text", "words", "text, 3 words", True)
    assert of("$.instances[0].row")[0] == "rules, number by number"
    assert found["request $.instances[0].born"]["after"] == "1984-01-01"
    assert found["request header X-User"]["after"] == str(found["request query user"]["after"]).removeprefix("user=")
    assert found["request $.instances[0].born"].keys().isdisjoint({"before"})


def test_small_domains_are_named(run: Run) -> None:
    assert (
        fields(run("explain", "policy.yaml", "--request", "request.http", "--json")[1])[
            "request $.instances[0].user_id"
        ]["possible"]
        == 90
    )
    assert "only 90 possible surrogates" in run("explain", "policy.yaml", "--request", "request.http")[1]


def test_values_are_shown_to_who_asks(run: Run) -> None:
    out = run("explain", "policy.yaml", "--request", "request.http", "--show", "--json")[1]

    assert fields(out)["request header X-User"]["before"] == "Ada"
    assert "1984-05-17" in run("explain", "policy.yaml", "--request", "request.http", "--show")[1]


def test_an_answer_says_whether_it_still_belongs_to_the_request(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain.http").write_text('POST /v1/models/m:predict HTTP/1.1\n\n{"instances": [[1.5]]}')
    (tmp_path / "answer.http").write_text(
        'HTTP/1.1 200 OK\nContent-Type: application/json\n\n{"predictions": [2.512345]}'
    )
    arguments = ("explain", "--request", "plain.http", "--response", "answer.http")

    assert "a recorded answer still belongs to it" in run(*arguments)[1]
    assert json.loads(run(*arguments, "--json")[1])["recorded_valid"] is True
    (tmp_path / "blur.yaml").write_text("rules: [{role: prediction, do: blur}]")
    found = json.loads(run("explain", "blur.yaml", *arguments[1:], "--json")[1])
    assert found["recorded_valid"] is False
    assert found["why"] == ["response $.predictions is altered"]


def test_a_curl_line_is_as_good_as_a_request(run: Run) -> None:
    line = "curl -s -X POST 'http://ada:pw@m/v1/models/m:predict?user=Ada' -H 'X-User: Ada' -d '{\"instances\": [1]}' -o /dev/null"
    found = fields(run("explain", "policy.yaml", "--curl", line, "--json")[1])

    assert found["request header X-User"]["decided"] == "rule 1"
    assert found["request $.instances"]["action"] == "keep"


def test_an_exchange_of_a_capture_keeps_its_tokens(run: Run, tmp_path: Path) -> None:
    (kept,) = Pseudonymiser(Policy(), bytes(32)).apply([exchange_of(REQUEST.encode(), None, "x")])
    (tmp_path / "x.tape").write_bytes(capture_bytes([[kept]]))
    code, out, _ = run("explain", "--capture", "x.tape", "--json")

    assert code == 0
    assert not fields(out)["request header Host"]["changed"]
    assert run("explain", "--capture", "x.tape", "--exchange", "1")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one request"),
        (("--request", "request.http", "--curl", "curl x"), "name one request"),
        (("--curl", "curl x", "--response", "request.http"), "--response belongs to --request"),
        (("--curl", "curl 'x"), "--curl: cannot be read"),
        (("--curl", "curl -X POST"), "--curl: no URL"),
        (("--curl", "curl m -d @none.json"), "--curl none.json: cannot be read"),
        (("--request", "policy.yaml"), "not an HTTP request"),
        (("--request", "request.http", "--response", "request.http"), "not an HTTP response"),
        (("--request", "none.http"), "--request none.http: cannot be read"),
    ],
)
def test_what_cannot_be_explained_says_so(arguments: tuple[str, ...], said: str, run: Run) -> None:
    code, out, error = run("explain", *arguments)

    assert code == 2
    assert not out
    assert said in error
    assert error.count("\n") == 1


# -- what is at hand


def test_curl_options_become_what_curl_would_send() -> None:
    files = {"b.json": b'{"a":\n 1}'}
    asked = exchange_of_curl(
        "curl m:80/x?y=1 --json=@b.json -uada:pw -b a=b -A me -HX-A:1 --compressed -w %{x}", files.__getitem__
    ).request

    assert (asked.method, asked.target, asked.body) == ("POST", "/x?y=1", b'{"a":\n 1}')
    assert [
        header(asked.headers, name) for name in ("host", "content-type", "authorization", "cookie", "user-agent", "x-a")
    ] == [
        "m:80",
        "application/json",
        "Basic YWRhOnB3",
        "a=b",
        "me",
        "1",
    ]
    form = exchange_of_curl("curl http://m -d a=1 -d @f", {"f": b"b\n=2"}.__getitem__).request
    assert (form.method, form.target, form.body) == ("POST", "/", b"a=1&b=2")
    assert exchange_of_curl("http://m/x#y", files.__getitem__).request.method == "GET"
    with pytest.raises(UsageError):
        exchange_of_curl("curl", files.__getitem__)


def test_a_request_with_a_length_ends_there() -> None:
    data = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nabc"

    assert exchange_of(data, None, "x").request.body == b"ab"
    assert exchange_of(data.replace(b"Content-Length: 2", b"X: 2"), None, "x").request.body == b"abc"


def test_what_is_explained_is_what_is_done() -> None:
    """Every leaf of the body that is kept is one of the explained ones, in order."""
    raw = exchange_of(REQUEST.encode(), b"HTTP/1.1 200 OK\n\n" + json.dumps({"predictions": ["a b"]}).encode(), "x")
    pseudonymiser = Pseudonymiser(Policy.from_yaml(POLICY), bytes(32))
    (kept,) = pseudonymiser.apply([raw])
    lines = explain(pseudonymiser, raw).lines
    assert kept.response is not None

    rest = (kept.request.body + kept.response.body).decode()
    for line in lines:
        if line.after is not None and " $." in line.place:
            assert line.after in rest, line.place
            rest = rest.partition(line.after)[2]
    heads = [line.after for line in lines if "header" in line.place and line.after is not None]
    assert heads == [value for _, value in (*kept.request.headers, *kept.response.headers)]
    path = "/" + "/".join(str(line.after) for line in lines if "path" in line.place)
    assert kept.request.target == f"{path}?{next(line.after for line in lines if 'query' in line.place)}"


def test_what_stays_of_a_value_is_not_shown() -> None:
    body = b'{"instances": [{"row": [1.25, 4111111111111111], "note": "My dog is ada@x.org today"}]}'
    raw = exchange_of(b"POST /v1/models/m:predict HTTP/1.1\n\n" + body, None, "x")
    policy = Policy.from_yaml("text: scrub")
    lines = {line.place: line for line in explain(Pseudonymiser(policy, bytes(32)), raw).lines}
    row, note = lines["request $.instances[0].row"], lines["request $.instances[0].note"]

    assert str(row.after).startswith("[1.25, ")
    assert str(row.shown).startswith("[\u2026, ")
    assert note.shown is not None
    assert [each == "\u2026" for each in note.shown.split()] == [True, True, True, False, True]


@pytest.mark.parametrize("target", ["*", "*?a=1", "/a?", "/a?&b=1&&", "/a?=", "/a?b"])
def test_odd_targets_are_explained_as_they_are_kept(target: str) -> None:
    request = Request(method="POST", target=target, chunks=(Chunk(1, b"{}"),), end_ns=1, size=2)
    policy = Policy.from_yaml("rules: [{query: '*', do: mask}]")
    pseudonymiser = Pseudonymiser(policy, bytes(32))
    (kept,) = pseudonymiser.apply([Exchange(arrival_ns=0, request=request)])
    segments = "/".join(str(part.new) for part in pseudonymiser.segments(request))
    parameters = "&".join(str(part.new) for part in pseudonymiser.parameters(request))

    assert kept.request.target == (f"{segments}?{parameters}" if "?" in kept.request.target else segments)


def test_a_body_that_is_dropped_is_one_line() -> None:
    raw = Exchange(
        arrival_ns=0,
        request=Request(method="POST", target="/x", chunks=(Chunk(1, b"a=Ada"),), end_ns=1, size=5),
        response=Response(status=204),
    )
    (line,) = [line for line in explain(Pseudonymiser(Policy(), bytes(32)), raw).lines if "body" in line.place]

    assert (line.place, line.action, line.after, line.kind) == ("request body", "drop", None, "5 bytes")
