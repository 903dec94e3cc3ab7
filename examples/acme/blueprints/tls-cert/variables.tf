variable "hostname" {
  description = "The name that the certificate is for."
  type        = string
}

variable "names" {
  description = "Further names that it covers."
  type        = list(string)
}

variable "days" {
  description = "Days until it ends."
  type        = number
}

variable "algorithm" {
  description = "The kind of key: ECDSA or RSA."
  type        = string
}
