variable "settings" {
  description = "Settings that are no secrets, by name."
  type        = map(string)
}

variable "replicas" {
  description = "How many copies of the application run."
  type        = number
}

variable "host" {
  description = "Where its database listens; null means that it has none."
  type        = string
  default     = null
}

variable "port" {
  description = "The port of the database."
  type        = number
}

variable "username" {
  description = "The user of the database."
  type        = string
}

variable "password" {
  description = "The password of the database."
  type        = string
  sensitive   = true
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
