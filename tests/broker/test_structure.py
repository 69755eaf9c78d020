"""Rules for the whole project: layers, documents, routes, the OpenAPI document."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_spec_validator import validate

from app import app
from chalicelib import api, schemas
from chalicelib.core import errors, settings
from chalicelib.uploads.transitions import TRANSITIONS
from chalicelib.web.router import Operation
from sandbox import ports
from scripts import checks
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import ROOT

OPERATIONS = [operation for routes in api.ALL for operation in routes.operations]
LEVELS = {"INFO", "DEBUG", "WARNING", "ERROR"}
PUBLIC = {"/", "/health", "/openapi.json"}


def rows(page: str) -> list[list[str]]:
    """Return the cells of a page's tables, without the headings."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if row[0].startswith("`")]


def test_modules_import_lower_layers() -> None:
    """Modules import only from lower layers."""
    command = [f"{Path(sys.executable).parent}/lint-imports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_error_codes_are_documented() -> None:
    """Every code is in the one table, with its status and whether a retry helps."""
    documented = {row[0].strip("`"): (int(row[1]), row[2]) for row in rows("errors.md")}
    defined = {
        kind.code: (kind.status, "yes" if kind.retryable else "no") for kind in errors.all_kinds()
    }
    assert documented == defined


ERROR_MODULES = ("core", "syncapi", "uploads")


def test_error_tree_is_drawn() -> None:
    """The tree in the documentation has every class."""
    page = (ROOT / "docs" / "errors.md").read_text()
    drawn = set(re.findall(r"[├└]── (\w+)", page)) | {"BrokerError"}
    sources = [(ROOT / "chalicelib" / name / "errors.py").read_text() for name in ERROR_MODULES]
    nodes = [node for source in sources for node in ast.parse(source).body]
    assert drawn == {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def test_settings_are_documented() -> None:
    """Every variable that the broker reads is documented, and no other."""
    source = (ROOT / "chalicelib" / "core" / "settings.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]+[A-Z])"', source)) - LEVELS - {"AWS_LAMBDA_FUNCTION_NAME"}
    broker, sandbox = (ROOT / "docs" / "configuration.md").read_text().split("## The sandbox")
    assert set(re.findall(r"^\| `([A-Z_]+)`", broker, re.MULTILINE)) == read
    assert "SANDBOX_DIR" in sandbox


def plain(value: Any) -> str | None:
    """Return a setting's value as the page writes it."""
    if isinstance(value, tuple | frozenset):
        return ",".join(value) or None
    return None if value is None else str(value)


def test_defaults_are_documented() -> None:
    """The page has every default of the broker, and names exactly the required settings."""
    needed = {"AUTH_MODE": "jwt", "JWT_SECRET": "s" * 32, "SYNC_API_KEY": "k", "UPLOADS_TABLE": "u"}
    loaded = vars(settings.load(needed))
    page = (ROOT / "docs" / "configuration.md").read_text().partition("## The sandbox")[0]
    shown = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", page, re.MULTILINE))
    with pytest.raises(errors.Misconfigured) as caught:
        settings.load({})
    missing = set(re.findall(r"[A-Z_]{6,}", caught.value.detail))
    for name, default in shown.items():
        is_needed = default == "required" or default.startswith("one of")
        assert is_needed == (name in missing), name
        if is_needed:
            continue
        is_word = default in {"none", "any"}
        assert plain(loaded[name.lower()]) == (None if is_word else default.strip("`")), name
        assert is_word or default.startswith("`"), name
    assert {name.lower() for name in shown} == set(loaded)


def test_sandbox_defaults_are_documented() -> None:
    """The page has the sandbox's real ports."""
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows("configuration.md")}
    for name, port in vars(ports.read({})).items():
        assert shown[f"{name.upper()}_PORT"] == str(port)


def test_environment_is_read_once() -> None:
    """Only the composition root reads the environment."""
    readers = {
        path.name
        for path in (ROOT / "chalicelib").rglob("*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"bootstrap.py"}
    assert settings.load.__module__ == "chalicelib.core.settings"


def test_transitions_are_drawn() -> None:
    """The diagram in the documentation is drawn from the table of transitions."""
    command = [sys.executable, "scripts/draw_states.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert f"```mermaid\n{done.stdout}```" in page
    assert done.stdout.count(" --> ") >= sum(map(len, TRANSITIONS.values()))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
def test_every_route_is_documented(operation: Operation, broker: RunningBroker) -> None:
    """Every route has an auth decision, schemas, and an entry in the documentation."""
    assert operation.is_public == (operation.path in PUBLIC)
    path = operation.path.replace("{upload_id}", "0" * 32).replace("{asset_id}", "x")
    response = requests.request(operation.method, broker.url + path, timeout=9)
    assert (response.status_code != 401) == operation.is_public
    names = {operation.body, *operation.responses.values()} - {None}
    assert names <= set(schemas.names())
    shown = re.sub(r"_(\w)", lambda m: m[1].upper(), operation.path)
    assert f"`{operation.method} {shown}`" in (ROOT / "docs" / "api.md").read_text()


def test_routes_are_operations() -> None:
    """The app has only the declared operations, their preflights and 405s."""
    routed = {
        (method, path)
        for path, methods in app.routes.items()
        for method, entry in methods.items()
        if entry.view_function.__qualname__ == "_view.<locals>.view"
    }
    everything = {(m, path) for path, methods in app.routes.items() for m in methods}
    assert routed == everything
    assert {(o.method, o.path) for o in OPERATIONS} <= everything
    assert {path for _, path in everything} == {o.path for o in OPERATIONS}


def test_openapi_document_is_valid(broker: RunningBroker) -> None:
    """The document is valid OpenAPI 3.1 and lists exactly the declared operations."""
    document: dict[str, Any] = requests.get(broker.url + "/openapi.json", timeout=9).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    camel = {(o.method, re.sub(r"_(\w)", lambda m: m[1].upper(), o.path)) for o in OPERATIONS}
    assert described == camel
    assert set(document["components"]["schemas"]) == set(schemas.names())


def test_openapi_document_is_up_to_date() -> None:
    """The shipped document is the one that `make openapi` writes."""
    script = "import json; from scripts import openapi; print(json.dumps(openapi.document()))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shipped = (ROOT / "chalicelib" / "api" / "openapi.json").read_text()
    assert json.loads(done.stdout) == json.loads(shipped), "run `make openapi`"


def test_checks_of_bodies_are_up_to_date() -> None:
    """Each schema of a request's body has the check that `make openapi` writes."""
    assert {operation.body for operation in OPERATIONS if operation.body} == set(checks.BODIES)
    shipped = {path: path.read_text() for path in checks.TARGET.glob("*.py")}
    assert shipped == checks.sources(), "run `make openapi`"


def test_openapi_operations_are_complete(broker: RunningBroker) -> None:
    """Each operation has a documented tag, a stable id, a summary, and 4xx responses."""
    document: dict[str, Any] = requests.get(broker.url + "/openapi.json", timeout=9).json()
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    found = [one for methods in document["paths"].values() for one in methods.values()]
    assert {name for one in found for name in one["tags"]} == set(tags)
    assert all(tags.values())
    for one in found:
        assert len(one["tags"]) == 1
        assert one["summary"].endswith(".")
        assert any(status.startswith("4") for status in one["responses"]), one["operationId"]
    # Generated clients use these names: none may change.
    assert sorted(one["operationId"] for one in found) == [
        *("AssetsListAll", "AssetsRead", "AssetsRegister"),
        *("ServiceDocument", "ServiceHealth", "ServiceIndex", "ServiceLimits"),
        *("UploadsBegin", "UploadsCancel", "UploadsComplete", "UploadsListAll"),
        *("UploadsRead", "UploadsRenew"),
    ]


def _functions(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (f"{path.name}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def test_functions_are_short() -> None:
    """Functions that people write stay under 60 lines, and app.py under 120."""
    sources = [ROOT / "app.py"]
    for folder in ("chalicelib", "sandbox", "ops", "benchmarks"):
        sources += (ROOT / folder).rglob("*.py")
    for path in set(sources) - set(checks.sources()):
        for name, length in _functions(path):
            assert length < 60, name
    assert len((ROOT / "app.py").read_text().splitlines()) < 120


def test_tests_patch_nothing() -> None:
    """Tests replace nothing inside the code: collaborators are arguments."""
    forbidden = re.compile(r"mock\.patch|monkeypatch\.setattr|import_module\(.mock|@patch\(")
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert not forbidden.search(path.read_text()), path


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def test_links_lead_to_files() -> None:
    """Every link between the documents leads to a file, and to a heading of it if it names one."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, target, anchor)
        for page in pages
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text())
        if "://" not in target
    ]
    assert len({page for page, *_ in links}) > len(pages) / 2, "most pages link to others"
    for page, target, anchor in links:
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), f"{page.name}: {target}#{anchor}"
