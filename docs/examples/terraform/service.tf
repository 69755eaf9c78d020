# What Chalice's own file leaves out: logs that expire, and an end to floods.

resource "aws_cloudwatch_log_group" "broker" {
  for_each = toset(["", "-sweep"])

  name              = "/aws/lambda/${local.name}${each.key}"
  retention_in_days = var.log_days
}

resource "aws_api_gateway_method_settings" "broker" {
  rest_api_id = aws_api_gateway_rest_api.rest_api.id
  stage_name  = aws_api_gateway_deployment.rest_api.stage_name
  method_path = "*/*"

  settings {
    throttling_rate_limit  = 100
    throttling_burst_limit = 200
  }
}
