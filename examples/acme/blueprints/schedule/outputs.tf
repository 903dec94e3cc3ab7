output "since" {
  description = "When the schedule was made."
  value       = time_static.since.rfc3339
}

output "rotates" {
  description = "When the token is replaced."
  value       = time_rotating.token.rotation_rfc3339
}

output "token" {
  description = "What the job shows to the services that it calls."
  value       = random_password.token.result
  sensitive   = true
}
