"""The import of a Swagger document into the emulator's API Gateway.

The emulator ignores the document that `chalice deploy` imports, and in a stack its gateway
responses. This adapter in front of the emulator makes the equivalent single calls.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from tests.support.emulated_aws import EmulatedAws

_METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}


def put_methods(client: Any, api_id: str, document: dict[str, Any]) -> None:
    """Create the resources and methods of a document, and delete all others."""
    items = client.get_resources(restApiId=api_id, limit=500)["items"]
    resources = {item["path"]: item["id"] for item in items}
    for path, operations in document["paths"].items():
        parent = "/"
        for part in path.strip("/").split("/"):
            child = f"{parent.rstrip('/')}/{part}"
            if child not in resources:
                created = client.create_resource(
                    restApiId=api_id, parentId=resources[parent], pathPart=part
                )
                resources[child] = created["id"]
            parent = child
        for method in _METHODS & set(operations):
            _put_method(client, api_id, resources[path], method.upper(), operations[method])
    wanted = {"/"} | {path[:at] for path in document["paths"] for at in _ends(path)}
    for path in sorted(set(resources) - wanted, reverse=True):
        client.delete_resource(restApiId=api_id, resourceId=resources[path])


def _ends(path: str) -> list[int]:
    return [found.end() for found in re.finditer(r"/[^/]+", path)]


def _put_method(client: Any, api_id: str, resource: str, method: str, operation: Any) -> None:
    where = {"restApiId": api_id, "resourceId": resource, "httpMethod": method}
    integration = operation["x-amazon-apigateway-integration"]
    client.put_method(**where, authorizationType="NONE")
    client.put_integration(
        **where,
        type=integration["type"].upper(),
        integrationHttpMethod=integration["httpMethod"],
        uri=integration["uri"],
    )


def put_gateway_responses(client: Any, api_id: str, document: dict[str, Any], stage: str) -> int:
    """Create the gateway responses of a document, deploy them, and return their number."""
    responses = document.get("x-amazon-apigateway-gateway-responses", {})
    for kind, response in responses.items():
        status = {"statusCode": str(response["statusCode"])} if "statusCode" in response else {}
        client.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            responseParameters=response["responseParameters"],
            responseTemplates=response["responseTemplates"],
            **status,
        )
    client.create_deployment(restApiId=api_id, stageName=stage)
    return len(responses)


class ImportingGateway:
    """An endpoint of API Gateway that carries out imports, and forwards all other calls."""

    def __init__(self, aws: EmulatedAws) -> None:
        client = aws.client("apigateway")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                overwritten = re.fullmatch(r"/restapis/(\w+)\?mode=overwrite", self.path)
                if overwritten:  # the emulator lacks this call
                    put_methods(client, overwritten[1], json.loads(body))
                    self._respond(200, json.dumps({"id": overwritten[1]}).encode())
                    return
                response = requests.request(
                    self.command,
                    aws.url + self.path,
                    data=body,
                    # The signature covers the Host header, so the adapter does not change it.
                    headers=dict(self.headers),
                    timeout=30,
                )
                if response.ok and self.command == "POST" and "mode=import" in self.path:
                    put_methods(client, response.json()["id"], json.loads(body))
                self._respond(response.status_code, response.content)

            def _respond(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop the endpoint."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
