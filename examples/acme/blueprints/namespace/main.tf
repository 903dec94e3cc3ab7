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
  quota = {
    small  = { cpu = 2, memory = 4 }
    medium = { cpu = 4, memory = 16 }
    large  = { cpu = 8, memory = 64 }
  }[var.size]
}

resource "random_pet" "name" {
  prefix = var.pave.service
  length = 2
}

# Stands in for the namespace and its quota in the cluster.
resource "terraform_data" "namespace" {
  input = {
    name    = random_pet.name.id
    purpose = var.purpose
    guests  = var.guests
    quota   = local.quota
    tags    = var.pave.tags
  }
}
