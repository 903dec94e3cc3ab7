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
  database = var.host == null ? tomap({}) : tomap({
    DATABASE_HOST     = var.host
    DATABASE_PORT     = tostring(var.port)
    DATABASE_USERNAME = var.username
    DATABASE_PASSWORD = var.password
  })
  environment = merge(var.settings, local.database)
}

resource "random_id" "address" {
  byte_length = 2
}

# Stands in for the store that the application reads when it starts.
resource "terraform_data" "config" {
  input = {
    environment = local.environment
    replicas    = var.replicas
    tags        = var.pave.tags
  }
}

# Becomes another one whenever the configuration does, without telling what is in it.
resource "random_id" "version" {
  byte_length = 4

  keepers = {
    environment = sha256(jsonencode(local.environment))
  }
}
