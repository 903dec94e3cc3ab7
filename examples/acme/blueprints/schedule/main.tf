terraform {
  required_version = ">= 1.6"

  required_providers {
    random = {
      source  = "hashicorp/random"
      version = ">= 3.6"
    }
    time = {
      source  = "hashicorp/time"
      version = ">= 0.12"
    }
  }
}

resource "time_static" "since" {}

# Plans its own replacement when the time has come, and the token's with it.
resource "time_rotating" "token" {
  rotation_days = var.rotation
}

resource "random_password" "token" {
  length  = 40
  special = false

  keepers = {
    rotation = time_rotating.token.id
  }
}

# Stands in for the entry in the scheduler.
resource "terraform_data" "schedule" {
  input = {
    cron    = var.cron
    command = var.command
    timeout = var.timeout
    tags    = var.pave.tags
  }
}
