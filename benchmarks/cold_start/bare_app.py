"""Bare Chalice, as the lower bound of a cold start."""

from chalice import Chalice

app = Chalice(app_name="bare")


@app.route("/uploads", methods=["POST"])
def begin():  # noqa: ANN201, D103 - in the style of Chalice's documentation
    return {"body": app.current_request.json_body}
