output "name" {
  description = "The name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "The table's ARN, for policies."
  value       = aws_dynamodb_table.this.arn
}
