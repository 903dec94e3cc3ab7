terraform {
  required_version = ">= 1.6"

  required_providers {
    random = {
      source  = "hashicorp/random"
      version = ">= 3.6"
    }
  }
}

locals {
  name = join("", [var.pave.request, "-", random_id.suffix.hex, var.fifo ? ".fifo" : ""])
}

resource "random_id" "suffix" {
  byte_length = 3
}

resource "random_bytes" "token" {
  length = 24
}

# Stands in for the queue. A queue in order cannot become one without, so a
# change of fifo replaces it, which the request has to allow.
resource "terraform_data" "queue" {
  input = {
    name      = local.name
    retention = var.retention
    readers   = var.readers
    volume    = var.volume
    tags      = var.pave.tags
  }

  triggers_replace = [var.fifo]
}
