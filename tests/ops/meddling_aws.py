"""A proxy in front of the emulated AWS that counts calls, and answers some of them itself."""

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Answer = tuple[int, Any]  # the status, and JSON or else a text
Meddle = Callable[[Callable[[], Answer]], Answer]
_NOT_PASSED_ON = {"content-length", "transfer-encoding", "connection", "date", "server"}
_NOT_PASSED_ON |= {"x-amz-crc32"}  # which would not fit what was meddled with


class MeddlingAws:
    """The proxy.

    Attributes:
        calls: The operations that were called, in order.
        rules: By operation, what answers in the emulator's place: status and content. It gets a
            function that carries the call out and returns the emulator's answer.
    """

    def __init__(self, port: int) -> None:
        self.calls: list[str] = []
        self.rules: dict[str, Meddle] = {}
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                # CloudFormation names the operation in its form, and other services by their paths.
                action = parse_qs(body.decode("latin-1")).get("Action", [""])[0]
                operation = target or action or f"{self.command} {self.path.split('/')[2:3]}"
                proxy.calls.append(operation)
                rule = proxy.rules.get(operation)
                if rule is None:
                    self._answer(*self._forward(body))
                    return
                headers: list[tuple[str, str]] = []

                def carry_out() -> Answer:
                    status, found, content = self._forward(body)
                    headers.extend(found)
                    text = content.decode()
                    return status, text if text.startswith("<") else json.loads(text)

                status, answer = rule(carry_out)
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self._answer(status, headers, text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815 - its own names

            def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                behind = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                # The signature covers the host, so it stays the one that was asked for.
                behind.request(self.command, self.path, body, dict(self.headers.items()))
                answer = behind.getresponse()
                content = answer.read()
                behind.close()
                return answer.status, answer.getheaders(), content

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in _NOT_PASSED_ON:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def refuse(self, operation: str, code: str, message: str = "", times: int = 1000) -> None:
        """Let some calls be refused."""
        left = [times]

        def answer(carry_out: Callable[[], Answer]) -> Answer:
            left[0] -= 1
            return (400, {"__type": code, "message": message}) if left[0] >= 0 else carry_out()

        self.rules[operation] = answer

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
