"""A CloudFormation stack of the broker, as a pipeline deploys it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.emulated_aws import ACCOUNT, REGION, EmulatedAws, wait_until
from tests.support.imported_api import put_gateway_responses
from tests.support.project import ORIGIN

BUCKET = "code"
SECRETS = {
    "ApiKeyParameter": "/sync-upload-broker/prod/api-key",
    "JwtSecretParameter": "/sync-upload-broker/prod/jwt-secret",
}


class Stack:
    """A stack.

    Attributes:
        table: The name of its table.
        outputs: The values of its outputs, by their names, after its deployment.
    """

    def __init__(self, aws: EmulatedAws, name: str, table: str) -> None:
        self.aws = aws
        self.name = name
        self.table = table
        self.outputs: dict[str, str] = {}
        self._cloudformation = aws.client("cloudformation")

    def deploy(self, packaged: Path, **more: str) -> None:
        """Create or update the stack, as `aws cloudformation package` and `deploy` do.

        Args:
            packaged: The output folder of `chalice package`.
            more: Further parameters, or replacements of the default ones.
        """
        parameters = {"AllowedOrigins": ORIGIN, "Table": self.table, **SECRETS, **more}
        request = {
            "StackName": self.name,
            "TemplateURL": self._upload(packaged),
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
        }
        if self.outputs:
            self._cloudformation.update_stack(**request)
        else:
            self._cloudformation.create_stack(**request)
        settled = wait_until(self._settled)
        expected = "UPDATE_COMPLETE" if self.outputs else "CREATE_COMPLETE"
        assert settled["StackStatus"] == expected, self._failures()
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in settled["Outputs"]}

    def _upload(self, packaged: Path) -> str:
        s3 = self.aws.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        code = (packaged / "deployment.zip").read_bytes()
        key = hashlib.sha256(code).hexdigest() + ".zip"
        s3.put_object(Bucket=BUCKET, Key=key, Body=code)
        template = yaml.safe_load((packaged / "sam.yaml").read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = f"s3://{BUCKET}/{key}"
        # CloudFormation knows no YAML aliases. The AWS CLI expands those in Chalice's file.
        s3.put_object(Bucket=BUCKET, Key="template.json", Body=json.dumps(template))
        return f"{self.aws.url}/{BUCKET}/template.json"

    def _settled(self) -> Any:
        found = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        return None if found["StackStatus"].endswith("PROGRESS") else found

    def _failures(self) -> list[str]:
        events = self._cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in events
            if "FAILED" in event["ResourceStatus"]
        ]

    def translated(self) -> Any:
        """Return the template after its transform."""
        response = self._cloudformation.get_template(StackName=self.name, TemplateStage="Processed")
        body = response["TemplateBody"]
        return body if isinstance(body, dict) else json.loads(body)

    def resource(self, name: str) -> str:
        """Return the physical name of a resource."""
        found = self._cloudformation.describe_stack_resource(
            StackName=self.name, LogicalResourceId=name
        )
        physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical

    @property
    def url(self) -> str:
        """The URL of its API."""
        return self.aws.api(self.outputs["RestAPIId"])

    def put_gateway_responses(self) -> int:
        """Create the gateway responses of the API's document, which the emulator ignores."""
        document = self.translated()["Resources"]["RestAPI"]["Properties"]["Body"]
        client = self.aws.client("apigateway")
        return put_gateway_responses(client, self.outputs["RestAPIId"], document, "api")

    def delete(self) -> None:
        """Delete the stack, and wait until it is deleted."""
        identity = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}"
        self._cloudformation.delete_stack(StackName=self.name)
        wait_until(lambda: self._is_deleted(identity))

    def _is_deleted(self, identity: str) -> bool:
        summaries = self._cloudformation.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])
        return any(one["StackId"].startswith(identity) for one in summaries["StackSummaries"])
