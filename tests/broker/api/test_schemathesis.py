"""The API conforms to its OpenAPI document, for all requests that schemathesis generates."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.running_broker import RunningBroker, token
from tests.support.upstream_process import RunningUpstream

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("API_EXAMPLES", "15"))  # for each check; `make soak` sets more
# The checks' defaults, plus the broker's statuses: 410 for uploads that have ended, 422 for valid
# requests that are refused, 503 if Sync or the table can't be reached. Every check is on for every
# operation; `schemathesis_hooks.py` has the one exception, for deleted uploads.
CONFIGURATION = """
[checks]
enabled = true
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
positive_data_acceptance.expected-statuses = \
["2xx", "3xx", 401, 403, 404, 409, 410, 422, 429, "5xx"]
negative_data_rejection.expected-statuses = \
[400, 401, 403, 404, 405, 406, 409, 410, 415, 422, 428, 429, "5xx"]
"""


def test_responses_match_openapi_document(
    broker: RunningBroker, upstream: RunningUpstream, tmp_path: Path
) -> None:
    """No check of schemathesis finds a response that differs from `/openapi.json`."""
    upstream.behave(presignsPerMinute=1_000_000)
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        f"{Path(sys.executable).parent}/schemathesis",
        *("--config-file", str(configuration), "run", broker.url + "/openapi.json"),
        *("--header", f"Authorization: Bearer {token()}"),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
        *("--continue-on-failure", "--suppress-health-check", "all", "--output-truncate", "false"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"(\d+) generated", done.stdout)
    assert tested, done.stdout
    assert int(tested[1]) > 500
    statuses = {line["status"] for line in broker.lines()}
    assert {200, 201, 204, 400, 401, 404, 405, 409, 410, 415, 422} <= statuses
