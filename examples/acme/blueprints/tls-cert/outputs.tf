output "certificate" {
  description = "The certificate, in PEM."
  value       = tls_self_signed_cert.this.cert_pem
}

output "key" {
  description = "The private key, in PEM."
  value       = tls_private_key.this.private_key_pem
  sensitive   = true
}

output "ends" {
  description = "When the certificate ends."
  value       = tls_self_signed_cert.this.validity_end_time
}
