output "host" {
  description = "Where the database listens."
  value       = "${var.pave.request}.${var.pave.environment}.db.acme.example"
}

output "port" {
  description = "The port it listens on."
  value       = local.port
}

output "database" {
  description = "The name of the database."
  value       = terraform_data.database.output.name
}

output "username" {
  description = "The user who owns it."
  value       = random_pet.username.id
}

output "password" {
  description = "The user's password."
  value       = random_password.this.result
  sensitive   = true
}
