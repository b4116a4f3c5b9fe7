"""What stands in deploy/ and docs/howto: manifests name fields that exist, and options that the program has.

``golden/deploy/fields.json`` holds, for every object in our manifests, all fields its kind may have there and those it must have.
It was taken from the schemas that docs/howto/kubernetes.md names; an object at a new place needs a row there.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import shadowtape

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
FIELDS = json.loads((ROOT / "tests/golden/deploy/fields.json").read_text(encoding="utf-8"))
MANIFESTS = sorted(
    str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*.yaml") if "\nkind:" in path.read_text(encoding="utf-8")
)
HOWTO = sorted((ROOT / "docs/howto").glob("*.md"))


def documents(manifest: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / manifest).read_text(encoding="utf-8")))


def objects(value: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping, with its place: spec.containers[].ports[]."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from objects(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, f"{path}[]")


def containers(manifest: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Ours, each with the spec of its pod."""
    for document in documents(manifest):
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            if "shadowtape" in container["image"]:
                yield pod, container


WITH_CONTAINERS = [manifest for manifest in MANIFESTS if any(True for _ in containers(manifest))]


def test_there_are_manifests_for_every_source() -> None:
    assert {Path(manifest).parts[0] for manifest in MANIFESTS} >= {"kubernetes", "istio", "envoy-gateway", "kserve"}
    assert len(WITH_CONTAINERS) == 3


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_has_no_field_that_its_kind_has_not_and_all_it_must_have(manifest: str) -> None:
    for document in documents(manifest):
        kind = FIELDS[f"{document['apiVersion']} {document['kind']}"]
        free = [path for path, row in kind.items() if row.get("any")]
        for path, found in objects(document):
            if any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in free):
                continue
            row = kind[path]
            assert set(found) <= set(row["fields"]), f"{manifest}: {path}"
            assert set(found) >= set(row["required"]), f"{manifest}: {path}"


@pytest.mark.parametrize("manifest", WITH_CONTAINERS)
def test_containers_have_no_rights_and_end_in_peace(manifest: str) -> None:
    for pod, container in containers(manifest):
        context = {**pod["securityContext"], **container["securityContext"]}
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "memory" in container["resources"]["limits"]
        assert "cpu" not in container["resources"]["limits"]  # a throttled relay is a slow one
        assert pod["terminationGracePeriodSeconds"] > 10 + 20
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tapes", "/tmp"}


@pytest.mark.parametrize("manifest", WITH_CONTAINERS)
def test_probes_ask_the_admin_endpoint_and_never_the_port_of_the_traffic(manifest: str) -> None:
    for _, container in containers(manifest):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        asked = {key: value["httpGet"] for key, value in container.items() if key.endswith("Probe")}
        assert {probe["port"] for probe in asked.values()} == {"admin"}
        assert asked["livenessProbe"]["path"] == "/healthz"
        assert f"--admin=0.0.0.0:{ports['admin']}" in container["args"]
        assert f"--listen=:{next(port for name, port in ports.items() if name != 'admin')}" in container["args"]


@pytest.mark.parametrize("manifest", WITH_CONTAINERS)
def test_the_arguments_are_options_of_the_program(manifest: str) -> None:
    for _, container in containers(manifest):
        command, *arguments = container["args"]
        known = options(command)
        assert {argument.partition("=")[0] for argument in arguments} <= known


@pytest.mark.parametrize("page", HOWTO, ids=lambda page: page.name)
def test_a_page_shows_options_the_program_has_and_manifests_as_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command, rest in re.findall(r"^ *shadowtape ([a-z]+) ((?:.*\\\n)*.*)$", text, flags=re.MULTILINE):
        assert set(re.findall(r"(?<= )--[a-z-]+", f" {rest}")) <= options(command), f"{page.name}: {command}"
    for shown in re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        assert any(_holds(document, yaml.safe_load(shown)) for each in MANIFESTS for document in documents(each)), shown


def test_the_nginx_page_shows_the_configuration_that_is_tested() -> None:
    page = (ROOT / "docs/howto/nginx.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```nginx\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)

    assert _directives(shown) == _directives((DEPLOY / "nginx/mirror.conf").read_text(encoding="utf-8"))


def test_the_image_installs_from_the_lock_and_runs_as_nobody() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }

    assert any("--require-hashes" in line and "requirements.lock" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert all((ROOT / name).exists() for name in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "fuzz"}
    assert packages <= copied
    (started,) = [json.loads(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD ")]
    assert {argument.partition("=")[0] for argument in started[1:]} <= options(started[0])


def test_what_the_image_installs_is_what_was_tested() -> None:
    whole, image = (locked(path) for path in (ROOT / "requirements.lock", DEPLOY / "requirements.lock"))

    assert image.items() <= whole.items(), "deploy/requirements.lock is stale: make it again, its first lines say how"
    assert {"mitmproxy", "uvloop", "s3fs"} <= {name.partition("==")[0] for name in image}
    assert not {"pytest", "kserve"} & {name.partition("==")[0] for name in image}


def locked(path: Path) -> dict[str, frozenset[str]]:
    """name==version -> hashes."""
    found: dict[str, frozenset[str]] = {}
    for entry in re.split(r"\n(?=[a-z])", path.read_text(encoding="utf-8")):
        if match := re.match(r"[a-z0-9.\[\]-]+==\S+", entry):
            found[match[0]] = frozenset(re.findall(r"sha256:[0-9a-f]{64}", entry))
    return found


def options(command: str) -> set[str]:
    found = get_command(shadowtape.app_for([command])).commands[command]  # type: ignore[attr-defined]  # a group has commands
    return {option for parameter in found.params for option in parameter.opts}


def _directives(configuration: str) -> list[str]:
    return [line.strip() for line in configuration.splitlines() if line.strip() and not line.strip().startswith("#")]


def _holds(value: object, part: object) -> bool:
    """Whether a part of a manifest stands somewhere in it."""
    if value == part:
        return True
    if isinstance(value, dict):
        if isinstance(part, dict) and set(part) <= set(value) and all(_holds(value[key], part[key]) for key in part):
            return True
        return any(_holds(inner, part) for inner in value.values())
    return isinstance(value, list) and any(_holds(inner, part) for inner in value)
