"""A broker as it is usually written: a boto3 resource, a requests session, plain jsonschema.

It uses the broker's libraries, verifies a token, reads its secrets from SSM, and makes as many
calls as the broker does.
"""

import os
import uuid

import boto3
import jsonschema
import jwt
import requests
from chalice import Chalice

app = Chalice(app_name="typical")
table = boto3.resource("dynamodb").Table(os.environ["UPLOADS_TABLE"])
names = [os.environ["SYNC_API_KEY_PARAMETER"], os.environ["JWT_SECRET_PARAMETER"]]
stored = boto3.client("ssm").get_parameters(Names=names, WithDecryption=True)["Parameters"]
secrets = {one["Name"]: one["Value"] for one in stored}
session = requests.Session()
session.headers["x-api-key"] = secrets[names[0]]
SCHEMA = {
    "type": "object",
    "required": ["fileName", "contentType", "size"],
    "properties": {
        "fileName": {"type": "string", "minLength": 1, "maxLength": 255},
        "contentType": {"type": "string", "maxLength": 255},
        "size": {"type": "integer", "minimum": 1},
    },
}


def user():  # noqa: ANN201, D103 - in the style of Chalice's documentation
    token = app.current_request.headers["authorization"].removeprefix("Bearer ")
    return jwt.decode(token, secrets[names[1]], algorithms=["HS256"])["sub"]


def count(key):  # noqa: ANN001, ANN201, D103 - as above
    table.update_item(
        Key={"pk": key},
        UpdateExpression="ADD #used :one",
        ExpressionAttributeNames={"#used": "used"},
        ExpressionAttributeValues={":one": 1},
    )


@app.route("/uploads", methods=["POST"])
def begin():  # noqa: ANN201, D103 - as above
    owner = user()
    body = app.current_request.json_body
    jsonschema.validate(body, SCHEMA)
    count(f"quota#{owner}")
    count("rate")
    presigned = session.post(
        os.environ["SYNC_BASE_URL"] + "/v2/assets/upload", json=body, timeout=10
    ).json()
    upload = {"pk": f"upload#{uuid.uuid4().hex}", "url": presigned["url"], "owner": owner, **body}
    table.put_item(Item=upload)
    count(f"open#{owner}")
    return {"id": upload["pk"], "uploadUrl": presigned["uploadUrl"]}


@app.route("/uploads/{upload_id}")
def read(upload_id):  # noqa: ANN001, ANN201, D103 - as above
    user()
    return table.get_item(Key={"pk": upload_id})["Item"]
