variable "key" {
  description = "The field that tells where an item is."
  type        = string
}

variable "sort" {
  description = "The field that orders the items of one key; null for none."
  type        = string
  default     = null
}

variable "volume" {
  description = "Millions of reads and writes a month."
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
