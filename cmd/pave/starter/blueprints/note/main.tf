variable "text" {
  type        = string
  description = "What the note says."
}

variable "priority" {
  type        = string
  description = "How important it is."
}

resource "terraform_data" "note" {
  input = {
    text     = var.text
    priority = var.priority
  }
}

output "text" {
  description = "What the note says."
  value       = terraform_data.note.output.text
}
