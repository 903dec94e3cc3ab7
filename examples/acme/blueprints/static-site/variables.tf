variable "title" {
  description = "What the site is called."
  type        = string
}

variable "pages" {
  description = "Its pages beside the front page: text by file name."
  type        = map(string)
}

variable "public" {
  description = "Whether search engines may list it."
  type        = bool
}

variable "folder" {
  description = "Where buckets are kept on this host."
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
