output "namespace" {
  description = "The name of the namespace."
  value       = terraform_data.namespace.output.name
}

output "url" {
  description = "Where it answers."
  value       = "https://${random_pet.name.id}.${var.pave.environment}.acme.example"
}

output "quota" {
  description = "What it may use: cpu in cores and memory in gigabytes."
  value       = local.quota
}
