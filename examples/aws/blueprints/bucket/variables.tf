variable "versioned" {
  description = "Whether former versions of an object are kept."
  type        = bool
}

variable "gigabytes" {
  description = "How much is expected in it."
  type        = number
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
