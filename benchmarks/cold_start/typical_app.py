"""A broker in its simplest form: a boto3 resource, a requests session, and plain jsonschema."""

import os
import uuid

import boto3
import jsonschema
import requests
from chalice import Chalice

app = Chalice(app_name="typical")
table = boto3.resource("dynamodb").Table(os.environ["UPLOADS_TABLE"])
session = requests.Session()
session.headers["x-api-key"] = os.environ["SYNC_API_KEY"]
SCHEMA = {
    "type": "object",
    "required": ["fileName", "contentType", "size"],
    "properties": {
        "fileName": {"type": "string", "minLength": 1, "maxLength": 255},
        "contentType": {"type": "string", "maxLength": 255},
        "size": {"type": "integer", "minimum": 1},
    },
}


@app.route("/uploads", methods=["POST"])
def begin():  # noqa: ANN201, D103 - in the style of Chalice's documentation
    body = app.current_request.json_body
    jsonschema.validate(body, SCHEMA)
    presigned = session.post(
        os.environ["SYNC_BASE_URL"] + "/v2/assets/upload", json=body, timeout=10
    ).json()
    upload = {"pk": f"upload#{uuid.uuid4().hex}", "url": presigned["url"], **body}
    table.put_item(Item=upload)
    return {"id": upload["pk"], "uploadUrl": presigned["uploadUrl"]}


@app.route("/uploads/{upload_id}")
def read(upload_id):  # noqa: ANN001, ANN201, D103 - as above
    return table.get_item(Key={"pk": upload_id})["Item"]
