"""Bare Chalice: the floor."""

from chalice import Chalice

app = Chalice(app_name="bare")


@app.route("/uploads", methods=["POST"])
def begin():  # noqa: ANN201, D103 - as in Chalice's documentation
    return {"body": app.current_request.json_body}
