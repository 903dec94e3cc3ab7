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
  port = { postgres = 5432, mysql = 3306, redis = 6379 }[var.engine]
}

resource "random_pet" "username" {
  length    = 2
  separator = "_"
}

resource "random_password" "this" {
  length  = 32
  special = false

  keepers = {
    rotation = var.rotation
  }
}

# Stands in for the database server. Another engine or name would be another
# database, so it is replaced, which the request has to allow.
resource "terraform_data" "database" {
  input = {
    name    = var.database
    size    = var.size
    storage = var.storage
    tags    = var.pave.tags
  }

  triggers_replace = [var.engine, var.database]
}
