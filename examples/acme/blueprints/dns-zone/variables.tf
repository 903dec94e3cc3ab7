variable "domain" {
  description = "The domain that the zone answers for."
  type        = string
}

variable "records" {
  description = "Its records."
  type = list(object({
    name  = string
    type  = string
    value = string
    ttl   = number
  }))
}

variable "target" {
  description = "A host that www of the domain stands for; null for none."
  type        = string
  default     = null
}

variable "folder" {
  description = "Where zone files are kept on this host."
  type        = string
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
