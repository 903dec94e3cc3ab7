output "bucket" {
  description = "The folder with the files."
  value       = local.bucket
}

output "url" {
  description = "Where the front page is."
  value       = "file://${local_file.front.filename}"
}
