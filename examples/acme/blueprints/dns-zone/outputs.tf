output "file" {
  description = "The zone file."
  value       = local_file.zone.filename
}

output "serial" {
  description = "The number of the zone's version."
  value       = time_static.changed.unix
}

output "nameservers" {
  description = "The servers that answer for the domain."
  value       = local.nameservers
}
