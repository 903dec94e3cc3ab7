terraform {
  required_version = ">= 1.6"

  required_providers {
    local = {
      source  = "hashicorp/local"
      version = ">= 2.5"
    }
  }
}

locals {
  bucket = "${var.folder}/buckets/${var.pave.request}"
}

resource "local_file" "front" {
  filename        = "${local.bucket}/index.html"
  file_permission = "0644"

  content = templatefile("${path.module}/index.html.tftpl", {
    title       = var.title
    environment = var.pave.environment
    pages       = sort(keys(var.pages))
  })
}

resource "local_file" "page" {
  for_each = var.pages

  filename        = "${local.bucket}/${each.key}"
  file_permission = "0644"
  content         = each.value
}

resource "local_file" "robots" {
  filename        = "${local.bucket}/robots.txt"
  file_permission = "0644"
  content         = "User-agent: *\n${var.public ? "Allow" : "Disallow"}: /\n"
}
