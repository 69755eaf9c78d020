# The alarms of .chalice/template.yaml; docs/operations.md says of each what to do.

locals {
  alarms = {
    KeyRefusedAlarm = {
      description = "sync. refuses the API key, or the plan is used up."
      namespace   = "SyncUploadBroker"
      metric      = "upstreamErrors"
      dimensions  = { table = local.table, code = "upstream_unauthorized" }
      statistic   = "Sum"
      period      = 60
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    UpstreamBusyAlarm = {
      description = "sync. answers 429, so another program shares the key or the budget is set too high."
      namespace   = "SyncUploadBroker"
      metric      = "upstreamErrors"
      dimensions  = { table = local.table, code = "upstream_busy" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    OutcomeUndecidedAlarm = {
      description = "An asset may be the one of a lost registration, and only a person can tell."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "outcome_undecided" }
      statistic   = "Sum"
      period      = 3600
      periods     = 2
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    AssetOrphanedAlarm = {
      description = "An asset was made that no upload has recorded."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "asset_orphaned" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    AssetNotDeletedAlarm = {
      description = "An asset that is larger than its caller may upload can't be deleted at sync."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "asset_not_deleted" }
      statistic   = "Sum"
      period      = 3600
      periods     = 3
      datapoints  = 2
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SizeUnknownAlarm = {
      description = "sync. does not tell an asset's real size, so no limit is held against it."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "size_unknown" }
      statistic   = "Sum"
      period      = 3600
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    OutcomeUnknownAlarm = {
      description = "The answers to many registrations are lost."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "outcome_unknown" }
      statistic   = "Sum"
      period      = 300
      periods     = 3
      datapoints  = 3
      threshold   = 10
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    LookUnfinishedAlarm = {
      description = "The search for a lost asset has not come to its end for a quarter of an hour."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "look_unfinished" }
      statistic   = "Sum"
      period      = 300
      periods     = 3
      datapoints  = 3
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SecretUnreadableAlarm = {
      description = "A secret can't be read from SSM."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "secret_not_read" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SecretNotValidAlarm = {
      description = "A secret was read from SSM, and can't be right."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "secret_not_valid" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    KeySetUnreadableAlarm = {
      description = "The identity provider's keys can't be read."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "jwks_not_read" }
      statistic   = "Sum"
      period      = 300
      periods     = 2
      datapoints  = 2
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    KeySetEmptyAlarm = {
      description = "The identity provider publishes no key that could verify a token."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "jwks_without_keys" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    MisconfiguredAlarm = {
      description = "The broker's settings are wrong, so it serves nobody."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "misconfigured" }
      statistic   = "Sum"
      period      = 60
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SweepLateAlarm = {
      description = "Uploads have been due for a quarter of an hour, so the sweep does not keep up."
      namespace   = "SyncUploadBroker"
      metric      = "oldestSeconds"
      dimensions  = { table = local.table }
      statistic   = "Maximum"
      period      = 60
      periods     = 5
      datapoints  = 5
      threshold   = 900
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SweepPoisonedAlarm = {
      description = "The sweep can't deal with an upload, for a reason that nobody foresaw."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "sweep_poisoned" }
      statistic   = "Sum"
      period      = 3600
      periods     = 2
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    UnexpectedErrorAlarm = {
      description = "A request failed inside the broker, for a reason that nobody foresaw."
      namespace   = "SyncUploadBroker"
      metric      = "events"
      dimensions  = { table = local.table, event = "unexpected" }
      statistic   = "Sum"
      period      = 300
      periods     = 1
      datapoints  = 1
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    SweepStoppedAlarm = {
      description = "The sweep has not run for five minutes."
      namespace   = "AWS/Lambda"
      metric      = "Invocations"
      dimensions  = { FunctionName = "${local.name}-sweep" }
      statistic   = "Sum"
      period      = 60
      periods     = 5
      datapoints  = 5
      threshold   = 1
      comparison  = "LessThanThreshold"
      missing     = "breaching"
    }
    SweepFailsAlarm = {
      description = "The sweep ends with an error."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = { FunctionName = "${local.name}-sweep" }
      statistic   = "Sum"
      period      = 300
      periods     = 2
      datapoints  = 2
      threshold   = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      missing     = "notBreaching"
    }
    ErrorsAlarm = {
      description = "More than 1 % of the requests fail, for ten minutes of a quarter of an hour."
      namespace   = "AWS/ApiGateway"
      metric      = "5XXError"
      dimensions  = { ApiName = local.name }
      statistic   = "Average"
      period      = 300
      periods     = 3
      datapoints  = 2
      threshold   = 0.01
      comparison  = "GreaterThanThreshold"
      missing     = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "broker" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic == "" ? [] : [var.alarm_topic]
  ok_actions          = var.alarm_topic == "" ? [] : [var.alarm_topic]
}
