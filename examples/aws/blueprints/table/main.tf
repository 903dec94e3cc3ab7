terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

resource "aws_dynamodb_table" "this" {
  name         = "studio-${var.pave.request}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = var.key
  range_key    = var.sort

  dynamic "attribute" {
    for_each = toset([for name in [var.key, var.sort] : name if name != null])

    content {
      name = attribute.value
      type = "S"
    }
  }
}
