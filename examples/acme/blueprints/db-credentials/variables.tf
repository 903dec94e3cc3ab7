variable "database" {
  description = "The name of the database."
  type        = string
}

variable "engine" {
  description = "What it runs on: postgres, mysql or redis."
  type        = string
}

variable "size" {
  description = "The size of the machine: small, medium or large."
  type        = string
}

variable "storage" {
  description = "Storage in gigabytes."
  type        = number
}

variable "rotation" {
  description = "Counts the passwords: another number makes another password."
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
