# Terraform lays this over chalice.tf.json, which Chalice writes anew each time.

terraform {
  # Chalice asks for a Terraform before 1.4 and a provider before 5, which knows no Python 3.11. From
  # 6 on the provider takes no stage from a deployment, as Chalice writes it.
  required_version = ">= 1.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.10, < 6"
    }
  }
}

# Two stages in one account would have one rule.
resource "aws_cloudwatch_event_rule" "sweep-event" {
  name        = "${local.name}-sweep"
  description = "Runs the sweep of the upload broker."
}

# API Gateway's metrics tell APIs apart by their names.
resource "aws_api_gateway_rest_api" "rest_api" {
  name = local.name
}
