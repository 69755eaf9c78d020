# The same table as ops/table.py's, which a test holds it against.

resource "aws_dynamodb_table" "uploads" {
  name         = local.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"

  deletion_protection_enabled = true

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "listKey"
    type = "S"
  }
  attribute {
    name = "listOrder"
    type = "S"
  }
  attribute {
    name = "dueShard"
    type = "S"
  }
  attribute {
    name = "dueAt"
    type = "N"
  }

  global_secondary_index {
    name            = "by-list"
    hash_key        = "listKey"
    range_key       = "listOrder"
    projection_type = "ALL"
  }
  global_secondary_index {
    name               = "by-due"
    hash_key           = "dueShard"
    range_key          = "dueAt"
    projection_type    = "INCLUDE"
    non_key_attributes = ["id", "owner"]
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  # With the key that AWS manages for the account.
  server_side_encryption {
    enabled = true
  }

  # Which asset belongs to whom is nowhere else.
  lifecycle {
    prevent_destroy = true
  }
}
