"""The commands of docs/deploy.md that surround the API, against the emulator."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.test_operations import run
from tests.ops.test_deploy_page import BLOCKS
from tests.support.emulated_aws import ACCOUNT, REGION, EmulatedAws


@pytest.fixture
def api_id(aws: EmulatedAws) -> Iterator[str]:
    """The id of an API that is deployed as `chalice deploy` does."""
    gateway = aws.client("apigateway")
    api = gateway.create_rest_api(name="plain")["id"]
    (root,) = gateway.get_resources(restApiId=api)["items"]
    where = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
    gateway.put_method(**where, authorizationType="NONE")
    gateway.put_integration(**where, type="MOCK")
    gateway.create_deployment(restApiId=api, stageName="api")
    yield api
    gateway.delete_rest_api(restApiId=api)


def test_domain_commands_map_api(aws: EmulatedAws, api_id: str) -> None:
    """The page's commands create the domain, map it to the API's stage, and remove both."""
    certificate = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/one"
    output = run(BLOCKS["domain"], aws, API_ID=api_id, CERTIFICATE_ARN=certificate)
    assert "regionalDomainName" in output
    name = {"domainName": "uploads-api.example.com"}
    gateway = aws.client("apigateway")
    (mapping,) = gateway.get_base_path_mappings(**name)["items"]
    assert (mapping["restApiId"], mapping["stage"]) == (api_id, "api")
    domain = gateway.get_domain_name(**name)
    run(BLOCKS["remove_domain"], aws)
    assert gateway.get_domain_names()["items"] == []
    assert domain["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert domain["regionalCertificateArn"] == certificate


def test_firewall_commands_protect_api(aws: EmulatedAws, api_id: str) -> None:
    """The page's commands create the rule, and associate it with the API's stage."""
    run(BLOCKS["waf"], aws, API_ID=api_id)
    waf: Any = aws.client("wafv2")
    resource = f"arn:aws:apigateway:{REGION}::/restapis/{api_id}/stages/api"
    acl = waf.get_web_acl_for_resource(ResourceArn=resource)["WebACL"]
    waf.disassociate_web_acl(ResourceArn=resource)
    summary = waf.list_web_acls(Scope="REGIONAL")["WebACLs"][0]
    which = {"Name": acl["Name"], "Scope": "REGIONAL", "Id": acl["Id"]}
    waf.delete_web_acl(**which, LockToken=summary["LockToken"])
    (rule,) = acl["Rules"]
    assert rule["Statement"]["RateBasedStatement"] == {"Limit": 2000, "AggregateKeyType": "IP"}
    assert acl["DefaultAction"] == {"Allow": {}}


def test_access_log_commands_survive_deploy(aws: EmulatedAws, api_id: str) -> None:
    """The page's commands turn access logs on, without tokens, and a deployment keeps them."""
    run(BLOCKS["logs"], aws, API_ID=api_id)
    gateway = aws.client("apigateway")
    gateway.create_deployment(restApiId=api_id, stageName="api")
    settings = gateway.get_stage(restApiId=api_id, stageName="api")["accessLogSettings"]
    group = "/sync-upload-broker/prod/access"
    (found,) = aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    aws.client("logs").delete_log_group(logGroupName=group)
    assert settings["destinationArn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    assert settings["format"].startswith("$context.requestId $context.identity.sourceIp ")
    assert "$context.status" in settings["format"]
    assert found["retentionInDays"] == 7


def test_removal_commands_leave_nothing(aws: EmulatedAws) -> None:
    """The page's commands remove the rule, without its API, and the budget."""
    run(BLOCKS["budget"], aws)
    aws.client("wafv2").create_web_acl(
        Name="broker-prod",
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig={
            "SampledRequestsEnabled": True,
            "CloudWatchMetricsEnabled": True,
            "MetricName": "broker-prod",
        },
    )
    run(BLOCKS["remove_rest"], aws)
    assert aws.client("wafv2").list_web_acls(Scope="REGIONAL")["WebACLs"] == []
    assert aws.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"] == []


def test_budget_command_sends_mail(aws: EmulatedAws) -> None:
    """The page's command creates a monthly budget, and a mail at 80 % of it."""
    run(BLOCKS["budget"], aws)
    budgets = aws.client("budgets")
    (budget,) = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    where = {"AccountId": ACCOUNT, "BudgetName": budget["BudgetName"]}
    (notice,) = budgets.describe_notifications_for_budget(**where)["Notifications"]
    budgets.delete_budget(**where)
    assert (budget["BudgetType"], budget["TimeUnit"]) == ("COST", "MONTHLY")
    assert (notice["NotificationType"], notice["Threshold"]) == ("ACTUAL", 80)
