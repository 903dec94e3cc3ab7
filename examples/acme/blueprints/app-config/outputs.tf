output "endpoint" {
  description = "The host name where the application answers."
  value       = "${var.pave.service}-${random_id.address.hex}.${var.pave.environment}.acme.example"
}

output "version" {
  description = "Changes with every setting."
  value       = random_id.version.hex
}

output "environment" {
  description = "The settings and the address of the database."
  value       = terraform_data.config.output.environment
  sensitive   = true
}
