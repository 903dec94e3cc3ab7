output "name" {
  description = "The name of the queue."
  value       = terraform_data.queue.output.name
}

output "url" {
  description = "Where the queue answers."
  value       = "https://queues.${var.pave.environment}.acme.example/${local.name}"
}

output "token" {
  description = "What a writer shows."
  value       = random_bytes.token.hex
  sensitive   = true
}
