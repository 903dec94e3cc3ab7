variable "size" {
  description = "How much of the cluster it may use: small, medium or large."
  type        = string
}

variable "purpose" {
  description = "What it shows, such as a branch."
  type        = string
}

variable "guests" {
  description = "Who may enter besides the owning team."
  type        = list(string)
}

variable "pave" {
  description = "Who asks and where, as Pave tells it."
  type = object({
    request     = string
    service     = string
    owner       = string
    environment = string
    stage       = string
    tags        = map(string)
  })
}
