terraform {
  required_version = ">= 1.6"

  required_providers {
    local = {
      source  = "hashicorp/local"
      version = ">= 2.5"
    }
    time = {
      source  = "hashicorp/time"
      version = ">= 0.12"
    }
  }
}

locals {
  nameservers = ["ns1.acme.example", "ns2.acme.example"]

  target = [for host in [var.target] : { name = "www", type = "CNAME", value = "${host}.", ttl = 300 } if host != null]

  lines = [
    for r in concat(var.records, local.target) :
    "${r.name} ${r.ttl} IN ${r.type} ${r.type == "TXT" ? "\"${r.value}\"" : r.value}"
  ]
}

# A zone's serial must grow with every change: the second of the last one does.
resource "time_static" "changed" {
  triggers = {
    records = sha256(jsonencode(local.lines))
  }
}

resource "local_file" "zone" {
  filename        = "${var.folder}/zones/${var.pave.request}.zone"
  file_permission = "0644"

  content = <<-ZONE
    $ORIGIN ${var.domain}.
    $TTL 300
    @ IN SOA ${local.nameservers[0]}. hostmaster.acme.example. ${time_static.changed.unix} 3600 600 604800 300
    ${join("\n", [for n in local.nameservers : "@ IN NS ${n}."])}
    ${join("\n", local.lines)}
  ZONE
}
