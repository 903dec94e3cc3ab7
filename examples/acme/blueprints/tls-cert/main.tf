terraform {
  required_version = ">= 1.6"

  required_providers {
    tls = {
      source  = "hashicorp/tls"
      version = ">= 4.0"
    }
  }
}

resource "tls_private_key" "this" {
  algorithm   = var.algorithm
  ecdsa_curve = "P256"
  rsa_bits    = 3072
}

resource "tls_self_signed_cert" "this" {
  private_key_pem = tls_private_key.this.private_key_pem

  subject {
    common_name  = var.hostname
    organization = "Acme"
  }

  dns_names             = concat([var.hostname], var.names)
  validity_period_hours = var.days * 24
  early_renewal_hours   = floor(var.days * 24 / 10)
  allowed_uses          = ["digital_signature", "key_encipherment", "server_auth"]
}
