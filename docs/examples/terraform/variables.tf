variable "stage" {
  description = "The stage that was packaged: its name is part of all names."
  type        = string
  default     = "prod"
}

variable "existing_table" {
  description = "Name of a table in place of the one made here, such as one restored from a backup. The same must be UPLOADS_TABLE in .chalice/config.json."
  type        = string
  default     = ""
}

variable "alarm_topic" {
  description = "ARN of the SNS topic that alarms go to; empty for alarms that tell nobody."
  type        = string
  default     = ""
}

variable "log_days" {
  description = "How many days the logs are kept."
  type        = number
  default     = 30
}

locals {
  name  = "sync-upload-broker-${var.stage}"
  table = var.existing_table == "" ? local.name : var.existing_table
}
