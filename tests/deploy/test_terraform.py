"""`chalice package --pkg-format terraform` writes the files that docs/deploy.md describes."""

import json
import re

from tests.support.project import Project
from tests.support.upstream_process import ROOT


def test_terraform_package_matches_page(project: Project) -> None:
    """The file has functions, roles, API and schedule, but no table, alarms or logs."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    section = page.partition("## With Terraform")[2].partition("\n## ")[0]
    (command,) = re.findall(r"`chalice (package [^`]*)`", section.partition(" writes ")[0])
    project.chalice(*command.split())
    assert (project.folder / "infra" / "deployment.zip").is_file()
    written = json.loads((project.folder / "infra" / "chalice.tf.json").read_text())
    assert {kind: len(ones) for kind, ones in written["resource"].items()} == {
        "aws_lambda_function": 2,
        "aws_lambda_permission": 2,
        "aws_iam_role": 2,
        "aws_iam_role_policy": 2,
        "aws_cloudwatch_event_rule": 1,
        "aws_cloudwatch_event_target": 1,
        "aws_api_gateway_rest_api": 1,
        "aws_api_gateway_deployment": 1,
    }
    (rule,) = written["resource"]["aws_cloudwatch_event_rule"].values()
    assert rule["name"] == "sweep-event"
    policy = json.loads((project.folder / ".chalice" / "policy-prod.json").read_text())
    for role in written["resource"]["aws_iam_role_policy"].values():
        assert json.loads(role["policy"]) == policy
    bounds = written["terraform"]
    assert bounds["required_version"].endswith("< 1.4.0")
    assert bounds["required_providers"]["aws"]["version"].endswith("< 5")
