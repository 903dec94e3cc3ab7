variable "cron" {
  description = "When it runs, in five fields as cron has them."
  type        = string
}

variable "command" {
  description = "What it runs: a program and its arguments."
  type        = list(string)
}

variable "timeout" {
  description = "The longest that it may run, in minutes."
  type        = number
}

variable "rotation" {
  description = "Days until its token is replaced by another one."
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
