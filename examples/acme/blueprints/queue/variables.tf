variable "retention" {
  description = "How long a message waits to be read, in hours."
  type        = number
}

variable "fifo" {
  description = "Whether messages arrive in the order in which they were sent, once each."
  type        = bool
}

variable "readers" {
  description = "The services that read from it."
  type        = list(string)
}

variable "volume" {
  description = "Millions of messages a month."
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
